import { Option, type Command } from "commander";

import {
  IMAGE_FORMATS,
  imageDefaults,
  LAYER_COMPRESSIONS,
  MANIFEST_KINDS,
  SOURCE_FORMATS,
} from "../config/image-defaults.ts";
import { checksumAlgorithms, parseBytes, parseChecksum, seconds, type Checksum } from "../config/kinds.ts";
import type { LayerCompression } from "../layer/image-config.ts";
import type { UsageProblems } from "./usage.ts";

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
  readonly allowPrivateRedirects: boolean;
}

export interface ReportFlags {
  readonly quiet: boolean;
  readonly json: boolean;
}

/** Flags of `dvcr copy`. */
export interface CopyFlags extends SourceAccessFlags, DestinationFlags, ReportFlags {}

/** Flags of `dvcr doctor`. */
export interface DoctorFlags extends DestinationFlags, Pick<RetryFlags, "allowPrivateRedirects"> {
  readonly json: boolean;
}

/** Flags that say what the source is and how it is reached. */
export interface SourceFlags extends SourceAccessFlags {
  readonly srcFormat?: string;
  readonly srcHeader: readonly string[];
  /** Seconds. */
  readonly firstByteTimeout: number;
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

/** Flags of `dvcr export`. */
export interface ExportFlags extends SourceFlags, ReportFlags {
  readonly checksum: readonly Checksum[];
  readonly format: "raw" | "qcow2";
  readonly compression: "none" | "zlib" | "zstd";
  /** Bytes. */
  readonly size?: number;
  readonly force: boolean;
  readonly verify: boolean;
  readonly allowNested: boolean;
  readonly scratchLimit: number;
}

/** Adds the flags that say what the source is and how it is reached; shared by import and inspect. */
export function addSourceFlags(command: Command, scratchDirectory: string, problems: UsageProblems): Command {
  return addSourceAccessFlags(command, problems)
    .addOption(
      problems.choice(
        new Option("--src-format <format>", "declare the source's format; other content is refused"),
        SOURCE_FORMATS,
      ),
    )
    .option("--src-header <name: value>", "extra header for an HTTP source; repeatable", collect, [])
    .addOption(
      secondsFlag(
        problems,
        "--first-byte-timeout",
        "how long an HTTP source may take to the first byte of its answer",
        60,
      ),
    )
    .option("--platform <os/arch>", "which image of a docker:// source's index; linux/amd64 if not given")
    .addOption(bytesFlag(problems, "--max-virtual-size", "largest disk accepted", imageDefaults.maxVirtualSize, "64Ti"))
    .addOption(
      bytesFlag(
        problems,
        "--max-decoder-memory",
        "most memory that unpacking may need",
        imageDefaults.maxDecoderMemory,
        "256Mi",
      ),
    )
    .option("--scratch-dir <dir>", "where bytes that arrive out of order are kept", scratchDirectory);
}

/** Adds the flags of `dvcr copy`. */
export function addCopyFlags(command: Command, problems: UsageProblems): Command {
  return addReportFlags(addDestinationFlags(addSourceAccessFlags(command, problems), problems));
}

/** Adds the flags of `dvcr export` beyond the source's. */
export function addExportFlags(command: Command, problems: UsageProblems): Command {
  command
    .addOption(problems.choice(new Option("--format <format>", "format of the disk"), ["raw", "qcow2"]).default("raw"))
    .addOption(
      problems
        .choice(new Option("--compression <codec>", "compression of a qcow2 disk's clusters"), ["none", "zlib", "zstd"])
        .default("none"),
    )
    .addOption(
      problems.parsed<number | undefined>(
        new Option("--size <bytes>", "least size of the disk, plain or with Ki, Mi, Gi, Ti; it is never cut"),
        "bytes, plain or with Ki, Mi, Gi, Ti",
        parseBytes,
        undefined,
      ),
    )
    .addOption(checksumFlag(problems, "the raw disk"))
    .option("--force", "replace a file that exists", false)
    .option("--verify", "read the disk back and compare it with what was written", false)
    .option("--allow-nested", "accept a disk whose content is itself a disk image", false);
  return addReportFlags(addScratchLimit(command, problems));
}

/** Adds the flags of `dvcr import` beyond the source's. */
export function addImportFlags(command: Command, problems: UsageProblems): Command {
  command
    .addOption(checksumFlag(problems, "the source as sent"))
    .addOption(
      problems
        .choice(new Option("--compression <codec>", "compression of the layer"), LAYER_COMPRESSIONS)
        .default(imageDefaults.layerCompression),
    )
    .addOption(
      problems
        .choice(
          new Option(
            "--format <what>",
            "what /disk/disk.img holds: the disk (raw) or the source file, unpacked (source)",
          ),
          IMAGE_FORMATS,
        )
        .default(imageDefaults.imageFormat),
    )
    .addOption(
      problems
        .choice(new Option("--manifest <kind>", "media types of the image"), MANIFEST_KINDS)
        .default(imageDefaults.manifestKind),
    )
    .option(
      "--reuse",
      "where the destination repository holds an image of this checksum, tag that and download nothing",
      false,
    )
    .option("--allow-nested", "accept a disk whose content is itself a disk image", false);
  return addReportFlags(addScratchLimit(addDestinationFlags(command, problems), problems));
}

function addScratchLimit(command: Command, problems: UsageProblems): Command {
  return command.addOption(
    bytesFlag(
      problems,
      "--scratch-limit",
      "most bytes kept in scratch; 0 allows only images in order",
      imageDefaults.scratchLimit,
      "64Gi",
    ),
  );
}

/** Adds the flags of `dvcr doctor`. */
export function addDoctorFlags(command: Command, problems: UsageProblems): Command {
  return addRedirectFlag(addDestinationFlags(command, problems)).option("--json", "print one JSON report", false);
}

function addRedirectFlag(command: Command): Command {
  return command.option(
    "--allow-private-redirects",
    "follow a registry's redirects to private addresses also where it is on a public one",
    false,
  );
}

function addSourceAccessFlags(command: Command, problems: UsageProblems): Command {
  return addRedirectFlag(command)
    .option("--src-creds <user:password>", "credentials for the source")
    .option("--src-authfile <file>", "docker config.json with credentials for a docker:// source")
    .addOption(
      booleanFlag(
        problems,
        "--src-tls-verify",
        "verify the source's certificate; false allows a registry plain HTTP too",
      ),
    )
    .addOption(
      secondsFlag(
        problems,
        "--retry-time",
        "how long a source or registry that is away or read-only is waited for",
        17 * 60,
      ),
    )
    .option(
      "--src-cert-dir <dir>",
      "directory with CA (*.crt) and client (*.cert, *.key) files for the source, or one file of CAs",
    );
}

function addDestinationFlags(command: Command, problems: UsageProblems): Command {
  return command
    .option("--dest-creds <user:password>", "credentials for the destination")
    .option("--authfile <file>", "docker config.json with credentials")
    .addOption(
      booleanFlag(problems, "--dest-tls-verify", "verify the destination's certificate; false allows plain HTTP too"),
    )
    .option(
      "--dest-cert-dir <dir>",
      "directory with CA (*.crt) and client (*.cert, *.key) files for the destination, or one file of CAs",
    );
}

function addReportFlags(command: Command): Command {
  return command.option("--quiet", "no progress", false).option("--json", "print one JSON report on stdout", false);
}

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

function checksumFlag(problems: UsageProblems, ofWhat: string): Option {
  const option = new Option("--checksum <algo:hex>", `${checksumAlgorithms.join(", ")} of ${ofWhat}; repeatable`);
  const parse = (value: string, before: readonly Checksum[]) => {
    const checksum = parseChecksum(value);
    return checksum && [...before, checksum];
  };
  return problems
    .parsed<readonly Checksum[]>(option, "algo:hex with the hex digits that the algorithm has", parse, [])
    .default([]);
}

function bytesFlag(
  problems: UsageProblems,
  flag: string,
  description: string,
  fallback: number,
  shown: string,
): Option {
  const option = new Option(`${flag} <bytes>`, `${description}; plain or with Ki, Mi, Gi, Ti`);
  return problems.parsed(option, "bytes, plain or with Ki, Mi, Gi, Ti", parseBytes, fallback).default(fallback, shown);
}

function secondsFlag(problems: UsageProblems, flag: string, description: string, fallback: number): Option {
  const parse = (value: string) => seconds.parse(value);
  return problems
    .parsed(new Option(`${flag} <seconds>`, description), seconds.expected, parse, fallback)
    .default(fallback);
}

/** `--flag`, `--flag=true` or `--flag=false`, as skopeo has them. */
function booleanFlag(problems: UsageProblems, flag: string, description: string): Option {
  const parse = (value: string) => (value === "true" ? true : value === "false" ? false : undefined);
  return problems
    .parsed<boolean>(new Option(`${flag} [boolean]`, description), "true or false", parse, true)
    .default(true);
}
