import type { UploaderConfig } from "../config/uploader-config.ts";
import type { SourceFormat } from "./source-format.ts";
import type { UploadSession } from "./upload-session.ts";

/** What an upload's routes need to know of the configuration. */
export interface UploadSettings extends Pick<UploaderConfig, "checksums" | "maxVirtualSize" | "uploadIdleTimeout"> {
  /** Bytes that a file may have at most, as it is sent. */
  readonly maxUploadSize?: number;
  /** Seconds that a client on the way may hear nothing. Default 20. */
  readonly uploadSipInterval?: number;
  /** The format of what a request that declares none begins to send. */
  readonly declaredFormat?: () => Promise<SourceFormat | undefined>;
}

/** What the handlers of one path share. */
export interface UploadRoutes {
  readonly config: UploadSettings;
  readonly session: UploadSession;
  /** Aborted when the process is told to stop. */
  readonly signal: AbortSignal;
  /** Removed from every answer. */
  readonly secrets: readonly string[];
}
