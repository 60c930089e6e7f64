import { importImage } from "../pipeline/run-import.ts";
import { podDestination } from "../process/pod-destination.ts";
import type { UploaderParts } from "./run-uploader.ts";

/** What the uploader works with, down to the native core. */
export const uploaderParts: UploaderParts = {
  importImage,
  openDestination: (config, log) => podDestination(config, log),
};
