import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout's top directory, wherever the caller's working directory is. */
export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));

/** A path inside the checkout. */
export const inRoot = (...parts) => join(root, ...parts);
