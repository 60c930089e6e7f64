/** The reconciler over a real store, a real executor and the embedded place, without a server around. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "vitest";

import { parseServeConfig } from "../../src/config/serve-config.ts";
import { createLogger } from "../../src/log/logger.ts";
import type { ImportImage, ImportReport } from "../../src/pipeline/import-image.ts";
import { ImportMemory } from "../../src/pipeline/import-memory.ts";
import { importingWith } from "../../src/pipeline/run-import.ts";
import { annotatedFormats } from "../../src/service/executor/local/annotated-format.ts";
import { LocalExecutor } from "../../src/service/executor/local/local-executor.ts";
import { EmbeddedPlace } from "../../src/service/images/embedded-place.ts";
import type { ImagePlace } from "../../src/service/images/image-place.ts";
import {
  imageApiVersion,
  type ImageKind,
  type ImageObject,
  type ImageSpec,
  type SecretObject,
} from "../../src/service/model/image.ts";
import type { ObjectKey } from "../../src/service/model/object.ts";
import type { EventObject } from "../../src/service/reconcile/events.ts";
import type { ProvisioningGate } from "../../src/service/reconcile/gate.ts";
import { NamespaceQuota } from "../../src/service/reconcile/quota.ts";
import { ImageReconciler } from "../../src/service/reconcile/reconciler.ts";
import { admissionLimits, executorSettings } from "../../src/service/server/settings.ts";
import { DataDirectory } from "../../src/service/store/data-directory.ts";
import { SqliteStore } from "../../src/service/store/sqlite-store.ts";
import { UploadTokens } from "../../src/service/uploads/tokens.ts";
import { eventually } from "./pod.ts";

export interface ReconcileOptions {
  /** As in the service's configuration file's variables. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly gate?: ProvisioningGate;
  /** Stands between everybody and the place. */
  readonly placed?: (place: EmbeddedPlace) => ImagePlace;
  readonly presenceCheckMs?: number;
  readonly uploadTimeoutMs?: number;
}

type DataSource = ImageSpec["dataSource"];

export class Reconciled implements AsyncDisposable {
  readonly directory: string;
  readonly log: string[] = [];
  /** Of imports that stored their image, in the order of their ends. */
  readonly reports: ImportReport[] = [];
  readonly tokens = new UploadTokens();
  readonly #options: ReconcileOptions;
  store!: SqliteStore;
  place!: EmbeddedPlace;
  #close: () => Promise<void> = () => Promise.resolve();

  private constructor(directory: string, options: ReconcileOptions) {
    this.directory = directory;
    this.#options = options;
  }

  static async start(options: ReconcileOptions = {}): Promise<Reconciled> {
    const reconciled = new Reconciled(await mkdtemp(join(tmpdir(), "dvcr-reconcile-")), options);
    await reconciled.#open();
    return reconciled;
  }

  /** Ends everything as a stop of the service does, and begins again with what is on the disk. */
  async restart(): Promise<void> {
    await this.#close();
    await this.#open();
  }

