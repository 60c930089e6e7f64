import { InvalidArgumentError, Option, type Command } from "commander";

import { parseBytes, parseChecksum, seconds, type Checksum } from "../config/kinds.ts";
import type { LayerCompression } from "../pipeline/import-image.ts";

/** Flags that say how the source is reached, as commander hands them over. */
export interface SourceAccessFlags extends RetryFlags {
  readonly srcCreds?: string;
  readonly srcAuthfile?: string;
  readonly srcTlsVerify: boolean;
  readonly srcCertDir?: string;
}

/** Flags that say how the destination is reached. */
export interface DestinationFlags {
  readonly destCreds?: string;
  readonly authfile?: string;
  readonly destTlsVerify: boolean;
  readonly destCertDir?: string;
}

export interface RetryFlags {
  /** Seconds. */
  readonly retryTime: number;
}

export interface ReportFlags {
  readonly quiet: boolean;
  readonly json: boolean;
}

/** Flags of `dvcr copy`. */
export interface CopyFlags extends SourceAccessFlags, DestinationFlags, ReportFlags {}

/** Flags that say what the source is and how it is reached. */
export interface SourceFlags extends SourceAccessFlags {
  readonly srcFormat?: string;
  readonly srcHeader: readonly string[];
  readonly platform?: string;
  readonly maxVirtualSize: number;
  readonly maxDecoderMemory: number;
  readonly scratchDir: string;
}

/** Flags of `dvcr import`. */
export interface ImportFlags extends SourceFlags, DestinationFlags, ReportFlags {
  readonly checksum: readonly Checksum[];
  readonly compression: LayerCompression;
  readonly format: "raw" | "source";
  readonly manifest: "oci" | "docker";
  readonly allowNested: boolean;
  readonly reuse: boolean;
  readonly scratchLimit: number;
}

export const SOURCE_FORMATS = ["raw", "iso", "qcow2", "vmdk", "vdi", "vpc", "vhdx"] as const;

const GIB = 2 ** 30;

/** Adds the flags that say what the source is and how it is reached; shared by import and inspect. */
export function addSourceFlags(command: Command, scratchDirectory: string): Command {
  return addSourceAccessFlags(command)
    .addOption(new Option("--src-format <format>", "declare the source's format; other content is refused").choices(SOURCE_FORMATS))
    .option("--src-header <name: value>", "extra header for an HTTP source; repeatable", collect, [])
    .option("--platform <os/arch>", "which image of a docker:// source's index; linux/amd64 if not given")
    .addOption(bytesFlag("--max-virtual-size", "largest disk accepted", 64 * 1024 * GIB, "64Ti"))
    .addOption(bytesFlag("--max-decoder-memory", "most memory that unpacking may need", GIB / 4, "256Mi"))
    .option("--scratch-dir <dir>", "where bytes that arrive out of order are kept", scratchDirectory);
}

/** Adds the flags of `dvcr copy`. */
export function addCopyFlags(command: Command): Command {
  return addReportFlags(addDestinationFlags(addSourceAccessFlags(command)));
}

/** Adds the flags of `dvcr import` beyond the source's. */
export function addImportFlags(command: Command): Command {
  command
    .option("--checksum <algo:hex>", "md5, sha1, sha256 or sha512 of the source as sent; repeatable", collectChecksum, [])
    .addOption(new Option("--compression <codec>", "compression of the layer").choices(["gzip", "zstd", "none"]).default("gzip"))
    .addOption(new Option("--format <what>", "what /disk/disk.img holds: the disk (raw) or the source file, unpacked (source)").choices(["raw", "source"]).default("raw"))
    .addOption(new Option("--manifest <kind>", "media types of the image").choices(["oci", "docker"]).default("oci"))
    .option("--reuse", "where the destination repository holds an image of this checksum, tag that and download nothing", false)
    .option("--allow-nested", "accept a disk whose content is itself a disk image", false);
  return addReportFlags(addDestinationFlags(command).addOption(bytesFlag("--scratch-limit", "most bytes kept in scratch; 0 allows only images in order", 64 * GIB, "64Gi")));
}

function addSourceAccessFlags(command: Command): Command {
  return command
    .option("--src-creds <user:password>", "credentials for the source")
    .option("--src-authfile <file>", "docker config.json with credentials for a docker:// source")
    .addOption(booleanFlag("--src-tls-verify", "verify the source's certificate; false allows a registry plain HTTP too"))
    .addOption(secondsFlag("--retry-time", "how long a source or registry that is away or read-only is waited for", 17 * 60))
    .option("--src-cert-dir <dir>", "CA (*.crt, *.pem) and client (*.cert, *.key) files for the source");
}

function addDestinationFlags(command: Command): Command {
  return command
    .option("--dest-creds <user:password>", "credentials for the destination")
    .option("--authfile <file>", "docker config.json with credentials")
    .addOption(booleanFlag("--dest-tls-verify", "verify the destination's certificate; false allows plain HTTP too"))
    .option("--dest-cert-dir <dir>", "CA (*.crt, *.pem) and client (*.cert, *.key) files for the destination");
}

function addReportFlags(command: Command): Command {
  return command
    .option("--quiet", "no progress", false)
    .option("--json", "print one JSON report on stdout", false);
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

function collectChecksum(value: string, before: readonly Checksum[]): Checksum[] {
  const checksum = parseChecksum(value);
  if (!checksum) throw new InvalidArgumentError("Expected algo:hex, with the hex digits that the algorithm has.");
  return [...before, checksum];
}

function bytesFlag(flag: string, description: string, fallback: number, shown: string): Option {
  return new Option(`${flag} <bytes>`, `${description}; plain or with Ki, Mi, Gi, Ti`).default(fallback, shown).argParser((value) => {
    const bytes = parseBytes(value);
    if (bytes === undefined) throw new InvalidArgumentError("Expected bytes, plain or with Ki, Mi, Gi, Ti.");
    return bytes;
  });
}

function secondsFlag(flag: string, description: string, fallback: number): Option {
  return new Option(`${flag} <seconds>`, description).default(fallback).argParser((value) => {
    const parsed = seconds.parse(value);
    if (parsed === undefined) throw new InvalidArgumentError(`Expected ${seconds.expected}.`);
    return parsed;
  });
}

/** `--flag`, `--flag=true` or `--flag=false`, as skopeo has them. */
function booleanFlag(flag: string, description: string): Option {
  return new Option(`${flag} [boolean]`, description).default(true).argParser((value) => {
    if (value === "true") return true;
    if (value === "false") return false;
    throw new InvalidArgumentError("Expected true or false.");
  });
}
