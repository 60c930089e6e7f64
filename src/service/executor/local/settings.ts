import type { imageFields } from "../../../config/shared-fields.ts";
import type { ValuesOf } from "../../../config/field.ts";
import type { Logger } from "../../../log/logger.ts";
import type { OutboundPolicy } from "../../../outbound/policy.ts";
import type { ImportImage } from "../../../pipeline/import-image.ts";
import type { ProxySettings } from "../../../outbound/dispatcher.ts";
import type { ImportJob } from "../executor.ts";
import type { ImagePlace } from "../../images/image-place.ts";
import type { SourceFormat } from "../../../uploader/source-format.ts";
import type { UploadTokens } from "../../uploads/tokens.ts";

export interface ExecutorSettings {
  /** What becomes of images, and the limits of one. */
  readonly image: ValuesOf<typeof imageFields>;
  /** Imports and copies that compute at once; others wait for their turn. */
  readonly maxImports: number;
  /** Uploads that are converted at once; others are held back. */
  readonly maxUploads: number;
  /** How often an import is tried again, and for how long a server that is away is waited for, in seconds. */
  readonly retries: number;
  readonly retrySeconds: number;
  /** How long a web server may take to the first byte of its answer, in seconds. */
  readonly firstByteSeconds: number;
  /** As RegistryOptions has it. */
  readonly allowPrivateRedirects: boolean;
  /** Bytes per second that a source must bring; 0: any number. */
  readonly minSourceSpeed: number;
  /** Certificates of sources are not verified, and registries may speak plain HTTP. */
  readonly sourceInsecureTls: boolean;
  readonly proxies: ProxySettings;
  /** Which addresses sources may have; missing: all. */
  readonly outbound?: OutboundPolicy;
  /** Bytes of an uploaded file. */
  readonly maxUploadSize: number;
  /** Seconds; as for the uploader of a pod. */
  readonly uploadIdleTimeout: number;
  readonly uploadResumeTimeout: number;
  readonly uploadSilence: number;
}

export interface ExecutorDeps {
  readonly place: ImagePlace;
  readonly importImage: ImportImage;
  /** Where upload URLs find their job. */
  readonly tokens: UploadTokens;
  /**
   * Asked before a job's image becomes visible, with the uid of its resource and the bytes that it takes; throws what
   * refuses it.
   */
  readonly beforeStored: (uid: string, bytes: number) => Promise<void>;
  /**
   * What the owner of an upload declares its file to be, asked when one begins; throws E_BAD_REQUEST for an unknown
   * format.
   */
  readonly declaredFormatOf: (job: ImportJob) => Promise<SourceFormat | undefined>;
  readonly log: Logger;
  readonly settings: ExecutorSettings;
}
