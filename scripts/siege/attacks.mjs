/**
 * What a tenant can do to everybody with the rights that it has. Each attack goes on until its signal is aborted,
 * and leaves nothing open then. Most of them stopped or filled the service once; tests of the single faults are
 * in test/service-*.test.ts.
 */
import { createServer } from "node:http";
import { image, pause, quietly } from "./client.mjs";

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;

/** Repeats `once` until the signal, with a breath in between. */
async function again(signal, once, breath = 20) {
  while (!signal.aborted) {
    await quietly(once());
    await pause(breath, signal);
  }
}

/** A server for sources, on a port of its own, closed with the signal. */
async function source(signal, answer) {
  const server = createServer(answer);
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  signal.addEventListener("abort", () => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${server.address().port}/disk.img`;
}

const http = (url) => ({ type: "HTTP", http: { url } });

export const attacks = {
  /** `length` of a list is a property of JavaScript's and none of JSON's. */
  async "json patch on a list's length"(tenant, signal) {
    await tenant.create("patched", { type: "Upload" }, { finalizers: ["example.com/hold"] });
    const body = [{ op: "replace", path: "/metadata/finalizers/length", value: 200_000_000 }];
    const path = `${tenant.images}/patched`;
    await again(signal, () =>
      tenant.ask(`${path}?dryRun=All`, { method: "PATCH", type: "application/json-patch+json", body }),
    );
    await quietly(
      tenant.ask(path, {
        method: "PATCH",
        type: "application/merge-patch+json",
        body: { metadata: { finalizers: null } },
      }),
    );
  },

  async "20,000 labels in protobuf"(tenant, signal) {
    const body = protobufSecret(20_000);
    const type = "application/vnd.kubernetes.protobuf";
    await again(signal, () => tenant.ask(`${tenant.secrets}?dryRun=All`, { method: "POST", type, body }));
  },

  async "2 MB of YAML"(tenant, signal) {
    const body = "a: b\n".repeat(400_000);
    await again(signal, () => tenant.ask(tenant.images, { method: "POST", type: "application/yaml", body }));
  },

  async "YAML up to its limit"(tenant, signal) {
    const lines = Array.from({ length: 12_000 }, (_, index) => `  k${index}: {a: [b]}`);
    const body = `apiVersion: v1\nspec:\n${lines.join("\n")}\n`.slice(0, 255 * kibibyte);
    await again(signal, () => tenant.ask(tenant.images, { method: "POST", type: "application/yaml", body }), 100);
  },

  async "3 MB of JSON"(tenant, signal) {
    const body = `[${"[],".repeat(mebibyte)}[]]`;
    await again(signal, () => tenant.ask(tenant.images, { method: "POST", body }));
  },

  async "patches that copy what they copied"(tenant, signal) {
    await tenant.create("copied", { type: "Upload" });
    const copies = Array.from({ length: 40 }, (_, index) => ({
      op: "copy",
      from: "/metadata",
      path: `/metadata/x${index}`,
    }));
    const path = `${tenant.images}/copied?dryRun=All`;
    await again(signal, () => tenant.ask(path, { method: "PATCH", type: "application/json-patch+json", body: copies }));
  },

  async "selectors and tables of everything"(tenant, signal) {
    const values = Array.from({ length: 900 }, (_, index) => `v${index}`).join(",");
    const selector = encodeURIComponent(`a notin (${values}),b notin (${values})`);
    const accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    await again(signal, () => tenant.ask(`${tenant.images}?labelSelector=${selector}`, { headers: { accept } }), 50);
  },

  /** Images that change, and watches of them that nobody reads. */
  async "watches that nobody reads"(tenant, signal) {
    const filler = "x".repeat(20 * kibibyte);
    const annotations = { filler };
    for (let index = 0; index < 20; index += 1)
      await quietly(tenant.create(`watched-${index}`, { type: "Upload" }, { annotations }));
    const open = () => {
      const watch = tenant.open(`${tenant.images}?watch=true`, { signal, agent: false });
      watch.on("error", () => undefined).on("response", (answer) => answer.pause().on("error", () => undefined));
      watch.end();
    };
    for (let index = 0; index < 100; index += 1) open();
    await again(
      signal,
      async () => {
        const body = { metadata: { annotations: { note: String(Math.random()) } } };
        const type = "application/merge-patch+json";
        for (let index = 0; index < 20; index += 1)
          await tenant.ask(`${tenant.images}/watched-${index}`, { method: "PATCH", type, body });
        open();
      },
      200,
    );
  },

  async "uploads that are left"(tenant, signal) {
    let count = 0;
    await again(
      signal,
      async () => {
        const name = `left-${count++}`;
        await tenant.create(name, { type: "Upload" });
        for (let tries = 0; tries < 50 && !signal.aborted; tries += 1) {
          const url = (await tenant.status(name))?.imageUploadURLs?.inCluster;
          if (url === undefined) await pause(100, signal);
          else {
            const upload = tenant.open(url, { method: "PUT", headers: { "content-length": 2 ** 30 }, agent: false });
            upload.on("error", () => undefined).write(Buffer.alloc(mebibyte, 1));
            await pause(300, signal);
            upload.destroy();
            break;
          }
        }
        if (count > 20) await tenant.remove(`left-${count - 20}`);
      },
      100,
    );
  },

  async "sources that drip"(tenant, signal) {
    const url = await source(signal, (request, response) => {
      response.writeHead(200, { "content-length": 2 ** 30 });
      const timer = setInterval(() => response.write("x"), 2000);
      response.once("close", () => clearInterval(timer));
    });
    for (let index = 0; index < 6; index += 1) await quietly(tenant.create(`drips-${index}`, http(url)));
    await pause(2 ** 30, signal);
  },

  async "connections that ask for nothing"(tenant, signal) {
    const sockets = new Set();
    await again(
      signal,
      () => {
        for (let index = sockets.size; index < 600; index += 1) {
          const socket = tenant.socket();
          sockets.add(socket);
          socket.once("close", () => sockets.delete(socket));
          if (index % 2 === 0) socket.write("GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ");
        }
        return Promise.resolve();
      },
      1000,
    );
    for (const socket of sockets) socket.destroy();
  },

  /** Two hundred kilobytes to send, five seconds of CPU to store. */
  async "empty disks of ten gibibytes"(tenant, signal, { emptyDisk }) {
    const url = await source(signal, (request, response) => {
      response.writeHead(200, { "content-length": emptyDisk.length }).end(request.method === "HEAD" ? "" : emptyDisk);
    });
    let count = 0;
    await again(
      signal,
      async () => {
        await tenant.create(`empty-${count++}`, http(url));
        if (count > 10) await tenant.remove(`empty-${count - 10}`);
      },
      1000,
    );
  },

  async "a status of its own making"(tenant, signal) {
    await tenant.create("forged", { type: "Upload" });
    const body = image("forged", { type: "Upload" });
    const status = { phase: "Ready", size: { storedBytes: "0" } };
    const path = `${tenant.images}/forged`;
    const type = "application/merge-patch+json";
    await again(signal, async () => {
      await tenant.ask(path, { method: "PUT", body: { ...body, status } });
      await tenant.ask(`${path}/status`, { method: "PATCH", type, body: { status } });
    });
  },

  async "addresses that are none of its business"(tenant, signal) {
    const urls = ["http://168.63.129.16/machine", "http://169.254.169.254/latest", "http://[fd00:ec2::254]/x"];
    let count = 0;
    await again(
      signal,
      async () => {
        const name = `metadata-${count % 3}`;
        await tenant.create(name, http(urls[count++ % 3]));
        await pause(300, signal);
        await tenant.remove(name);
      },
      200,
    );
  },
};

/** A Secret with so many labels, in Kubernetes' protobuf. */
function protobufSecret(labels) {
  const field = (number, bytes) => Buffer.concat([varint(number * 8 + 2), varint(bytes.length), bytes]);
  const text = (number, value) => field(number, Buffer.from(value));
  const entries = Array.from({ length: labels }, (_, index) =>
    field(11, Buffer.concat([text(1, `l${index}`), text(2, "v")])),
  );
  const secret = field(1, Buffer.concat([text(1, "many"), ...entries]));
  const type = field(1, Buffer.concat([text(1, "v1"), text(2, "Secret")]));
  return Buffer.concat([Buffer.from("k8s\0", "latin1"), type, field(2, secret)]);
}

function varint(value) {
  const bytes = [];
  for (let left = value; ; left >>>= 7) {
    if (left < 128) return Buffer.from([...bytes, left]);
    bytes.push((left & 127) | 128);
  }
}
