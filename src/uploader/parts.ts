import { ImportMemory } from "../pipeline/import-memory.ts";
import { importingWith } from "../pipeline/run-import.ts";
import { podDestination } from "../process/pod-destination.ts";
import type { UploaderParts } from "./run-uploader.ts";

/** What the uploader works with, down to the native core. */
export const uploaderParts = (): UploaderParts => ({
  importImage: importingWith(new ImportMemory()),
  openDestination: (config, log) => podDestination(config, log),
});
