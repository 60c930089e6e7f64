/** The same pushes against every real registry that can be had here; skopeo reads what was stored. */
import { createReadStream } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";

import type { ImportReport } from "../src/pipeline/import-image.ts";
import { dvcr } from "./support/cli.ts";
import { patternBytes, qemuConvert } from "./support/disks.ts";
import { distribution3, goContainerRegistry, goRegistryBinary, startInMemoryRegistry } from "./support/go-registry.ts";
import { startRegistry } from "./support/registry.ts";
import { RunningDvcr, until } from "./support/running-dvcr.ts";
import { temporaryDirectory, tool } from "./support/tools.ts";

type Start = () => Promise<{ readonly host: string } & AsyncDisposable>;

const [newest, inMemory] = [await goRegistryBinary(distribution3), await goRegistryBinary(goContainerRegistry)];
const registries: readonly (readonly [string, Start | undefined])[] = [
  ["docker-registry", () => startRegistry()],
  [distribution3.name, newest === undefined ? undefined : () => startRegistry({ binary: newest })],
  [goContainerRegistry.name, inMemory === undefined ? undefined : () => startInMemoryRegistry(inMemory)],
];
const insecure = ["--dest-tls-verify=false", "--quiet", "--json"];

describe.each(registries)("%s", (_, start) => {
  test.skipIf(start === undefined)("takes a file, a pipe and a copy; skopeo reads them back", async () => {
    await using work = await temporaryDirectory();
    await using registry = await start!();
    const raw = join(work.path, "disk.raw");
    await writeFile(raw, patternBytes(24 << 20, 3));
    const disk = await qemuConvert(raw, join(work.path, "disk.qcow2"), "-O", "qcow2");
    const file = await dvcr(["import", ...insecure, disk, `docker://${registry.host}/a/file:1`]);
    expect(file.code, file.stderr).toBe(0);
    const pipe = await dvcr(["import", ...insecure, "-", `docker://${registry.host}/a/pipe:1`], { input: disk });
    expect(pipe.code, pipe.stderr).toBe(0);
    const digests = [file, pipe].map(({ stdout }) => (JSON.parse(stdout) as ImportReport).layerDigest);
    expect(new Set(digests).size).toBe(1);
    const copied = await dvcr([
      "copy",
      "--src-tls-verify=false",
      ...insecure,
      `docker://${registry.host}/a/file:1`,
      `docker://${registry.host}/b/copy:1`,
    ]);
    expect(copied.code, copied.stderr).toBe(0);
    for (const name of ["a/file", "a/pipe", "b/copy"]) {
      const to = `dir:${join(work.path, name.replace("/", "-"))}`;
      await tool("skopeo", "copy", "--src-tls-verify=false", `docker://${registry.host}/${name}:1`, to);
    }
  });

  test.skipIf(start === undefined)("is found fit by dvcr doctor, which leaves no tag", async () => {
    await using registry = await start!();
    const found = await dvcr(["doctor", "--json", "--dest-tls-verify=false", `docker://${registry.host}/probe/here`]);
    expect(found.code, found.stderr).toBe(0);
    const report = JSON.parse(found.stdout) as { works: boolean; findings: { check: string; result: string }[] };
    expect(report.works).toBe(true);
    expect(report.findings.filter(({ result }) => result === "failed")).toEqual([]);
    expect(report.findings.map(({ check }) => check)).toEqual(
      expect.arrayContaining([
        "reachable",
        "clock",
        "credentials",
        "push",
        "session",
        "parts",
        "limits",
        "mount",
        "removal",
      ]),
    );
  });
});

test.skipIf(newest === undefined)(
  "distribution 3 killed in an open PATCH of a pipe: no scratch, nothing sent twice",
  async () => {
    await using work = await temporaryDirectory();
    await using registry = await startRegistry({ binary: newest! });
    const raw = join(work.path, "disk.raw");
    await writeFile(raw, patternBytes(64 << 20, 5));
    const disk = await qemuConvert(raw, join(work.path, "disk.qcow2"), "-O", "qcow2");
    const running = new RunningDvcr("import", ...insecure, "-", `docker://${registry.host}/r:1`);
    createReadStream(disk).pipe(running.input);
    await until(running, async () => (await registry.uploadedBytes("r")) > 16 << 20);
    await registry.restart();
    expect(await running.exit(), running.stderr).toBe(0);
    expect(JSON.parse(running.stdout)).toMatchObject({ scratchPeak: 0, restarts: 0 });
  },
);

test("dvcr doctor of a registry that is not there fails with what to do, in seconds", async () => {
  const found = await dvcr(["doctor", "--dest-tls-verify=false", "docker://127.0.0.1:1/probe/here"]);
  expect(found.code).toBe(1);
  expect(found.stdout).toContain("reachable");
  expect(found.stdout).toContain("Check its name and that it runs");
});
