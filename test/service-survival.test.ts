import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, it } from "vitest";

import type { ImageObject } from "../src/service/model/image.ts";
import { dvcr } from "./support/cli.ts";
import { fileDigest, patternBytes } from "./support/disks.ts";
import { Origin } from "./support/origin.ts";
import { pullDisk } from "./support/pulled.ts";
import { ServeProcess } from "./support/service-serve.ts";
import { tool } from "./support/tools.ts";

const kills = 20;
const imports = 10;
const uploads = 5;
const images = "/apis/virtualization.deckhouse.io/v1alpha2/clustervirtualimages";
const mebibyte = 1 << 20;

/** As mulberry32: the same moments in every run. */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

async function filesBelow(directory: string): Promise<string[]> {
  return (await readdir(directory, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** A person at the command line, who tries again until the image is there. */
async function uploadUntilReady(
  service: ServeProcess,
  file: string,
  name: string,
  isOver: () => boolean,
): Promise<void> {
  while (!isOver()) {
    const { code, stderr } = await dvcr(["upload", "--quiet", "--server", service.url, file, name]);
    if (code === 0 || stderr.includes("Ready already")) return;
    await delay(200);
  }
}

it(
  "killed at twenty random moments of ten imports and five uploads, the service brings all " +
    "of them to their own end and leaves nothing behind",
  async () => {
    const directory = await mkdtemp(join(tmpdir(), "dvcr-survival-"));
    const disk = join(directory, "disk.raw");
    await writeFile(disk, patternBytes(24 * mebibyte, 7));
    await tool("qemu-img", "convert", "-q", "-O", "qcow2", disk, join(directory, "disk.qcow2"));
    const content = await readFile(join(directory, "disk.qcow2"));
    const headers = { etag: '"one"', "accept-ranges": "bytes" };
    await using origin = await Origin.start(content, () => ({ headers, trickle: true }));
    await using service = await ServeProcess.start();
    let isOver = false;
    try {
      const make = (name: string, dataSource: object) =>
        service.json(images, "POST", {
          apiVersion: "virtualization.deckhouse.io/v1alpha2",
          kind: "ClusterVirtualImage",
          metadata: { name },
          spec: { dataSource },
        });
      const names = Array.from({ length: imports }, (_, index) => `import-${String(index)}`);
      for (const name of names) await make(name, { type: "HTTP", http: { url: origin.url } });
      await make("wrong-sum", { type: "HTTP", http: { url: origin.url, checksum: { md5: "0".repeat(32) } } });
      const uploaded = Array.from({ length: uploads }, (_, index) => `upload-${String(index)}`);
      const people = uploaded.map((name) =>
        uploadUntilReady(service, join(directory, "disk.qcow2"), name, () => isOver),
      );

      const random = randomFrom(42);
      for (let kill = 0; kill < kills; kill += 1) {
        await delay(100 + random() * 1500);
        await service.stop("SIGKILL");
        await service.startAgain();
      }

      const listed = async (): Promise<ImageObject[]> => (await service.json<{ items: ImageObject[] }>(images)).items;
      const isFinal = ({ status }: ImageObject): boolean => status?.phase === "Ready" || status?.phase === "Failed";
      let found = await listed();
      for (
        let tries = 0;
        tries < 600 && !(found.length === imports + uploads + 1 && found.every(isFinal));
        tries += 1
      ) {
        await delay(500);
        found = await listed();
      }
      await Promise.all(people);

      const phases = Object.fromEntries(found.map(({ metadata, status }) => [metadata.name, status?.phase]));
      expect(phases).toEqual({
        ...Object.fromEntries([...names, ...uploaded].map((name) => [name, "Ready"])),
        "wrong-sum": "Failed",
      });
      expect(found.find(({ metadata }) => metadata.name === "wrong-sum")?.status?.conditions).toContainEqual(
        expect.objectContaining({ type: "Ready", message: expect.stringContaining("md5 sum mismatch") as string }),
      );

      const ready = found.filter(({ status }) => status?.phase === "Ready");
      expect(new Set(ready.map(({ status }) => status?.digest)).size).toBe(1);
      const [first, last] = [ready[0]!, ready.at(-1)!];
      for (const image of [first, last]) {
        expect((await pullDisk(`docker://${image.status?.target?.registryURL ?? ""}`, directory)).digest).toBe(
          await fileDigest(disk),
        );
      }

      // One layer, one config, one manifest: all images are the same. No part of a file, no scratch.
      await service.stop();
      const left = (await filesBelow(service.dataDirectory)).map((path) =>
        path.slice(service.dataDirectory.length + 1),
      );
      expect(left.filter((path) => path.startsWith("images/blobs/")).length).toBe(3);
      expect(left.filter((path) => path.startsWith("scratch/") || /\.(?:tmp|part|partial)\b/.test(path))).toEqual([]);
    } finally {
      isOver = true;
      await rm(directory, { recursive: true, force: true });
    }
  },
  600_000,
);
