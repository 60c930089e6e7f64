import { writeFile, mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { request } from "undici";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { startByteCounter } from "./support/byte-counter.ts";
import { fileDigest, patternBytes, qemuConvert } from "./support/disks.ts";
import { curl, eventually } from "./support/pod.ts";
import { startRegistry, type TestRegistry } from "./support/registry.ts";
import { pullUploaded, startRegistryUploader, type RegistryUploader } from "./support/registry-uploader.ts";

const mebibyte = 2 ** 20;
/** 1 GiB where asked for: the machine must have the space. */
const megabytes = process.env["DVCR_TEST_LARGE"] === "1" ? 1024 : 96;
const rounds = 10;
/** What may be under way in the sockets of curl, proxy and server when a connection is cut. */
const inFlight = 12 * mebibyte;

let directory: string;
let disk: string;
let diskDigest: string;
let registry: TestRegistry;
let uploader: RegistryUploader | undefined;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-resume-"));
  const raw = join(directory, "disk.raw");
  await writeFile(raw, "");
  for (let piece = 0; piece < megabytes / 32; piece += 1)
    await writeFile(raw, patternBytes(32 * mebibyte, piece + 1), { flag: "a" });
  disk = await qemuConvert(raw, join(directory, "disk.qcow2"), "-O", "qcow2");
  diskDigest = await fileDigest(raw);
  await rm(raw);
  registry = await startRegistry({ auth: true, tls: true });
});

afterAll(async () => {
  await registry.stop();
  await rm(directory, { recursive: true, force: true });
});

afterEach(() => uploader?.signal("SIGKILL"));

describe("dvcr-uploader", () => {
  it(
    "stores the same disk when curl is killed ten times and continues with -C, and no byte is " + "asked for twice",
    async () => {
      uploader = await startRegistryUploader(directory, registry, "cvi/resumed", {
        DVCR_SCRATCH_LIMIT: "64Mi",
        DVCR_UPLOAD_SILENCE: "1",
      });
      await using proxy = await startByteCounter(uploader.uploadPort);
      const url = `http://127.0.0.1:${proxy.port}/upload`;
      const { size } = await stat(disk);

      /** The offset to go on from, once the server has noticed the cut. */
      const offset = (): Promise<number> =>
        eventually(async () => {
          const { headers } = await request(url, { method: "HEAD" });
          return headers["dvcr-upload-state"] === "interrupted" ? Number(headers["upload-offset"]) : undefined;
        });

      const points = patternBytes(4 * rounds, 77);
      let at = 0;
      for (let round = 0; round < rounds; round += 1) {
        const upload = curl(...(at === 0 ? [] : ["-C", String(at)]), "-H", "Expect:", "-T", disk, url);
        // Up to 1/16 of the file, so that ten rounds never reach its end.
        proxy.after(1 + (points.readUInt32LE(4 * round) % (size / 16 - 4 * mebibyte)), () => upload.kill());
        await upload.done;
        const next = await offset();
        expect(next).toBeGreaterThanOrEqual(at);
        at = next;
      }
      expect(at).toBeGreaterThan(0);
      const last = await curl("-C", String(at), "-T", disk, url).done;
      expect(last.stdout).toMatch(/^stored docker:\/\/.*: qcow2 as raw, /);
      expect(await uploader.exit).toBe(0);
      expect(proxy.received()).toBeLessThan(size + rounds * inFlight);
      const pulled = await pullUploaded(directory, registry, "cvi/resumed");
      expect(pulled.digest).toBe(diskDigest);
      expect(await registry.sessions("cvi/resumed")).toEqual([]);
    },
  );
});
