/**
 * Other releases of Node, from npm. They are large, so they are fetched when first needed and kept beside the packages.
 */
import { access } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { tool } from "./tools.ts";

/** The releases that the product is held to beside the one that runs the tests. */
export const otherNodes = ["22.23.3", "24.9.0"] as const;

const cache = fileURLToPath(new URL("../../node_modules/.cache/dvcr-nodes", import.meta.url));

/** Path of a Node of exactly this version. Without the npm registry this fails and says so. */
export async function nodeOf(version: string): Promise<string> {
  const packageName = `node-linux-${process.arch}`;
  const prefix = join(cache, version);
  const path = join(prefix, "node_modules", packageName, "bin", "node");
  if (
    await access(path).then(
      () => true,
      () => false,
    )
  )
    return path;
  await tool(
    "npm",
    "install",
    "--prefix",
    prefix,
    "--no-save",
    "--no-package-lock",
    "--no-audit",
    "--no-fund",
    `${packageName}@${version}`,
  ).catch((error: unknown) => {
    throw new Error(
      `this test needs Node ${version} as the npm package ${packageName}, and the npm registry ` +
        `did not give it: ${String(error)}`,
    );
  });
  return path;
}
