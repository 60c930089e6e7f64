import { ImportMemory } from "../pipeline/import-memory.ts";
import { importingWith } from "../pipeline/run-import.ts";
import { podDestination } from "../process/pod-destination.ts";
import type { ImporterParts } from "./run-importer.ts";
import { copySource, openSource } from "./sources.ts";

/** What the importer works with, down to the native core. */
export const importerParts = (): ImporterParts => ({
  importImage: importingWith(new ImportMemory()),
  openDestination: (config, log) => podDestination(config, log),
  openSource,
  copySource,
});
