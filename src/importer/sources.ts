import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { importOptions } from "../config/import-options.ts";
import { parseHeaderLine } from "../config/header-line.ts";
import type { ImporterConfig } from "../config/importer-config.ts";
import { DvcrError } from "../errors/dvcr-error.ts";
import type { Logger } from "../log/logger.ts";
import { logRetries } from "../log/events.ts";
import { copyImage } from "../pipeline/copy-image.ts";
import { podDestinationAccess, podDestinationName, podRetryPolicy, podUploads } from "../process/pod-destination.ts";
import { openRegistry } from "../registry/open.ts";
import { parseReference, type ImageReference } from "../registry/reference.ts";
import { fileSource } from "../source/file.ts";
import { httpSource } from "../source/http/http-source.ts";
import { registrySource } from "../source/registry/registry-source.ts";
import type { Source } from "../source/source.ts";
import type { CopySource, SourceFactories } from "./run-importer.ts";

/** Where the controller mounts a block volume, and the file it makes on a file system volume. */
const BLOCK_DEVICE = "/dev/xvda";
const DISK_FILE = "disk.img";

/** How each kind of source that the environment can name is made. */
export const sourceFactories: SourceFactories = {
  http: httpFrom,
  registry: registryFrom,
  blockDevice: () => fileSource(BLOCK_DEVICE),
  filesystem: (config) => fileSource(join(config.filesystem, DISK_FILE)),
};

function httpFrom(config: ImporterConfig, log: Logger): Source {
  const { accessKeyId: username, secretKey: password } = config;
  const authorityDirectories = [config.certDir, config.proxyCertDir].filter((directory) => directory !== undefined);
  return httpSource(config.endpoint ?? "", {
    tls: { verify: !config.insecureTls, authorityDirectories },
    proxies: config,
    headers: Object.fromEntries([...config.headerLines, ...mountedHeaders(config.extraHeadersDir)].map(splitHeader)),
    ...(username === undefined || password === undefined ? {} : { credentials: { username, password } }),
    policy: podRetryPolicy(config),
    onRetry: logRetries(log, "source"),
    onNotice: (text) => {
      log.warn(text);
    },
  });
}

function registryFrom(config: ImporterConfig, log: Logger): Source {
  const { accessKeyId: user, secretKey: password, endpoint = "" } = config;
  return registrySource(endpoint.startsWith("docker://") ? endpoint : `docker://${endpoint}`, {
    tls: { verify: !config.insecureTls, ...(config.certDir === undefined ? {} : { certDirectory: config.certDir }) },
    credentials: {
      ...(user === undefined || password === undefined ? {} : { userPassword: `${user}:${password}` }),
      ...(config.authConfig === undefined ? {} : { authFile: config.authConfig }),
    },
    limits: importOptions(config, config.checksums).limits,
    proxies: config,
    retry: podRetryPolicy(config),
    onRetry: logRetries(log, "source"),
  });
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
