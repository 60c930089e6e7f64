import { once } from "node:events";
import { createReadStream, existsSync, statSync } from "node:fs";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { destinationSecret, importerEnvironment, scrapeUntil, terminationMessage } from "./support/controller.ts";
import { withLoopDevice } from "./support/loop.ts";
import { freePort } from "./support/ports.ts";
import {
  fileDigest,
  makeRawDisk,
  patternBytes,
  qemuConvert,
  qemuRawDigest,
  textBytes,
  textDisk,
  truncatedCopy,
} from "./support/disks.ts";
import { pullDisk, umociDiskDigest, type PulledDisk } from "./support/pulled.ts";
import { startRegistry, testUser, type TestRegistry } from "./support/registry.ts";
import { startSealed, type SealedOptions, type SealedPod } from "./support/sealed.ts";
import { tool } from "./support/tools.ts";

const megabytes = 96;
let directory: string;
let raw: string;
let registry: TestRegistry;
let web: Server;
let pod: SealedPod | undefined;
let metricsPort: number;

/** Serves the test's directory; `/` is disk.qcow2, /loop redirects for ever. */
function serve(): Server {
  return createServer((incoming, response) => {
    const { pathname } = new URL(incoming.url ?? "/", "http://test");
    if (pathname === "/loop") return void response.writeHead(302, { location: "/loop" }).end();
    const path = join(directory, pathname === "/" ? "disk.qcow2" : basename(pathname));
    if (!existsSync(path)) return void response.writeHead(404).end();
    response.writeHead(200, { "content-length": statSync(path).size });
    createReadStream(path).pipe(response);
  });
}

const at = (name: string): string => join(directory, name);
const url = (path: string): string => `http://127.0.0.1:${(web.address() as AddressInfo).port}${path}`;
const credentials = `${testUser.name}:${testUser.password}`;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-contract-"));
  raw = await makeRawDisk(at("disk.raw"), megabytes);
  await qemuConvert(raw, at("disk.qcow2"), "-O", "qcow2");
  registry = await startRegistry({ auth: true, tls: true });
  web = serve().listen(0, "127.0.0.1");
  await once(web, "listening");
});

afterEach(() => pod?.dispose());

afterAll(async () => {
  web.close();
  web.closeAllConnections();
  await registry.stop();
  await rm(directory, { recursive: true, force: true });
});

interface Ended {
  readonly code: number | null;
  readonly message: Record<string, unknown>;
}

async function start(
  source: string,
  endpoint: string,
  name: string,
  more: Record<string, string> = {},
  options: Partial<SealedOptions> = {},
): Promise<SealedPod> {
  pod?.dispose();
  metricsPort = await freePort();
  pod = startSealed("dvcr-importer", {
    ...options,
    files: { ...destinationSecret(registry), ...options.files },
    environment: {
      ...importerEnvironment(source, endpoint, `${registry.host}/vi/ns/${name}:0a1b`),
      DVCR_METRICS_PORT: String(metricsPort),
      ...more,
    },
  });
  return pod;
}

async function importing(...args: Parameters<typeof start>): Promise<Ended> {
  const running = await start(...args);
  const code = await running.exit;
  return { code, message: terminationMessage(running.terminationLog) };
}

const pull = (name: string): Promise<PulledDisk> =>
  pullDisk(`docker://${registry.host}/vi/ns/${name}:0a1b`, directory, "--src-creds", credentials);

async function refuses(name: string, text: RegExp, ended: Ended): Promise<void> {
  expect(ended.code).toBe(0);
  expect(ended.message["error-message"]).toMatch(text);
  expect([await registry.tags(`vi/ns/${name}`), await registry.sessions(`vi/ns/${name}`)]).toEqual([[], []]);
}

/** Copies an image to an OCI layout and lets umoci's strict tar reader unpack it. */
async function umoci(name: string): Promise<string> {
  const layout = at(`layout-${name}`);
  await tool(
    "skopeo",
    "copy",
    "--src-tls-verify=false",
    "--src-creds",
    credentials,
    `docker://${registry.host}/vi/ns/${name}:0a1b`,
    `oci:${layout}:it`,
  );
  return await umociDiskDigest(layout, "it", directory);
}

