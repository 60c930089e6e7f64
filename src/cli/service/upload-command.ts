/** `dvcr upload FILE NAME`: the resource, its bytes, and the wait until it is Ready. */
import type { Logger } from "pino";

import { parseChecksum } from "../../config/kinds.ts";
import { DvcrError } from "../../errors/dvcr-error.ts";
import type { ImageObject, ImagePhase } from "../../service/model/image.ts";
import { imageApiVersion } from "../../service/model/image.ts";
import { showProgress } from "../progress.ts";
import { formatTable } from "../units.ts";
import { applyOne } from "./apply-command.ts";
import type { ServiceClient } from "./client.ts";
import { FileSender } from "./file-sender.ts";
import type { UploadFlags } from "./flags.ts";
import { ImageWatch } from "./image-watch.ts";
import { kindOf, pathOf } from "./kinds.ts";
import { LocalFile } from "./local-file.ts";

export interface UploadContext {
  readonly logger: Logger;
  readonly signal: AbortSignal;
  /** Between two looks at the resource. */
  readonly pause: () => Promise<void>;
}

/**
 * Resolves to the text for stdout. @throws DvcrError: of the API, of the upload, or what the image's Ready condition
 * tells.
 */
export async function upload(
  client: ServiceClient,
  path: string,
  name: string,
  flags: UploadFlags,
  { logger, signal, pause }: UploadContext,
): Promise<string> {
  const file = await LocalFile.find(path);
  const kind = kindOf(flags.kind ?? "cvi");
  const checksum = checksumOf(flags.checksum);
  const manifest = {
    apiVersion: imageApiVersion,
    kind: kind.kind,
    metadata: { name, ...(kind.isNamespaced ? { namespace: flags.namespace } : {}) },
    spec: { dataSource: { type: "Upload", ...(checksum === undefined ? {} : { upload: { checksum } }) } },
  };
  await applyOne(client, manifest, { namespace: flags.namespace, forceConflicts: false });
  const deletion = `dvcr delete ${kind.isNamespaced ? `-n ${flags.namespace} ` : ""}${flags.kind ?? "cvi"} ${name}`;
  const watch = new ImageWatch({ client, path: pathOf(kind, flags.namespace, name), deletion, logger, pause });
  // A Pending image may show the URL that it had before, and nobody listens there.
  const waiting = await watch.until(
    (image) =>
      (uploadUrlOf(image) !== undefined && image.status?.phase !== "Pending") || image.status?.phase === "Ready",
  );
  const url = uploadUrlOf(waiting);
  if (waiting.status?.phase === "Ready" || url === undefined)
    throw new DvcrError("E_OBJECT_EXISTS", `${name} is Ready already`);
  const phase = async (): Promise<ImagePhase | undefined> => (await watch.look()).status?.phase;
  const sender = new FileSender({
    client,
    url: new URL(url, client.server),
    file,
    sourceFormat: flags.srcFormat,
    phase,
    logger,
    signal,
  });
  const endProgress = flags.quiet ? () => undefined : showProgress(sender, process.stderr, logger);
  try {
    await sender.send();
  } finally {
    endProgress();
  }
  return summary(await watch.until((image) => image.status?.phase === "Ready"));
}

/**
 * Where this client reaches the server, the upload's path is the same: the public URL may not be reachable from here.
 */
function uploadUrlOf({ status }: ImageObject): string | undefined {
  const given = status?.imageUploadURLs?.external ?? status?.imageUploadURLs?.inCluster;
  return given === undefined ? undefined : new URL(given).pathname;
}

function checksumOf(text: string | undefined): Record<string, string> | undefined {
  if (text === undefined) return undefined;
  const checksum = parseChecksum(text);
  if (checksum === undefined)
    throw new DvcrError("E_USAGE", `--checksum: got ${JSON.stringify(text)}, expected ALGORITHM:HEX`);
  return { [checksum.algorithm]: checksum.expected };
}

function summary({ metadata, status }: ImageObject): string {
  return formatTable([
    ["name", metadata.name],
    ["phase", status?.phase ?? ""],
    ["format", status?.format ?? ""],
    ["stored size", status?.size?.stored ?? ""],
    ["unpacked size", status?.size?.unpacked ?? ""],
    ["image", status?.target?.registryURL ?? ""],
  ]);
}
