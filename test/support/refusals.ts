/** Bad input, one kind each: how it is made, and what every front door must say about it. */
import { open, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import type { ErrorCode } from "../../src/errors/catalogue.ts";
import { makeRawDisk, qemuConvert, qemuIo, randomWrites, truncatedCopy } from "./disks.ts";
import { tool } from "./tools.ts";

/** The same options for the command line and for the pod's environment. */
export interface RefusalOptions {
  readonly flags?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
}

export interface Refusal extends RefusalOptions {
  readonly name: string;
  readonly make: (inputs: Inputs) => Promise<string>;
  readonly code: ErrorCode;
  readonly reason: RegExp;
}

/** Files that bad ones are made from, in a directory of their own. */
export interface Inputs {
  readonly directory: string;
  readonly raw: string;
  /** Compressed clusters, in order. */
  readonly qcow2: string;
}

export async function makeInputs(directory: string): Promise<Inputs> {
  const raw = await makeRawDisk(join(directory, "disk.raw"), 24);
  return { directory, raw, qcow2: await qemuConvert(raw, join(directory, "disk.qcow2"), "-O", "qcow2", "-c") };
}

/** A copy of a file with `bytes` written over what stands at `offset`. */
async function patched(from: string, to: string, offset: number, bytes: Uint8Array): Promise<string> {
  await writeFile(to, await readFile(from));
  const file = await open(to, "r+");
  try {
    await file.write(bytes, 0, bytes.length, offset);
  } finally {
    await file.close();
  }
  return to;
}

async function packed(from: string, to: string, ...command: string[]): Promise<string> {
  await tool("sh", "-c", `cat "$1" | ${command.join(" ")} > "$2"`, "sh", from, to);
  return to;
}

const gzipped = ({ raw, directory }: Inputs) => packed(raw, join(directory, "disk.gz"), "gzip", "-1");
const truncated = async (path: string) => truncatedCopy(path, `${path}.part`, 0.6);

/** `qemu-img create` with options that make an image nobody but qemu can read alone. */
async function created({ directory }: Pick<Inputs, "directory">, name: string, ...options: string[]): Promise<string> {
  const path = join(directory, name);
  await tool("qemu-img", "create", "-q", "-f", "qcow2", ...options, path, "8M");
  return path;
}

// Where the fields stand in a qcow2 header (docs/interop/qcow2.txt of QEMU, "Header").
const encryptionMethod = 32;
const incompatibleFeatures = 72;
const unknownFeature = Uint8Array.of(0x01, 0, 0, 0, 0, 0, 0, 0);
const corruptFeature = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0x02);

