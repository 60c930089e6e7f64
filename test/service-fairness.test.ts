/** One namespace's clients and sources that hold things up do not hold up another's. */
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { ImageObject } from "../src/service/model/image.ts";
import { makeRawDisk } from "./support/disks.ts";
import { curl, eventually } from "./support/pod.ts";
import { ServeProcess } from "./support/service-serve.ts";
import { temporaryDirectory } from "./support/tools.ts";

const group = "/apis/virtualization.deckhouse.io/v1alpha2";

let service: ServeProcess;
let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let disk: string;
let bytes: Buffer;
let dripping: Server;

beforeAll(async () => {
  directory = await temporaryDirectory();
  disk = await makeRawDisk(join(directory.path, "disk.raw"), 16);
  bytes = await readFile(disk);
  // Never ends: its headers, the first bytes of a disk, and then nothing for as long as the test lasts.
  dripping = createServer((_request, response) => {
    response.writeHead(200, { "content-length": String(1 << 30), etag: '"one"' });
    response.write(bytes.subarray(0, 1 << 16));
  }).listen(0, "127.0.0.1");
  await once(dripping, "listening");
  service = await ServeProcess.start();
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  dripping.closeAllConnections();
  dripping.close();
  await directory[Symbol.asyncDispose]();
});

const imageIn = (namespace: string, name: string): Promise<ImageObject> =>
  service.json<ImageObject>(`${group}/namespaces/${namespace}/virtualimages/${name}`);

async function until(
  namespace: string,
  name: string,
  wanted: (image: ImageObject) => boolean | undefined,
): Promise<ImageObject> {
  return await eventually(async () => {
    const image = await imageIn(namespace, name);
    return wanted(image) === true ? image : undefined;
  });
}

const inPhase =
  (phase: string) =>
  ({ status }: ImageObject): boolean =>
    status?.phase === phase;
const messageOf = ({ status }: ImageObject): string =>
  status?.conditions?.find(({ type }) => type === "Ready")?.message ?? "";

async function create(namespace: string, name: string, dataSource: object): Promise<void> {
  await service.json(`${group}/namespaces/${namespace}/virtualimages`, "POST", {
    apiVersion: "virtualization.deckhouse.io/v1alpha2",
    kind: "VirtualImage",
    metadata: { name, namespace },
    spec: { storage: "ContainerRegistry", dataSource },
  });
}

async function uploadUrl(namespace: string, name: string): Promise<string> {
  await create(namespace, name, { type: "Upload" });
  const { status } = await until(namespace, name, inPhase("WaitForUserUpload"));
  return status?.imageUploadURLs?.external ?? "";
}

/** Sends the head of an upload and its first `count` bytes, and leaves the rest to the caller. */
async function begin(url: string, count: number): Promise<Socket> {
  const { hostname, port, pathname } = new URL(url);
  const socket = connect(Number(port), hostname);
  socket.on("error", () => undefined);
  await once(socket, "connect");
  socket.write(`PUT ${pathname} HTTP/1.1\r\nHost: ${hostname}\r\nContent-Length: ${String(bytes.length)}\r\n\r\n`);
  socket.write(bytes.subarray(0, count));
  return socket;
}

const offsetAt = async (url: string): Promise<number> => {
  const { stdout } = await curl("-I", url).done;
  return Number(/^upload-offset: (\d+)\r$/m.exec(stdout)?.[1]);
};

describe("uploads whose clients are gone", () => {
  it("leave their places to others, say so, and go on where they were cut", async () => {
    const half = 8 << 20;
    const urls = await Promise.all(Array.from({ length: 4 }, (_, index) => uploadUrl("gone", `gone-${index}`)));
    for (const url of urls) {
      const socket = await begin(url, half);
      await eventually(async () => (await offsetAt(url)) === half);
      socket.destroy();
    }
    for (let index = 0; index < 4; index += 1) {
      const cut = await until("gone", `gone-${index}`, (image) => messageOf(image).includes("waits for its client"));
      expect(messageOf(cut)).toContain("the upload was cut after 8Mi of 16Mi");
    }

    const { stdout } = await curl("-T", disk, await uploadUrl("honest", "mine")).done;
    expect(stdout).toMatch(/^stored /);
    await until("honest", "mine", inPhase("Ready"));

    const [url = ""] = urls;
    expect(await offsetAt(url)).toBe(half);
    const rest = await fetch(url, {
      method: "PUT",
      headers: { "content-range": `bytes ${half}-${bytes.length - 1}/${bytes.length}` },
      body: bytes.subarray(half),
    });
    expect(await rest.text()).toMatch(/^stored /);
    await until("gone", "gone-0", inPhase("Ready"));
  });
});

describe("the metrics", () => {
  it("tell what each namespace has stored, holds and has used", async () => {
    const text = await (await fetch(`${service.url}/metrics`)).text();
    const valueOf = (name: string, labels: string): number =>
      Number(
        text
          .split("\n")
          .find((line) => line.startsWith(`${name}{${labels}} `))
          ?.split(" ")[1] ?? NaN,
      );
    const mine = (await imageIn("honest", "mine")).status?.size?.storedBytes;
    expect(valueOf("dvcr_namespace_stored_bytes", 'namespace="honest"')).toBe(Number(mine));
    expect(valueOf("dvcr_namespace_cpu_seconds", 'namespace="honest",work="upload"')).toBeGreaterThan(0);
    expect(valueOf("dvcr_namespace_idle", 'namespace="gone",work="upload"')).toBe(3);
    expect(valueOf("dvcr_namespace_places", 'namespace="gone",work="upload"')).toBe(0);
  });
});

describe("sources that bring nothing", () => {
  it("leave their places to others, and are named", async () => {
    const url = `http://127.0.0.1:${String((dripping.address() as AddressInfo).port)}/disk.img`;
    for (const name of ["drip-0", "drip-1"]) await create("slow", name, { type: "HTTP", http: { url } });
    for (const name of ["drip-0", "drip-1"]) await until("slow", name, inPhase("Provisioning"));

    const served = createServer((_request, response) => response.end(bytes)).listen(0, "127.0.0.1");
    await once(served, "listening");
    const honest = `http://127.0.0.1:${String((served.address() as AddressInfo).port)}/disk.img`;
    await create("honest", "fetched", { type: "HTTP", http: { url: honest } });
    await until("honest", "fetched", inPhase("Ready"));
    served.close();

    const named = await until("slow", "drip-0", (image) => messageOf(image).includes("nothing has come from"));
    expect(messageOf(named)).toContain(`nothing has come from ${new URL(url).host}`);
  });
});
