import { mkdir, mkdtemp, open, readdir, readFile, rm, stat, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { ImportReport } from "../src/pipeline/import-image.ts";
import { dvcr, dvcrImportWith } from "./support/cli.ts";
import { makeRawDisk, patternBytes, qemuConvert, qemuIo, randomWrites, textBytes } from "./support/disks.ts";
import { startExecutable } from "./support/executable.ts";
import { curl, eventually } from "./support/pod.ts";
import { startRegistry, type TestRegistry } from "./support/registry.ts";
import { tool } from "./support/tools.ts";

const MIB = 1 << 20;
let directory: string;
let registry: TestRegistry;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-resources-"));
  registry = await startRegistry();
});

afterAll(async () => {
  await registry.stop();
  await rm(directory, { recursive: true, force: true });
});

const at = (name: string) => join(directory, name);

/** A PATH on which there is Node and nothing else. */
async function pathWithNodeOnly(): Promise<string> {
  const path = at("bin");
  await mkdir(path, { recursive: true });
  await symlink(process.execPath, join(path, "node")).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  });
  return path;
}

interface Traced {
  readonly code: number | null;
  readonly stderr: string;
  /** Programs that were started. */
  readonly started: string[];
  /** Every path that was opened, also in vain. */
  readonly opened: string[];
  /** Those opened for writing, with success. */
  readonly written: string[];
}

