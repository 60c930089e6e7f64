import type { UploaderConfig } from "../config/uploader-config.ts";
import type { UploadSession } from "./upload-session.ts";

/** What the handlers of one path share. */
export interface UploadRoutes {
  readonly config: UploaderConfig;
  readonly session: UploadSession;
  /** Aborted when the process is told to stop. */
  readonly signal: AbortSignal;
  /** Removed from every answer. */
  readonly secrets: readonly string[];
}
