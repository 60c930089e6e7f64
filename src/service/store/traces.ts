/**
 * What shows that a data directory was in use: its database must not be made anew then, as if nothing had been there.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DvcrError } from "../../errors/dvcr-error.ts";
import { keyFile } from "./sealing.ts";

/** The images of a data directory. */
export const imagesDirectory = "images";

/** @throws DvcrError E_STORE_LOST where the directory `path` has images, or the key of a database that is not there. */
export function requireKnown(path: string): void {
  const images = countTags(join(path, imagesDirectory, "index.json"));
  if (images === 0 && !existsSync(join(path, keyFile))) return;
  const what = images === 0 ? `its key ${keyFile}` : `${images} image${images === 1 ? "" : "s"}`;
  throw new DvcrError(
    "E_STORE_LOST",
    `the data directory "${path}" holds ${what} and no database, or an empty one: the resources are lost`,
  );
}

/** Of the index as text: one that cannot be read is a trace, too. */
function countTags(path: string): number {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "ENOENT" ? 0 : 1;
  }
  try {
    return (JSON.parse(text) as { manifests: unknown[] }).manifests.length;
  } catch {
    return 1;
  }
}
