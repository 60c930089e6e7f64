import type { Checksum } from "../../config/kinds.ts";
import type { DvcrError } from "../../errors/dvcr-error.ts";
import type { ImageName } from "../model/names.ts";

/**
 * Who does imports: this process here, one pod per import in a later build. The reconciler knows no more of it than
 * this. Jobs are named by the uid and the generation of their resource; starting one that runs already gives that one.
 */
export interface Executor {
  start(job: ImportJob): RunningJob;
  /** What runs, or ended and was not forgotten, for this resource. */
  find(uid: string): RunningJob | undefined;
  /** All of them. */
  running(): readonly RunningJob[];
  /** What each namespace has of the places for imports and for uploads. */
  use(): readonly NamespaceUse[];
  /** Cancels what runs, waits until nothing of it remains, and forgets it. */
  stop(uid: string): Promise<void>;
  close(): Promise<void>;
}

/** What the imports, or the uploads, of one namespace take; `namespace` is empty for cluster-wide images. */
export interface NamespaceUse {
  readonly work: "import" | "upload";
  readonly namespace: string;
  /** Places held now. */
  readonly held: number;
  /** Waiting for a place. */
  readonly waiting: number;
  /** Begun, and waiting for bytes. */
  readonly idle: number;
  /** Since the start of the process, of all threads. */
  readonly cpuSeconds: number;
}

export interface ImportJob {
  readonly uid: string;
  readonly generation: number;
  /** For logs, traces and limits: `cvi/NAME` or `vi/NAMESPACE/NAME`. */
  readonly label: string;
  /** Of the resource; empty for a cluster-wide one. */
  readonly namespace: string;
  readonly target: ImageName;
  readonly source: JobSource;
  readonly checksums: readonly Checksum[];
}

export type JobSource =
  | { readonly type: "http"; readonly url: string; readonly caBundle?: string }
  | { readonly type: "registry"; readonly image: string; readonly caBundle?: string; readonly dockerConfig?: string }
  /** `bytes`: what `from` takes in the store, where that is known. */
  | { readonly type: "copy"; readonly from: ImageName; readonly bytes?: number }
  /** `token` is the last part of the upload URL, made by the reconciler's random source and kept with the resource. */
  | { readonly type: "upload"; readonly token: string };

export interface RunningJob {
  readonly job: ImportJob;
  state(): JobState;
  /** Called whenever state() would tell something new, at most a few times a second. */
  onChange(listener: () => void): () => void;
}

export interface JobState {
  /** `waiting`: an upload that has not begun; `queued`: other imports take all places. */
  readonly phase: "queued" | "waiting" | "running" | "stored" | "failed";
  /** Source bytes, never falling, through retries too. */
  readonly sourceBytes: number;
  readonly sourceSize?: number;
  /** 0 to 100, never falling. */
  readonly percent: number;
  /** Bytes per second. */
  readonly averageSpeed: number;
  readonly currentSpeed: number;
  /** What failed last and is being tried again, until bytes flow again; of a waiting upload, what refused it. */
  readonly retrying?: DvcrError | undefined;
  /** What keeps a running job from going on. */
  readonly waitsFor?: WaitsFor | undefined;
  readonly result?: JobResult;
  readonly error?: DvcrError;
}

/**
 * `turn`: others have the places; `client`: an upload was cut, and may be continued; `source`: nothing comes from it,
 * whose
 * `name` tells which.
 */
export type WaitsFor =
  | { readonly what: "turn" }
  | { readonly what: "client"; readonly offset: number; readonly total: number | undefined }
  | { readonly what: "source"; readonly name: string };

export interface JobResult {
  readonly manifestDigest: string;
  /** "raw" or "iso"; missing for a copy, whose source resource tells. */
  readonly format?: string;
  readonly storedSize?: number;
  readonly virtualSize?: number;
  /** Source bytes per second of the whole import; missing where nothing was downloaded, as for a copy. */
  readonly averageSpeed?: number;
}