  async #open(): Promise<void> {
    const { settings = {}, gate, placed, presenceCheckMs = 3_600_000, uploadTimeoutMs = 600_000 } = this.#options;
    const config = parseServeConfig({ DVCR_SERVE_SCRATCH_DIR: this.directory, ...settings });
    const log = createLogger({ output: { write: (line: string) => void this.log.push(line) } });
    const data = await DataDirectory.acquire(join(this.directory, "data"));
    this.store = await SqliteStore.open(data, {
      onError: (error) => {
        throw error;
      },
    });
    this.place = await EmbeddedPlace.open({
      directory: join(this.directory, "data/images"),
      host: "images.test",
      ...(config.capacity === undefined ? {} : { limit: config.capacity }),
    });
    const place: ImagePlace = placed === undefined ? this.place : placed(this.place);
    const quota = new NamespaceQuota(this.store, place, () => admissionLimits(config));
    const importImage = importingWith(new ImportMemory());
    const reported: ImportImage = (...args) => {
      const running = importImage(...args);
      running.done.then(
        (report) => this.reports.push(report),
        () => undefined,
      );
      return running;
    };
    const executor = new LocalExecutor({
      place,
      importImage: reported,
      tokens: this.tokens,
      log,
      beforeStored: (uid, bytes) => quota.claim(uid, bytes),
      declaredFormatOf: annotatedFormats(this.store),
      settings: executorSettings(config),
    });
    const reconciler = new ImageReconciler({
      store: this.store,
      executor,
      place,
      ...(gate === undefined ? {} : { gate }),
      quota,
      limits: () => admissionLimits(config),
      uploadUrls: (token) => ({
        external: `https://public.test/upload/${token}`,
        inCluster: `http://127.0.0.1:1/upload/${token}`,
      }),
      uploadTimeoutMs,
      presenceCheckMs,
      log,
    });
    this.#close = async () => {
      await reconciler.close();
      await executor.close();
      await this.place.close();
      await this.store.close();
      await data.release();
    };
    await reconciler.start();
  }

  /** A ClusterVirtualImage, or a VirtualImage where a namespace is named. */
  async create(
    name: string,
    dataSource: DataSource,
    namespace = "",
    spec: Partial<ImageSpec> = {},
  ): Promise<ImageObject> {
    const kind: ImageKind = namespace === "" ? "ClusterVirtualImage" : "VirtualImage";
    const metadata = { name, ...(namespace === "" ? {} : { namespace }) };
    return await this.store.create<ImageObject>(imageKey(name, namespace).resource, {
      apiVersion: imageApiVersion,
      kind,
      metadata,
      spec: { dataSource, ...spec },
    });
  }

  async createSecret(name: string, namespace: string, dockerConfig: unknown): Promise<void> {
    const data = { ".dockerconfigjson": Buffer.from(JSON.stringify(dockerConfig)).toString("base64") };
    await this.store.create<SecretObject>("secrets", {
      apiVersion: "v1",
      kind: "Secret",
      type: "kubernetes.io/dockerconfigjson",
      metadata: { name, namespace },
      data,
    });
  }

  async image(name: string, namespace = ""): Promise<ImageObject | undefined> {
    return await this.store.get<ImageObject>(imageKey(name, namespace));
  }

  /** Changes the spec as a client would, again where the reconciler was faster. */
  async change(name: string, dataSource: DataSource, namespace = ""): Promise<void> {
    for (;;) {
      const image = (await this.image(name, namespace))!;
      try {
        await this.store.update<ImageObject>(imageKey(name, namespace).resource, {
          ...image,
          spec: { ...image.spec, dataSource },
        });
        return;
      } catch (error) {
        if ((error as { code?: string }).code !== "E_OBJECT_CONFLICT") throw error;
      }
    }
  }

  async remove(name: string, namespace = ""): Promise<void> {
    await this.store.remove(imageKey(name, namespace));
  }

  /** The image once it is as wanted; every state since the call is looked at. */
  async until(name: string, wanted: (image: ImageObject) => boolean, namespace = ""): Promise<ImageObject> {
    const { resource } = imageKey(name, namespace);
    let stop: () => void = () => undefined;
    try {
      return await new Promise<ImageObject>((resolve, reject) => {
        const look = (image: ImageObject | undefined): void => {
          if (image !== undefined && wanted(image)) resolve(image);
        };
        stop = this.store.watch(resource, {}, ({ object }) => {
          if (object.metadata.name === name && (object.metadata.namespace ?? "") === namespace)
            look(object as ImageObject);
        });
        this.image(name, namespace).then(look, reject);
      });
    } finally {
      stop();
    }
  }

  /** Until it reaches the phase; fails at once when it fails instead. */
  async untilPhase(
    name: string,
    phase: NonNullable<ImageObject["status"]>["phase"],
    namespace = "",
  ): Promise<ImageObject> {
    const image = await this.until(
      name,
      ({ status }) =>
        status?.phase === phase || (status?.phase === "Failed" && status.observedGeneration !== undefined),
      namespace,
    );
    if (image.status?.phase !== phase) throw new Error(`${name} failed: ${reasonOf(image)}: ${messageOf(image)}`);
    return image;
  }

  /** Until the condition Ready has this reason. */
  async untilReason(name: string, reason: string, namespace = ""): Promise<ImageObject> {
    return await this.until(name, (image) => reasonOf(image) === reason, namespace);
  }

  async untilGone(name: string, namespace = ""): Promise<void> {
    const { resource } = imageKey(name, namespace);
    let stop: () => void = () => undefined;
    const gone = new Promise<void>((resolve) => {
      stop = this.store.watch(resource, {}, ({ type, object }) => {
        if (type === "DELETED" && object.metadata.name === name) resolve();
      });
    });
    if ((await this.image(name, namespace)) !== undefined) await gone;
    stop();
  }

  async events(name: string): Promise<string[]> {
    const { items } = await this.store.list<EventObject>("events");
    return items.filter(({ involvedObject }) => involvedObject.name === name).map(({ reason }) => reason);
  }

  /** Exactly these events come to be; the last is written after the status. */
  async toldOf(name: string, ...reasons: string[]): Promise<void> {
    await eventually(async () => (await this.events(name)).length >= reasons.length);
    expect((await this.events(name)).sort()).toEqual([...reasons].sort());
  }

  /** Layers that were begun and not stored: an import that is over leaves none. */
  async unfinished(): Promise<string[]> {
    const names = await readdir(this.place.blobs.directory, { recursive: true });
    return names.filter((name) => name.endsWith(".part"));
  }

  /** `REPOSITORY:TAG` of everything that is stored. */
  async stored(): Promise<string[]> {
    const names: string[] = [];
    for await (const { repository, tag } of this.place.list()) names.push(`${repository}:${tag}`);
    return names.sort();
  }

  /** `oci:…` of a stored image, for skopeo. */
  reference({ status }: ImageObject): string {
    const tag = status?.target?.registryURL?.replace("images.test/", "") ?? "";
    return `oci:${join(this.directory, "data/images")}:${tag}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#close();
    await rm(this.directory, { recursive: true, force: true });
  }
}

function imageKey(name: string, namespace: string): ObjectKey {
  return { resource: namespace === "" ? "clustervirtualimages" : "virtualimages", namespace, name };
}

const conditionOf = ({ status }: ImageObject, type: string) => status?.conditions?.find((one) => one.type === type);

export const reasonOf = (image: ImageObject, type = "Ready"): string | undefined => conditionOf(image, type)?.reason;
export const messageOf = (image: ImageObject, type = "Ready"): string | undefined => conditionOf(image, type)?.message;
