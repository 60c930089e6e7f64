/** `dvcr upload` after what goes wrong: a cut, another file, an image that waits or has failed. */
import { copyFile, open, readFile, stat, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";

import type { ImageObject } from "../src/service/model/image.ts";
import { startByteCounter } from "./support/byte-counter.ts";
import { dvcr, type Finished } from "./support/cli.ts";
import { fileDigest, makeRawDisk, patternBytes } from "./support/disks.ts";
import { FaultProxy } from "./support/fault-proxy.ts";
import { eventually } from "./support/pod.ts";
import { pullDisk } from "./support/pulled.ts";
import { startRegistry } from "./support/registry.ts";
import { RunningDvcr, until } from "./support/running-dvcr.ts";
import { ServeProcess } from "./support/service-serve.ts";
import { temporaryDirectory, tool } from "./support/tools.ts";

const collection = "/apis/virtualization.deckhouse.io/v1alpha2/clustervirtualimages";
const mebibyte = 2 ** 20;

let work: Awaited<ReturnType<typeof temporaryDirectory>>;
let disk: string;
beforeAll(async () => {
  work = await temporaryDirectory();
  disk = await makeRawDisk(join(work.path, "disk.raw"), 16);
});
afterAll(() => work[Symbol.asyncDispose]());

let service: ServeProcess;
afterEach(() => service[Symbol.asyncDispose]());

const upload = (file: string, name: string, server = service.url): Promise<Finished> =>
  dvcr(["upload", "--quiet", "--server", server, file, name]);

async function configured(text: string): Promise<string> {
  const path = join(work.path, "serve.yaml");
  await writeFile(path, text);
  return path;
}

const imageOf = (name: string): Promise<ImageObject> => service.json<ImageObject>(`${collection}/${name}`);

async function storedDigest(name: string): Promise<string> {
  const { status } = await imageOf(name);
  return (await pullDisk(`docker://${status?.target?.registryURL ?? ""}`, work.path)).digest;
}

/** What HEAD says of the upload to an image. */
async function standing(
  name: string,
): Promise<{ readonly state: string | null; readonly offset: number; readonly url: string }> {
  const url = (await imageOf(name)).status?.imageUploadURLs?.inCluster ?? "";
  const { headers } = await fetch(url, { method: "HEAD" });
  return { state: headers.get("dvcr-upload-state"), offset: Number(headers.get("upload-offset")), url };
}

/** An upload that its user ends at about half of the file; the bytes that the server has by then. */
async function endHalfway(file: string, name: string): Promise<number> {
  await using proxy = await startByteCounter(Number(new URL(service.url).port));
  const run = new RunningDvcr("upload", "--quiet", "--server", `http://127.0.0.1:${proxy.port}`, file, name);
  proxy.after((await stat(file)).size / 2, () => {
    run.signal("SIGINT");
    proxy.cut();
  });
  expect(await run.exit()).toBe(130);
  const { offset } = await eventually(async () => {
    const found = await standing(name);
    return found.state === "interrupted" && found.offset > 0 ? found : undefined;
  });
  return offset;
}

/** A copy of the disk that differs from it between its first and its last MiB alone. */
async function otherInTheMiddle(name: string): Promise<string> {
  const other = join(work.path, name);
  await copyFile(disk, other);
  await overwrite(other, 99);
  return other;
}

async function overwrite(path: string, seed: number): Promise<void> {
  const file = await open(path, "r+");
  await file.write(patternBytes(2 * mebibyte, seed), 0, undefined, 3 * mebibyte);
  await file.write(patternBytes(2 * mebibyte, seed + 1), 0, undefined, 13 * mebibyte);
  await file.close();
}

describe("dvcr upload after its first run was ended halfway", () => {
  beforeEach(async () => {
    service = await ServeProcess.start();
  });

  it("goes on with the same file, and sends only the rest", async () => {
    const offset = await endHalfway(disk, "image");
    await using proxy = await startByteCounter(Number(new URL(service.url).port));
    const { code, stderr } = await upload(disk, "image", `http://127.0.0.1:${proxy.port}`);
    expect([code, stderr]).toEqual([0, ""]);
    const left = 16 * mebibyte - offset;
    expect(proxy.received()).toBeGreaterThan(left);
    // The heads of some requests.
    expect(proxy.received()).toBeLessThan(left + mebibyte / 2);
    expect(await storedDigest("image")).toBe(await fileDigest(disk));
  });

  it("starts over with another file of the same size", async () => {
    const other = await otherInTheMiddle("other.raw");
    await endHalfway(disk, "image");
    const { code, stderr } = await upload(other, "image");
    expect(code).toBe(0);
    expect(stderr).toContain("the upload starts over");
    expect(await storedDigest("image")).toBe(await fileDigest(other));
  });

  it("starts over with a smaller file", async () => {
    const smaller = join(work.path, "smaller.raw");
    await writeFile(smaller, (await readFile(disk)).subarray(0, 2 * mebibyte));
    expect(await endHalfway(disk, "image")).toBeGreaterThan(2 * mebibyte);
    const { code, stderr } = await upload(smaller, "image");
    expect([code, stderr]).toEqual([0, expect.stringContaining("the upload starts over")]);
    expect(await storedDigest("image")).toBe(await fileDigest(smaller));
  });

  it(
    "starts over with a file that was changed meanwhile, even where its size and time are what " + "they were",
    async () => {
      const changing = await otherInTheMiddle("changing.raw");
      const { atime, mtime } = await stat(changing);
      await utimes(changing, atime, mtime);
      await endHalfway(changing, "image");
      await overwrite(changing, 7);
      await utimes(changing, atime, mtime);
      expect((await upload(changing, "image")).code).toBe(0);
      expect(await storedDigest("image")).toBe(await fileDigest(changing));
    },
  );

  it("starts over where something else has gone on with the upload", async () => {
    const offset = await endHalfway(disk, "image");
    const piece = patternBytes(mebibyte, 5);
    const range = `bytes ${offset}-${offset + piece.length - 1}/${16 * mebibyte}`;
    expect(
      (await fetch((await standing("image")).url, { method: "PUT", headers: { "content-range": range }, body: piece }))
        .status,
    ).toBe(202);
    expect((await upload(disk, "image")).code).toBe(0);
    expect(await storedDigest("image")).toBe(await fileDigest(disk));
  });
});

describe("dvcr upload whose connection is cut", () => {
  it("goes on by itself, and sends only the rest", async () => {
    service = await ServeProcess.start();
    await using proxy = await startByteCounter(Number(new URL(service.url).port));
    let before = 0;
    proxy.after(8 * mebibyte, () => {
      before = proxy.received();
      proxy.cut();
    });
    const { code, stderr } = await upload(disk, "image", `http://127.0.0.1:${proxy.port}`);
    expect([code, stderr]).toEqual([0, expect.stringContaining("the upload was held up, trying again")]);
    expect(before).toBeGreaterThan(0);
    // What was on its way is lost; the whole again would be 8 MiB more.
    expect(proxy.received()).toBeLessThan(21 * mebibyte);
    expect(await storedDigest("image")).toBe(await fileDigest(disk));
  });
});

describe("a service that is stopped in the moment when an upload is cut", () => {
  it("ends, and does not wait for the upload to be continued", async () => {
    service = await ServeProcess.start();
    await using proxy = await startByteCounter(Number(new URL(service.url).port));
    const run = new RunningDvcr("upload", "--quiet", "--server", `http://127.0.0.1:${proxy.port}`, disk, "image");
    proxy.after(8 * mebibyte, () => {
      run.signal("SIGKILL");
      proxy.cut();
    });
    await run.exit();
    await service.stop();
    expect(service.log).toContain('"msg":"stopping"');
  });
});

describe("dvcr upload after its last byte was sent", () => {
  it("waits for the image with the same file, and says of another that its place is taken", async () => {
    // As long as the registry drops what it is sent, an upload that was taken in whole is not stored.
    let away = true;
    await using registry = await startRegistry();
    await using proxy = await FaultProxy.start(registry.host, ({ method }) =>
      away && method === "PATCH" ? "drop" : "pass",
    );
    service = await ServeProcess.start(
      "--config",
      await configured(`registry: ${proxy.host}\nregistryInsecureTls: true\n`),
    );
    const [small, other] = ["small.raw", "small-other.raw"].map((name) => join(work.path, name));
    await writeFile(small!, patternBytes(mebibyte, 1));
    await writeFile(other!, patternBytes(mebibyte, 2));
    const run = new RunningDvcr("upload", "--quiet", "--server", service.url, small!, "second");
    await until(
      run,
      async () =>
        (await imageOf("second").catch(() => undefined))?.status?.imageUploadURLs !== undefined &&
        (await standing("second")).state === "importing",
    );
    run.signal("SIGINT");
    await run.exit();

    const { code, stderr } = await upload(other!, "second");
    expect([code, stderr]).toEqual([
      3,
      expect.stringMatching(/^E_OBJECT_EXISTS: .*another upload.*delete the other first/m),
    ]);
    let asked = false;
    await using front = await FaultProxy.start(new URL(service.url).host, ({ method, path }) => {
      asked ||= method === "HEAD" && path.startsWith("/upload/");
      return "pass";
    });
    const again = upload(small!, "second", `http://${front.host}`);
    await eventually(() => asked);
    away = false;
    expect((await again).code).toBe(0);
    expect(await storedDigest("second")).toBe(await fileDigest(small!));
  });
});

describe("dvcr upload to an image that waits", () => {
  it("tells what for, once, with --quiet too", async () => {
    service = await ServeProcess.start("--config", await configured("namespaceImages: 1\n"));
    await tool("bin/dvcr", "upload", "--quiet", "--server", service.url, "--kind", "vi", "-n", "team-a", disk, "one");
    const run = new RunningDvcr(
      "upload",
      "--quiet",
      "--server",
      service.url,
      "--kind",
      "vi",
      "-n",
      "team-a",
      disk,
      "two",
    );
    await until(run, () => run.stderr.includes("\n"));
    // Two more looks at the image.
    await new Promise((resolve) => setTimeout(resolve, 1200));
    run.signal("SIGTERM");
    expect(await run.exit()).toBe(143);
    const lines = run.stderr
      .split("\n")
      .filter((line) => line.startsWith("{"))
      .map((line) => JSON.parse(line) as { level: string; msg: string });
    expect(lines).toEqual([
      expect.objectContaining({
        level: "warn",
        msg: expect.stringMatching(/^two is Pending \(QuotaExceeded\): E_QUOTA: /) as string,
      }),
    ]);
  });
});

describe("dvcr upload to an image that has failed", () => {
  it("says how to get rid of it, and then does what it was asked for", async () => {
    service = await ServeProcess.start();
    const cut = join(work.path, "cut.qcow2");
    await tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, cut);
    await writeFile(cut, (await readFile(cut)).subarray(0, 2_000_000));
    expect((await upload(cut, "image")).stderr).toMatch(/^E_TRUNCATED: /m);
    const { code, stderr } = await upload(disk, "image");
    expect(code).toBe(3);
    expect(stderr).toMatch(
      /^E_IMAGE_FAILED: image has failed: E_TRUNCATED: .*\. Delete it before .* again: `dvcr delete cvi image`\.$/m,
    );
    await tool("bin/dvcr", "delete", "--server", service.url, "cvi", "image");
    expect((await upload(disk, "image")).code).toBe(0);
  });

  it("tries again where what it is asked for is not what has failed", async () => {
    service = await ServeProcess.start();
    const withChecksum = (sum: string): Promise<Finished> =>
      dvcr(["upload", "--quiet", "--server", service.url, "--checksum", `sha256:${sum}`, disk, "image"]);
    expect((await withChecksum("0".repeat(64))).stderr).toMatch(/^E_CHECKSUM_MISMATCH: /m);
    expect((await withChecksum(await fileDigest(disk))).code).toBe(0);
  });
});
