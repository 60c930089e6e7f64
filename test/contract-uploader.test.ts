import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import {
  destinationSecret,
  scrape,
  terminationMessage,
  uploaderEnvironment,
  type Scrape,
} from "./support/controller.ts";
import { freePort } from "./support/ports.ts";
import { makeRawDisk, qemuConvert, qemuRawDigest } from "./support/disks.ts";
import { curl, eventually } from "./support/pod.ts";
import { pullDisk } from "./support/pulled.ts";
import { startRegistry, testUser, type TestRegistry } from "./support/registry.ts";
import { startSealed, type SealedPod } from "./support/sealed.ts";

let directory: string;
let disk: string;
let registry: TestRegistry;
let pod: SealedPod;
let ports: { readonly metrics: number; readonly upload: number; readonly healthz: number };

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-contract-upload-"));
  disk = await qemuConvert(
    await makeRawDisk(join(directory, "disk.raw"), 48),
    join(directory, "disk.qcow2"),
    "-O",
    "qcow2",
  );
  registry = await startRegistry({ auth: true, tls: true });
});

afterEach(() => pod.dispose());

afterAll(async () => {
  await registry.stop();
  await rm(directory, { recursive: true, force: true });
});

async function start(name: string): Promise<string> {
  ports = { metrics: await freePort(), upload: await freePort(), healthz: await freePort() };
  pod = startSealed("dvcr-uploader", {
    files: destinationSecret(registry),
    environment: {
      ...uploaderEnvironment(`${registry.host}/cvi/${name}:0a1b`),
      DVCR_METRICS_PORT: String(ports.metrics),
      LISTEN_PORT: String(ports.upload),
      HEALTHZ_PORT: String(ports.healthz),
    },
  });
  await pod.logged("waiting for an upload");
  return `http://127.0.0.1:${ports.upload}/upload`;
}

const status = async (...args: string[]): Promise<string> =>
  (await curl("-o", "/dev/null", "-w", "%{http_code}", ...args).done).stdout;

describe("an uploader pod", () => {
  it(
    "is ready at all times, counts from the first bytes, refuses a second client at once, and " +
      "stores what curl sends",
    async () => {
      const url = await start("contract");
      expect(await status(`http://127.0.0.1:${ports.healthz}/healthz`)).toBe("200");
      expect([
        await status(url),
        await status("-I", url),
        await status("-X", "DELETE", url),
        await status(`${url}s`),
      ]).toEqual(["200", "200", "405", "404"]);
      expect((await scrape(ports.metrics))?.progress).toBe(0);

      const content = await readFile(disk);
      const first = curl("-T", "-", url);
      await first.write(content.subarray(0, content.length / 2));
      // What the controller takes for "upload has begun".
      const begun: Scrape = await eventually(async () => {
        const seen = await scrape(ports.metrics);
        return seen !== undefined && seen.progress > 0 ? seen : undefined;
      });
      expect(await status(url)).toBe("200");
      // The first client sends nothing meanwhile: the second is answered all the same.
      expect(await status("-T", disk, url)).toBe("503");
      await first.write(content.subarray(content.length / 2));
      first.end();
      expect((await first.done).stdout).toMatch(/^stored /);
      expect(begun.progress).toBeLessThanOrEqual(100);
      expect(await pod.exit).toBe(0);
      const pulled = await pullDisk(
        `docker://${registry.host}/cvi/contract:0a1b`,
        directory,
        "--src-creds",
        `${testUser.name}:${testUser.password}`,
      );
      expect(pulled.digest).toBe(await qemuRawDigest(disk, directory));
      expect(terminationMessage(pod.terminationLog)).toMatchObject({
        "source-image-format": "raw",
        "source-image-size": pulled.layerSize,
      });
    },
  );

  it("told to stop while it waits exits with a failure and a message", async () => {
    await start("waiting");
    pod.signal("SIGTERM");
    expect(await pod.exit).toBe(143);
    expect(terminationMessage(pod.terminationLog)["error-message"]).toMatch(/^E_CANCELLED/);
  });
});
