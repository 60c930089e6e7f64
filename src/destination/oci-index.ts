/** index.json of an OCI image layout: which manifest stands at which tag. */
import { randomBytes } from "node:crypto";
import { open, readFile, rename, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import { DvcrError } from "../errors/dvcr-error.ts";
import { mediaTypes } from "../layer/image-config.ts";

export interface IndexEntry {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

interface IndexFile {
  readonly schemaVersion: 2;
  readonly mediaType?: string;
  readonly manifests: readonly IndexEntry[];
}

const refName = "org.opencontainers.image.ref.name";

/** The entry at `tag`, or nothing where there is no index or no such tag. */
export async function readTag(directory: string, tag: string): Promise<IndexEntry | undefined> {
  const index = await readIndex(directory);
  return index.manifests.find((entry) => entry.annotations?.[refName] === tag);
}

/** What stands at which tag, in the order of the index. */
export async function readTags(directory: string): Promise<ReadonlyMap<string, IndexEntry>> {
  const index = await readIndex(directory);
  return new Map(
    index.manifests.flatMap((entry) =>
      entry.annotations?.[refName] === undefined ? [] : [[entry.annotations[refName], entry] as const],
    ),
  );
}

/** An index without tags, where there is none. */
export async function beginIndex(directory: string): Promise<void> {
  const path = join(directory, "index.json");
  const isThere = await stat(path).catch(unlessMissing);
  if (isThere === undefined) await replaceFile(path, Buffer.from(JSON.stringify(await readIndex(directory))));
}

/** Takes `tag` out of the index; false where it was not there. Blobs stay. */
export async function removeTag(directory: string, tag: string): Promise<boolean> {
  const index = await readIndex(directory);
  const others = index.manifests.filter((one) => one.annotations?.[refName] !== tag);
  if (others.length === index.manifests.length) return false;
  await replaceFile(join(directory, "index.json"), Buffer.from(JSON.stringify({ ...index, manifests: others })));
  return true;
}

/** Puts `entry` at `tag` in place of what was there; everything else in the index is kept as it was. */
export async function writeTag(directory: string, tag: string, entry: IndexEntry): Promise<void> {
  const index = await readIndex(directory);
  const others = index.manifests.filter((one) => one.annotations?.[refName] !== tag);
  const tagged = { ...entry, annotations: { ...entry.annotations, [refName]: tag } };
  await replaceFile(
    join(directory, "index.json"),
    Buffer.from(JSON.stringify({ ...index, manifests: [...others, tagged] })),
  );
}

/** Writes a file so that a reader or a crash sees the old content or the new one, never a part. */
export async function replaceFile(path: string, content: Uint8Array, mode = 0o644): Promise<void> {
  const temporary = `${path}.${randomBytes(8).toString("hex")}.tmp`;
  try {
    const file = await open(temporary, "wx", mode);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw error;
  }
}

async function readIndex(directory: string): Promise<IndexFile> {
  const path = join(directory, "index.json");
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: [] };
  }
  const index = parseJson(text);
  if (!isIndex(index)) throw new DvcrError("E_LAYOUT_IO", `${path} is not an OCI index`);
  return index;
}

function unlessMissing(error: unknown): undefined {
  if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

function isIndex(value: unknown): value is IndexFile {
  return typeof value === "object" && value !== null && Array.isArray((value as { manifests?: unknown }).manifests);
}