describe("a pod with an http source", () => {
  it("answers every scrape while it imports at full speed, and stores the disk that qemu-img reads", async () => {
    const large = at("large.raw");
    await writeFile(
      large,
      Buffer.concat(
        Array.from({ length: 5 }, (_, seed) =>
          Buffer.concat([patternBytes(32 << 20, seed + 1), textBytes(32 << 20, seed + 1)]),
        ),
      ),
    );
    const sum = await tool("sha512sum", large);
    const running = await start("http", url("/large.raw"), "speed", {
      IMPORTER_CHECKSUMS: `sha512:${sum.split(" ")[0] ?? ""}`,
    });
    const scrapes = await scrapeUntil(metricsPort, running.exit);
    expect(await running.exit).toBe(0);
    const progress = scrapes.map((one) => one.progress);
    expect(progress).toEqual(progress.toSorted((a, b) => a - b));
    expect(progress.filter((percent) => percent > 0 && percent <= 100).length).toBeGreaterThan(0);
    expect(Math.max(...scrapes.map((one) => one.average))).toBeGreaterThan(0);
    const pulled = await pull("speed");
    expect(pulled).toMatchObject({ digest: await fileDigest(large), names: ["disk", "disk/disk.img"] });
    expect(terminationMessage(running.terminationLog)).toEqual({
      "source-image-size": pulled.layerSize,
      "source-image-virtual-size": statSync(large).size,
      "source-image-format": "raw",
      duration: expect.any(Number) as number,
      "average-speed": expect.any(Number) as number,
    });
    await rm(large);
  });

  it("verifies Streebog sums, in either case of letters", async () => {
    await writeFile(at("zeros.raw"), Buffer.alloc(1 << 20));
    const wrong = await importing("http", url("/zeros.raw"), "streebog", {
      IMPORTER_CHECKSUMS: `streebog256:${"0".repeat(64)}`,
    });
    await refuses("streebog", /streebog256 sum mismatch: 0{64} != [0-9a-f]{64}/, wrong);
    const actual = /!= ([0-9a-f]{64})/.exec(String(wrong.message["error-message"]))?.[1] ?? "";
    const right = await importing("http", url("/zeros.raw"), "streebog", {
      IMPORTER_CHECKSUMS: `streebog256:${actual.toUpperCase()}`,
    });
    expect(right.message).not.toHaveProperty("error-message");
  });

  it("needs no file name in the URL", async () => {
    const { message } = await importing("http", url(""), "nameless");
    expect(message).toMatchObject({ "source-image-format": "raw", "source-image-virtual-size": megabytes << 20 });
    expect((await pull("nameless")).digest).toBe(await fileDigest(raw));
  });

  it("stores disks of odd sizes so that strict tar readers unpack them", async () => {
    await writeFile(at("odd.raw"), textDisk(1_234_567, 3));
    const { message } = await importing("http", url("/odd.raw"), "odd");
    expect(message["source-image-virtual-size"]).toBe((await pull("odd")).size);
    expect(await umoci("odd")).toBe((await pull("odd")).digest);
  });

  it("stores what is inside .gz and .xz files, and refuses damaged ones", async () => {
    await tool("sh", "-c", 'cd "$1" && gzip -1 -kf disk.qcow2 && xz -0 -kf disk.qcow2', "sh", directory);
    for (const suffix of ["gz", "xz"]) {
      expect((await importing("http", url(`/disk.qcow2.${suffix}`), suffix)).message["source-image-format"]).toBe(
        "raw",
      );
      expect((await pull(suffix)).digest).toBe(await fileDigest(raw));
      await truncatedCopy(at(`disk.qcow2.${suffix}`), at(`cut.${suffix}`), 0.7);
      await refuses(
        `cut-${suffix}`,
        /^E_(TRUNCATED|CORRUPT_COMPRESSION)/,
        await importing("http", url(`/cut.${suffix}`), `cut-${suffix}`),
      );
    }
  });

  it("imports VHDX and dynamic VHD files of more than 64 MiB", async () => {
    for (const format of ["vhdx", "vpc"]) {
      const image = await qemuConvert(raw, at(`disk.${format}`), "-O", format, "-o", "subformat=dynamic");
      expect((await importing("http", url(`/disk.${format}`), format)).message).toMatchObject({
        "source-image-format": "raw",
      });
      expect((await pull(format)).digest).toBe(await qemuRawDigest(image, directory));
    }
  });

  it("follows a bounded number of redirects", async () => {
    await refuses("loop", /^E_SOURCE_HTTP: .*redirect/, await importing("http", url("/loop"), "loop"));
  });

  it("keeps a message of a long cause within 4096 bytes", async () => {
    const { code, message } = await importing("http", url(`/${"long%20".repeat(1500)}`), "long");
    expect([code, String(message["error-message"]).length > 1000]).toEqual([0, true]);
  });

  it("reports a wrong configuration as final, with every problem", async () => {
    const ended = await importing("http", "", "config", { IMPORTER_CHECKSUMS: "md5:12" });
    await refuses("config", /^E_CONFIG: .*IMPORTER_CHECKSUMS.*IMPORTER_ENDPOINT/, ended);
  });

  it("trusts the mounted CA bundle whatever its file is called, and nobody else's certificate", async () => {
    // The registry's own HTTPS port stands for a server with a private CA.
    const ca = await tool("cat", join(registry.certDirectory, "ca.crt"));
    const endpoint = `https://${registry.host}/nothing`;
    await refuses("ca", /^E_SOURCE_TLS: /, await importing("http", endpoint, "ca"));
    for (const [variable, mounted] of [
      ["IMPORTER_CERT_DIR", "/certs"],
      ["IMPORTER_PROXY_CERT_DIR", "/proxycerts/"],
    ] as const) {
      const files = { [join(mounted, "bundle.pem")]: ca };
      await refuses(
        "ca",
        /^E_SOURCE_NOT_FOUND: .*404/,
        await importing("http", endpoint, "ca", { [variable]: mounted }, { files }),
      );
    }
  });

  it("told to stop exits with a failure and a message, and leaves nothing in the registry", async () => {
    const running = await start("http", url("/disk.raw"), "stopped");
    await running.logged("started");
    running.signal("SIGTERM");
    expect(await running.exit).toBe(143);
    expect(terminationMessage(running.terminationLog)["error-message"]).toMatch(/^E_CANCELLED/);
    expect([await registry.tags("vi/ns/stopped"), await registry.sessions("vi/ns/stopped")]).toEqual([[], []]);
  });
});

