import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { isHeaderLine, type ImporterConfig } from "../config/importer-config.ts";
import { DvcrError } from "../errors/dvcr-error.ts";
import type { Logger } from "../log/logger.ts";
import { logRetries } from "../log/events.ts";
import { podRetryPolicy } from "../process/pod-destination.ts";
import { fileSource } from "../source/file.ts";
import { httpSource } from "../source/http/http-source.ts";
import type { Source } from "../source/source.ts";
import type { SourceFactories } from "./run-importer.ts";

/** Where the controller mounts a block volume, and the file it makes on a file system volume. */
const BLOCK_DEVICE = "/dev/xvda";
const DISK_FILE = "disk.img";

/** How each kind of source that the environment can name is made. */
export const sourceFactories: SourceFactories = {
  http: httpFrom,
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
    onNotice: (text) => { log.warn(text); },
  });
}

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

function splitHeader(line: string): [string, string] {
  if (!isHeaderLine(line)) throw new DvcrError("E_CONFIG", "an extra header is not of the form `Name: value`");
  const colon = line.indexOf(":");
  return [line.slice(0, colon), line.slice(colon + 1).trim()];
}
