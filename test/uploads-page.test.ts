import { mkdtemp, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { DvcrError } from "../src/errors/dvcr-error.ts";
import { startByteCounter } from "./support/byte-counter.ts";
import { makeRawDisk, qemuConvert, qemuRawDigest } from "./support/disks.ts";
import { curl, eventually, start, type Finished } from "./support/pod.ts";
import { startRegistry, type TestRegistry } from "./support/registry.ts";
import { pullUploaded, startRegistryUploader, type RegistryUploader } from "./support/registry-uploader.ts";
import { latch, startFakeUploaderWith, type FakeUploader } from "./support/uploader.ts";

let directory: string;
let script: string;
let disk: string;
let registry: TestRegistry;
let pod: RegistryUploader | undefined;
let fake: FakeUploader | undefined;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-page-"));
  script = join(directory, "upload.sh");
  const page = await readFile(new URL("../docs/uploads.md", import.meta.url), "utf8");
  await writeFile(script, /```sh\n(#!\/bin\/sh\n[\s\S]*?)```/.exec(page)?.[1] ?? "exit 99");
  disk = await qemuConvert(
    await makeRawDisk(join(directory, "disk.raw")),
    join(directory, "disk.qcow2"),
    "-O",
    "qcow2",
  );
  registry = await startRegistry({ auth: true, tls: true });
});

afterAll(async () => {
  await registry.stop();
  await rm(directory, { recursive: true, force: true });
});

afterEach(async () => {
  pod?.signal("SIGKILL");
  await fake?.dispose();
  pod = fake = undefined;
});

/** The page's script, as a user would run it. */
const upload = (file: string, url: string): Promise<Finished> =>
  start("env", ["no_proxy=*", "sh", script, file, url]).done;

describe("the script of the page on uploads", () => {
  it("goes on after a cut until the image is stored", async () => {
    pod = await startRegistryUploader(directory, registry, "cvi/script", { DVCR_UPLOAD_SILENCE: "1" });
    const { size } = await stat(disk);
    await using proxy = await startByteCounter(pod.uploadPort);
    let cuts = 0;
    proxy.after(size / 2, () => {
      cuts += 1;
      proxy.cut();
    });
    const { code, stdout } = await upload(disk, `http://127.0.0.1:${proxy.port}/upload`);
    expect([cuts, code, stdout]).toEqual([1, 0, expect.stringMatching(/^stored docker:\/\/.*: qcow2 as raw, /m)]);
    expect(await pod.exit).toBe(0);
    expect((await pullUploaded(directory, registry, "cvi/script")).digest).toBe(await qemuRawDigest(disk, directory));
  });

  it("fails with the reason where the image is refused", async () => {
    pod = await startRegistryUploader(directory, registry, "cvi/refused");
    const short = await qemuConvert(disk, join(directory, "short.qcow2"), "-O", "qcow2");
    await truncate(short, 2 ** 20);
    const { code, stdout } = await upload(short, pod.url);
    expect([code, stdout]).toEqual([1, expect.stringMatching(/^E_TRUNCATED: .*\. Fetch or export/m)]);
    expect(await registry.tags("cvi/refused")).toEqual([]);
  });

  it.each([
    ["stored", undefined, 0, /^stored sha256:1{64}$/m],
    [
      "refused",
      { bytes: 1, error: new DvcrError("E_BACKING_FILE", "it needs base.qcow2") },
      1,
      /^E_BACKING_FILE: it needs base\.qcow2\. Flatten it/m,
    ],
  ])("asks what became of an upload whose answer was lost: %s", async (_, failAt, code, said) => {
    const gate = latch();
    const started = await startFakeUploaderWith(Buffer.alloc(1000, 7), {
      before: () => gate.opened,
      ...(failAt === undefined ? {} : { failAt }),
    });
    fake = started.uploader;
    const lost = curl("-T", started.file, fake.url);
    await eventually(async () =>
      (await curl("-I", started.uploader.url).done).stdout.includes("dvcr-upload-state: importing"),
    );
    lost.kill();
    await lost.done;
    const running = upload(started.file, fake.url);
    gate.open();
    const finished = await running;
    expect([finished.code, finished.stdout + finished.stderr]).toEqual([code, expect.stringMatching(said)]);
  });

  it("sends its user to the resource where nothing is taken", async () => {
    const started = await startFakeUploaderWith(Buffer.alloc(1000, 7));
    fake = started.uploader;
    const { code, stderr } = await upload(started.file, `${fake.url}-of-yesterday`);
    expect([code, stderr]).toEqual([1, expect.stringContaining("look at the status of the resource")]);
  });
});