/** `dvcr import` under strace, with no tool within its reach. */
async function traced(...args: string[]): Promise<Traced> {
  const log = at("strace.log");
  const wrapper = [
    (await tool("which", "strace")).trim(),
    "-f",
    "-qq",
    "-s",
    "4096",
    "-e",
    "trace=execve,execveat,open,openat,openat2,creat",
    "-o",
    log,
  ];
  const { code, stderr } = await dvcr(["import", "--quiet", "--dest-tls-verify=false", ...args], {
    wrapper,
    env: { PATH: await pathWithNodeOnly() },
  });
  const calls = (await readFile(log, "utf8")).split("\n");
  const path = (call: string) => /"([^"]*)"/.exec(call)?.[1] ?? "";
  return {
    code,
    stderr,
    started: calls.filter((call) => /\bexecve(at)?\(/.test(call) && call.endsWith("= 0")).map(path),
    opened: calls.filter((call) => /\b(open|creat)/.test(call)).map(path),
    written: calls
      .filter((call) => /\b(creat\(|open.*(O_WRONLY|O_RDWR|O_CREAT))/.test(call) && !call.includes("= -1"))
      .map(path),
  };
}

/** The first is the script's own `#!/usr/bin/env node`. */
const onlyNode = [expect.stringMatching(/\/bin\/dvcr$/), expect.stringMatching(/\/node$/)] as string[];

describe("seen from outside, an import", () => {
  it("starts no program and writes no file, with nothing but Node on the PATH", async () => {
    const image = await qemuConvert(await makeRawDisk(at("small.raw"), 24), at("small.qcow2"), "-O", "qcow2", "-c");
    const run = await traced(image, `docker://${registry.host}/traced:1`);
    expect(run).toMatchObject({ code: 0, started: onlyNode });
    expect(run.opened).toContain(image);
    expect(run.written.filter((path) => path !== "/dev/null")).toEqual([]);
  });

  it("writes nothing but the OCI layout, and an image out of order unnamed scratch", async () => {
    const image = at("scattered.qcow2");
    await tool("qemu-img", "create", "-q", "-f", "qcow2", image, "96M");
    await qemuIo(image, randomWrites(900, 96, 3));
    const scratch = at("scratch");
    await mkdir(scratch);
    const run = await traced("--scratch-dir", scratch, image, `oci:${at("layout")}:1`);
    expect(run).toMatchObject({ code: 0, started: onlyNode });
    const elsewhere = run.written.filter((path) => path !== "/dev/null" && !path.startsWith(at("layout")));
    expect(elsewhere).toEqual([scratch]);
    expect(await readdir(scratch)).toEqual([]);
  });

  it("opens no name that stands in the image", async () => {
    const base = await qemuConvert(at("small.raw"), at("base-of-it.qcow2"), "-O", "qcow2");
    const overlay = at("overlay.qcow2");
    await tool("qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base, overlay);
    const external = at("external.qcow2");
    await tool("qemu-img", "create", "-q", "-f", "qcow2", "-o", `data_file=${at("data-of-it.raw")}`, external, "8M");
    for (const [image, code] of [
      [overlay, "E_BACKING_FILE"],
      [external, "E_EXTERNAL_DATA"],
    ] as const) {
      const run = await traced(image, `docker://${registry.host}/named:1`);
      expect(run.stderr.startsWith(code)).toBe(true);
      expect(run.opened).toContain(image);
      expect(run.opened.filter((path) => path.includes("-of-it"))).toEqual([]);
    }
  });
});

/** 8 GiB with 400 MB of data all over it: a quarter text, the rest noise. */
async function makeLargeRaw(path: string): Promise<string> {
  const file = await open(path, "w");
  try {
    await file.truncate(8192 * MIB);
    const [text, noise] = [textBytes(2 * MIB, 7), patternBytes(6 * MIB, 11)];
    for (let i = 0; i < 50; i += 1) {
      // No two pieces alike, so that nothing is smaller than it looks.
      noise.writeUInt32LE(i, 4096);
      await file.write(text, 0, text.length, i * 160 * MIB + 4096);
      await file.write(noise, 0, noise.length, (i * 160 + 8) * MIB);
    }
  } finally {
    await file.close();
  }
  return path;
}

/** Runs an import and gives its report and the peak of its resident memory (VmHWM), in MiB. */
async function measured(source: string, ...flags: string[]): Promise<{ report: ImportReport; peak: number }> {
  const target = at("status");
  const note =
    `import { readFileSync, writeFileSync } from "node:fs"; process.on("exit", () => ` +
    `writeFileSync(${JSON.stringify(target)}, readFileSync("/proc/self/status")));`;
  const env = { NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(note)}` };
  const report = await dvcrImportWith({ env }, source, `docker://${registry.host}/memory:1`, ...flags);
  const peak = Number(/^VmHWM:\s+(\d+) kB$/m.exec(await readFile(target, "utf8"))?.[1]) / 1024;
  return { report, peak };
}

describe("the memory of an import", { timeout: 600_000 }, () => {
  beforeAll(async () => {
    await makeLargeRaw(at("large.raw"));
  }, 120_000);

  it("of 8 GiB in compressed clusters in order stays under 200 MiB without scratch", async () => {
    const image = await qemuConvert(at("large.raw"), at("ordered.qcow2"), "-O", "qcow2", "-c");
    const { report, peak } = await measured(image, "--scratch-limit", "0");
    expect(report).toMatchObject({ virtualSize: 8192 * MIB, scratchPeak: 0 });
    expect(peak).toBeLessThan(200);
    await rm(image);
  });

  it("of 8 GiB in compressed clusters as several threads wrote them stays under 200 MiB", async () => {
    const image = await qemuConvert(at("large.raw"), at("unordered.qcow2"), "-O", "qcow2", "-c", "-W", "-m", "16");
    const { report, peak } = await measured(image);
    expect(report.virtualSize).toBe(8192 * MIB);
    expect(peak).toBeLessThan(200);
    await rm(image);
  });

  it("of 8 GiB written at random stays under 200 MiB, and scratch counts what is not in memory", async () => {
    const image = at("random.qcow2");
    await tool("qemu-img", "create", "-q", "-f", "qcow2", image, "8G");
    await qemuIo(image, randomWrites(4000, 8192, 5));
    const { report, peak } = await measured(image);
    expect(report.scratchPeak).toBeGreaterThan(100 * MIB);
    expect(report.scratchPeak).toBeLessThan((await stat(image)).size);
    expect(peak).toBeLessThan(200);
    await rm(image);
  });

  it("of an xz file whose blocks are unpacked by threads stays under 256 MiB and the decoder's window", async () => {
    const packed = at("large.raw.xz");
    // Blocks and dictionary as xz -6 makes them, in a fraction of its time.
    await tool(
      "sh",
      "-c",
      'head -c 1610612736 "$1" | xz -T2 --block-size=24MiB --lzma2=preset=0,dict=8MiB > "$2"',
      "sh",
      at("large.raw"),
      packed,
    );
    const { report, peak } = await measured(packed);
    expect(report).toMatchObject({ sourceFormat: "raw", virtualSize: 1536 * MIB });
    expect(peak).toBeLessThan(256 + 2 * 8);
    await rm(packed);
  });
});

describe("while an upload is slow", () => {
  /** Bytes of the layer that have come to the registry so far. */
  async function arrived(repository: string): Promise<number> {
    const uploads = join(registry.storage, "docker/registry/v2/repositories", repository, "_uploads");
    const [id] = await registry.sessions(repository);
    return id === undefined ? 0 : (await stat(join(uploads, id, "data")).catch(() => ({ size: 0 }))).size;
  }

  it("its bytes reach the registry long before it ends", async () => {
    const raw = at("noise.raw");
    const file = await open(raw, "w");
    await file.write(patternBytes(64 * MIB, 3));
    await file.close();
    const content = await readFile(await qemuConvert(raw, at("noise.qcow2"), "-O", "qcow2"));
    const uploader = startExecutable("dvcr-uploader", directory, {
      LISTEN_ADDRESS: "127.0.0.1",
      LISTEN_PORT: "0",
      HEALTHZ_PORT: "0",
      UPLOADER_DESTINATION_ENDPOINT: `${registry.host}/slow:1`,
      DESTINATION_INSECURE_TLS: "true",
    });
    const { uploadPort } = await uploader.logged("waiting for an upload");
    const upload = curl("-T", "-", `http://127.0.0.1:${String(uploadPort)}/upload`);
    await upload.write(content.subarray(0, content.length / 2));
    // 32 MiB were sent: what is on its way and what is gathered for the next PATCH is the rest.
    const before = await eventually(async () => {
      const bytes = await arrived("slow");
      return bytes >= 8 * MIB ? bytes : undefined;
    });
    expect(before).toBeLessThanOrEqual(content.length / 2 + MIB);
    expect(await registry.tags("slow")).toEqual([]);
    await upload.write(content.subarray(content.length / 2));
    upload.end();
    expect((await upload.done).stdout).toMatch(/^stored /);
    expect(await uploader.exit).toBe(0);
    expect(await registry.tags("slow")).toEqual(["1"]);
  });
});
