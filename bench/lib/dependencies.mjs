import { createRequire } from "node:module";

/** True when the packages of bench/package.json are installed. */
export function dependenciesAreThere() {
  try {
    createRequire(import.meta.url)("lzma-native");
    return true;
  } catch {
    return false;
  }
}