describe("a pod with a volume", () => {
  it("stores the disk inside /tmp/fs/disk.img", async () => {
    const { message } = await importing(
      "filesystem",
      "",
      "filesystem",
      { IMPORTER_FILESYSTEM: "/tmp/fs" },
      { volume: at("disk.qcow2") },
    );
    expect(message).toMatchObject({ "source-image-format": "raw", "source-image-virtual-size": megabytes << 20 });
    expect((await pull("filesystem")).digest).toBe(await fileDigest(raw));
  });

  it("stores /dev/xvda byte for byte, and nearly nothing for its empty parts", async () => {
    const sparse = await makeRawDisk(at("sparse.raw"), megabytes);
    await truncate(sparse, 2 ** 29);
    await withLoopDevice(
      sparse,
      async (device) => {
        const { message } = await importing("blockDevice", "", "block", {}, { device });
        expect(message).toMatchObject({ "source-image-format": "raw", "source-image-virtual-size": 2 ** 29 });
      },
      "--read-only",
    );
    const pulled = await pull("block");
    expect(pulled.digest).toBe(await fileDigest(sparse));
    expect(pulled.layerSize).toBeLessThan(12 << 20);
  });

  it("never interprets what a guest wrote to /dev/xvda", async () => {
    await withLoopDevice(
      at("disk.qcow2"),
      async (device) => {
        await refuses("nested", /^E_NESTED_IMAGE/, await importing("blockDevice", "", "nested", {}, { device }));
        const { message } = await importing("blockDevice", "", "nested", { DVCR_ALLOW_NESTED: "true" }, { device });
        expect(message["source-image-format"]).toBe("raw");
      },
      "--read-only",
    );
    expect((await pull("nested")).digest).toBe(await fileDigest(at("disk.qcow2")));
  });
});
