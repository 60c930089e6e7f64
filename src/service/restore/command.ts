/** `dvcr restore check` and `dvcr restore run`: after a database, its key, its images or their index were lost. */
import { existsSync } from "node:fs";
import { rename } from "node:fs/promises";
import { join } from "node:path";
import type { Environment } from "../../config/parse.ts";
import { restoreFlags, restoreUsage } from "../../config/data-flags.ts";
import { flagsHelp } from "../../config/help-text.ts";
import { parseServeConfig, type ServeConfig } from "../../config/serve-config.ts";
import { readTags } from "../../destination/oci-index.ts";
import { DvcrError } from "../../errors/dvcr-error.ts";
import { createLogger, type Logger } from "../../log/logger.ts";
import { EmbeddedPlace } from "../images/embedded-place.ts";
import type { ImagePlace } from "../images/image-place.ts";
import { markPair } from "../images/pairing.ts";
import { Addresses } from "../server/addresses.ts";
import { registryPlace } from "../server/open-place.ts";
import { requireDataDirectory, runDataCommand } from "../store/data-command.ts";
import { DataDirectory } from "../store/data-directory.ts";
import { keyFile } from "../store/sealing.ts";
import { SqliteStore } from "../store/sqlite-store.ts";
import { imagesDirectory } from "../store/traces.ts";
import { indexAgain, putAside, restore, type RestoreReport } from "./restore.ts";

/** Resolves to the exit code. */
export function runRestore(argv: readonly string[], environment: Environment): Promise<number> {
  return runDataCommand("restore", restoreUsage + flagsHelp(restoreFlags), argv, async (command, rest) => {
    const config = parseServeConfig(environment, rest);
    await requireDataDirectory("restore", config.dataDir);
    for await (const line of work(config, command === "check")) process.stdout.write(`${line}\n`);
  });
}

async function* work(config: ServeConfig, dryRun: boolean): AsyncGenerator<string> {
  const log = createLogger({ output: 2, verbosity: 0 });
  const directory = await DataDirectory.acquire(config.dataDir);
  try {
    const isKeyLost = existsSync(join(config.dataDir, "resources.db")) && !existsSync(join(config.dataDir, keyFile));
    const store = yield* openDatabase(directory, log, dryRun);
    if (store === undefined) return;
    try {
      if (isKeyLost) yield* withoutSecrets(store, dryRun);
      const place = yield* openImages(config, directory, store, log, dryRun);
      if (place === undefined) return;
      const { signal } = new AbortController();
      const now = new Date().toISOString().replace(/\.\d+Z$/, "Z");
      yield* textOf(await restore({ store, place, signal, now, dryRun }), dryRun);
      await place.close();
    } finally {
      await store.close();
    }
  } finally {
    await directory.release();
  }
}

/** The database as it is, or an empty one in place of one that cannot be used; nothing where that would be a change. */
async function* openDatabase(
  directory: DataDirectory,
  log: Logger,
  dryRun: boolean,
): AsyncGenerator<string, SqliteStore | undefined> {
  const onError = (error: unknown): void => log.error({ err: error }, "the store met a problem");
  const open = (mayBeNew: boolean) => SqliteStore.open(directory, { onError, mayBeNew });
  try {
    return await open(!dryRun);
  } catch (error) {
    if (!(error instanceof DvcrError) || (error.code !== "E_STORE_LOST" && error.code !== "E_STORE_DAMAGED"))
      throw error;
    yield error.message;
    if (dryRun) {
      yield "dvcr restore run begins a new database, and makes the resources again of the images that are stored.";
      return undefined;
    }
    yield `It is kept as ${await putAside(directory.path)}.`;
    return await open(true);
  }
}

async function* withoutSecrets(store: SqliteStore, dryRun: boolean): AsyncGenerator<string> {
  const { items } = await store.list("secrets", { limit: 1 }).catch(() => ({ items: [undefined] }));
  if (items.length === 0) return;
  if (dryRun) yield `The key ${keyFile} is lost: pull secrets would be dropped.`;
  else yield `The key ${keyFile} is lost: ${await store.dropSecrets()} pull secrets were dropped; create them again.`;
}

async function* openImages(
  config: ServeConfig,
  directory: DataDirectory,
  store: SqliteStore,
  log: Logger,
  dryRun: boolean,
): AsyncGenerator<string, ImagePlace | undefined> {
  if (config.registry !== undefined) return registryPlace(config, config.registry, log);
  const images = join(directory.path, imagesDirectory);
  const hasBlobs = existsSync(join(images, "blobs"));
  if (hasBlobs && !existsSync(join(images, "index.json")) && dryRun) {
    yield `"${images}" has lost its index.json: dvcr restore run makes it again from the resources.`;
    return undefined;
  }
  if (hasBlobs && !dryRun) {
    await putDamagedIndexAside(images);
    const tags = await indexAgain(images, store);
    if (tags > 0) yield `${tags} images were put into the index again.`;
  }
  const host = new Addresses(config).registryHost;
  const place = await EmbeddedPlace.open({
    directory: images,
    host,
    keepLeftovers: true,
    reserve: directory.reserve,
  });
  if (!dryRun) await markPair(images, store);
  return place;
}

async function putDamagedIndexAside(images: string): Promise<void> {
  const path = join(images, "index.json");
  await readTags(images).catch(async () => rename(path, `${path}.lost`));
}

function* textOf({ restored, skipped, lost }: RestoreReport, dryRun: boolean): Generator<string> {
  const label = ({ kind, namespace, name }: RestoreReport["restored"][number]): string =>
    kind === "ClusterVirtualImage" ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;
  yield dryRun
    ? `${restored.length} resources would be made again${restored.length === 0 ? "." : ":"}`
    : `${restored.length} resources were made again${restored.length === 0 ? "." : ":"}`;
  for (const image of restored) yield `  ${label(image)}`;
  for (const { image, why } of skipped) yield `not made again, ${why}: ${label(image)} (${image.image.tag})`;
  const becomes = dryRun ? "; they would become ImageLost." : ", and are ImageLost now.";
  if (lost > 0) yield `${lost} resources are Ready with an image that is not there${becomes}`;
}
