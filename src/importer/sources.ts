import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { importOptions } from "../config/import-options.ts";
import { parseHeaderLine } from "../config/header-line.ts";
import type { ImporterConfig } from "../config/importer-config.ts";
import { copyImage } from "../copy/copy-image.ts";
import { makeSource, type SourceDescription } from "../endpoints/sources.ts";
import { DvcrError } from "../errors/dvcr-error.ts";
import type { TlsOptions } from "../outbound/tls.ts";
import { podDestinationAccess, podDestinationName, podRetryPolicy, podUploads } from "../process/pod-destination.ts";
import { openRegistry } from "../registry/open.ts";
import { parseReference, type ImageReference } from "../registry/reference.ts";
import type { CopySource, OpenImporterSource } from "./run-importer.ts";

/** Where the controller mounts a block volume, and the file it makes on a file system volume. */
const BLOCK_DEVICE = "/dev/xvda";
const DISK_FILE = "disk.img";

/** The source that the environment describes. */
export const openSource: OpenImporterSource = (config, log) =>
  makeSource(describeSource(config), {
    tls: sourceTls(config),
    proxies: config,
    retry: podRetryPolicy(config),
    firstByteMs: config.firstByteSeconds * 1000,
    allowPrivateRedirects: config.allowPrivateRedirects,
    limits: importOptions(config, config.checksums).limits,
    log,
  });

/** `dvcr`, an image that is copied and not converted, never comes here. */
function describeSource(config: ImporterConfig): SourceDescription {
  const { accessKeyId: username, secretKey: password, endpoint = "" } = config;
  const hasPassword = username !== undefined && password !== undefined;
  switch (config.source) {
    case "http":
      return {
        kind: "http",
        url: endpoint,
        headers: Object.fromEntries(
          [...config.headerLines, ...mountedHeaders(config.extraHeadersDir)].map(splitHeader),
        ),
        ...(hasPassword ? { credentials: { username, password } } : {}),
      };
    case "registry":
    case "dvcr":
      return {
        kind: "registry",
        image: endpoint.startsWith("docker://") ? endpoint : `docker://${endpoint}`,
        credentials: {
          ...(hasPassword ? { userPassword: `${username}:${password}` } : {}),
          ...(config.authConfig === undefined ? {} : { authFile: config.authConfig }),
        },
      };
    case "blockDevice":
      return { kind: "file", path: BLOCK_DEVICE };
    case "filesystem":
      return { kind: "file", path: join(config.filesystem, DISK_FILE) };
  }
}

function sourceTls(config: ImporterConfig): TlsOptions {
  const verify = !config.insecureTls;
  if (config.source === "http")
    return {
      verify,
      authorityDirectories: [config.certDir, config.proxyCertDir].filter((directory) => directory !== undefined),
    };
  return { verify, ...(config.certDir === undefined ? {} : { certDirectory: config.certDir }) };
}

/** The platform's own registry holds both images, so both sides take the destination's credentials and TLS settings. */
export const copySource: CopySource = (config, log, signal) => {
  const destination = podDestinationName(config);
  if (destination.kind !== "docker")
    throw new DvcrError("E_CONFIG", "IMPORTER_DESTINATION_ENDPOINT: got a directory, expected an image in a registry");
  const source = parseReference((config.endpoint ?? "").replace(/^docker:\/\//, ""));
  const open = (reference: ImageReference, peer: string) =>
    openRegistry(reference, { ...podDestinationAccess(config, log, peer), forPush: peer === "registry" });
  const from = { reference: source, client: open(source, "source") };
  const to = { reference: destination.reference, client: open(destination.reference, "registry") };
  const running = copyImage(from, to, signal, podUploads(config, log));
  return {
    progress: () => running.progress(),
    done: running.done.finally(() => Promise.all([from.client.close(), to.client.close()])),
  };
};

/** Header lines from a mounted Secret: every file, every line. A directory that is not there holds none. */
function mountedHeaders(directory: string): string[] {
  let names: string[];
  try {
    names = readdirSync(directory).filter((name) => !name.startsWith("."));
  } catch {
    return [];
  }
  const lines = names.flatMap((name) => readFileSync(join(directory, name), "utf8").split("\n"));
  return lines.map((line) => line.trim()).filter((line) => line !== "");
}

function splitHeader(line: string): readonly [string, string] {
  const field = parseHeaderLine(line);
  if (!field) throw new DvcrError("E_CONFIG", "an extra header is not of the form `Name: value`");
  return field;
}