export const refusals: readonly Refusal[] = [
  ...(["md5:32", "sha1:40", "sha256:64", "sha512:128"] as const).map((spec): Refusal => {
    const [algorithm, digits] = spec.split(":") as [string, string];
    const wrong = `${algorithm}:${"0".repeat(Number(digits))}`;
    return {
      name: `a wrong ${algorithm}`,
      make: ({ qcow2 }) => Promise.resolve(qcow2),
      flags: ["--checksum", wrong],
      environment: { UPLOADER_CHECKSUMS: wrong },
      code: "E_CHECKSUM_MISMATCH",
      reason: new RegExp(`^${algorithm} sum mismatch: 0{${digits}} != [0-9a-f]{${digits}}\\. `),
    };
  }),
  { name: "60 % of a qcow2", make: ({ qcow2 }) => truncated(qcow2), code: "E_TRUNCATED", reason: /\d/ },
  {
    name: "60 % of a gzip file",
    make: async (inputs) => truncated(await gzipped(inputs)),
    code: "E_TRUNCATED",
    reason: /gzip stream ends early/,
  },
  {
    name: "60 % of an xz file",
    make: async ({ raw, directory }) => truncated(await packed(raw, join(directory, "disk.xz"), "xz", "-0")),
    code: "E_TRUNCATED",
    reason: /xz stream ends early/,
  },
  {
    name: "60 % of a zstd file",
    make: async ({ raw, directory }) => truncated(await packed(raw, join(directory, "disk.zst"), "zstd", "-q", "-1")),
    code: "E_TRUNCATED",
    reason: /zstd stream ends early/,
  },
  { name: "a damaged compressed cluster", make: damagedCluster, code: "E_CORRUPT_CLUSTER", reason: /\(at byte \d+\)/ },
  {
    name: "a damaged gzip stream",
    make: async (inputs) =>
      patched(await gzipped(inputs), join(inputs.directory, "damaged.gz"), 200_000, Buffer.alloc(64, 0xff)),
    code: "E_CORRUPT_COMPRESSION",
    reason: /gzip stream is damaged/,
  },
  {
    name: "data behind a gzip stream",
    make: async (inputs) => {
      const to = join(inputs.directory, "trailing.gz");
      await writeFile(to, Buffer.concat([await readFile(await gzipped(inputs)), Buffer.from("more")]));
      return to;
    },
    code: "E_TRAILING_DATA",
    reason: /gzip stream at its byte \d+/,
  },
  {
    name: "a backing file",
    make: ({ directory, qcow2 }) => created({ directory }, "overlay.qcow2", "-F", "qcow2", "-b", qcow2),
    code: "E_BACKING_FILE",
    reason: /names a backing file/,
  },
  {
    name: "an external data file",
    make: (inputs) => created(inputs, "external.qcow2", "-o", `data_file=${join(inputs.directory, "external.data")}`),
    code: "E_EXTERNAL_DATA",
    reason: /in another file/,
  },
  {
    name: "a qcow2 encrypted by qemu-img",
    make: (inputs) =>
      created(
        inputs,
        "aes.qcow2",
        "--object",
        "secret,id=key,data=secret",
        "-o",
        "encrypt.format=aes,encrypt.key-secret=key",
      ),
    code: "E_ENCRYPTED",
    reason: /encrypted with method 1/,
  },
  {
    // By its header alone: qemu-img measures the CPU for the key's iterations and gives up on a busy machine.
    name: "a qcow2 encrypted with LUKS",
    make: ({ qcow2, directory }) =>
      patched(qcow2, join(directory, "luks.qcow2"), encryptionMethod, Uint8Array.of(0, 0, 0, 2)),
    code: "E_ENCRYPTED",
    reason: /encrypted with method 2/,
  },
  {
    name: "an unknown incompatible feature",
    make: ({ qcow2, directory }) =>
      patched(qcow2, join(directory, "feature.qcow2"), incompatibleFeatures, unknownFeature),
    code: "E_UNSUPPORTED_FEATURE",
    reason: /bits 56/,
  },
  {
    name: "a qcow2 marked as corrupt",
    make: ({ qcow2, directory }) =>
      patched(qcow2, join(directory, "corrupt.qcow2"), incompatibleFeatures, corruptFeature),
    code: "E_CORRUPT_IMAGE",
    reason: /marked as corrupt/,
  },
  {
    name: "a disk larger than allowed",
    make: ({ qcow2 }) => Promise.resolve(qcow2),
    flags: ["--max-virtual-size", "16Mi"],
    environment: { DVCR_MAX_VIRTUAL_SIZE: "16Mi" },
    code: "E_TOO_LARGE",
    reason: /25165824 bytes, more than the limit of 16777216/,
  },
  {
    name: "an empty file",
    make: async ({ directory }) => {
      const to = join(directory, "empty");
      await writeFile(to, "");
      return to;
    },
    code: "E_EMPTY",
    reason: /./,
  },
  {
    name: "an image out of order without scratch",
    make: scattered,
    flags: ["--scratch-limit", "0"],
    environment: { DVCR_SCRATCH_LIMIT: "0" },
    code: "E_SCRATCH_LIMIT",
    reason: /bytes is needed, the limit is 0/,
  },
  {
    name: "another format than declared",
    make: ({ qcow2 }) => Promise.resolve(qcow2),
    flags: ["--src-format", "vhdx"],
    environment: { DVCR_SOURCE_FORMAT: "vhdx" },
    code: "E_FORMAT_MISMATCH",
    reason: /vhdx/,
  },
  { name: "a disk whose content is a qcow2", make: nested, code: "E_NESTED_IMAGE", reason: /qcow2/ },
  {
    name: "three compressions around each other",
    make: ({ raw, directory }) =>
      packed(raw, join(directory, "thrice.gz"), "gzip", "-1", "|", "zstd", "-q", "-1", "|", "gzip", "-1"),
    code: "E_NESTED_COMPRESSION",
    reason: /more than 2/,
  },
  {
    name: "an xz dictionary beyond the limit",
    make: ({ raw, directory }) => packed(raw, join(directory, "large.xz"), "xz", "-0", "--lzma2=preset=0,dict=64MiB"),
    flags: ["--max-decoder-memory", "32Mi"],
    environment: { DVCR_MAX_DECODER_MEMORY: "32Mi" },
    code: "E_DECODER_MEMORY",
    reason: /more than the limit of 32 MiB/,
  },
];

/** Bytes at a quarter of the file are turned over: compressed data in an image written in order. */
async function damagedCluster({ qcow2, directory }: Inputs): Promise<string> {
  const content = await readFile(qcow2);
  const at = Math.floor(content.length / 4);
  return patched(
    qcow2,
    join(directory, "damaged.qcow2"),
    at,
    content.subarray(at, at + 4096).map((byte) => byte ^ 0x5a),
  );
}

/** Random writes all over 96 MiB: more stands in the wrong place than is held in memory. */
async function scattered({ directory }: Inputs): Promise<string> {
  const path = join(directory, "scattered.qcow2");
  await tool("qemu-img", "create", "-q", "-f", "qcow2", path, "96M");
  await qemuIo(path, randomWrites(900, 96, 3));
  return path;
}

/** A disk with the bytes of a qcow2 file on it. */
export async function nested({ qcow2, directory }: Inputs): Promise<string> {
  return qemuConvert(qcow2, join(directory, "nested.qcow2"), "-f", "raw", "-O", "qcow2");
}
