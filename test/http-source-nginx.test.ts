/** `dvcr import` from nginx, and through a proxy. */
import { copyFile, mkdir, mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

import type { ImportReport } from "../src/pipeline/import-image.ts";
import { makeCertificates, type Certificates } from "./support/certificates.ts";
import { dvcr, dvcrImport, dvcrImportWith } from "./support/cli.ts";
import { fileDigest, makeRawDisk, patternBytes, qemuConvert } from "./support/disks.ts";
import { Nginx } from "./support/nginx.ts";
import { umociDiskDigest } from "./support/pulled.ts";
import { tool } from "./support/tools.ts";
import { startTunnelProxy } from "./support/proxy.ts";

let directory: string;
let root: string;
let digest: string;
let certificates: Certificates;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-nginx-test-"));
  root = join(directory, "root");
  await mkdir(root);
  const raw = await makeRawDisk(join(directory, "disk.raw"), 48);
  digest = await fileDigest(raw);
  await qemuConvert(raw, join(root, "disk.qcow2"), "-O", "qcow2");
  // nginx serves as "nobody" where it is started by root.
  await tool("chmod", "-R", "a+rX", directory);
  certificates = makeCertificates();
});

afterAll(async () => {
  await rm(directory, { recursive: true });
  await rm(certificates.directory, { recursive: true });
});

let layouts = 0;
const layout = (): string => join(directory, `layout-${String((layouts += 1))}`);

async function expectImported(url: string, ...flags: string[]): Promise<ImportReport> {
  const to = layout();
  const report = await dvcrImport(url, `oci:${to}:v1`, ...flags);
  expect(await umociDiskDigest(to, "v1", await mkdtemp(join(directory, "bundle-")))).toBe(digest);
  return report;
}

test("plain http, with the size known beforehand", async () => {
  await using nginx = await Nginx.start(root);
  const report = await expectImported(`${nginx.url}/disk.qcow2`, "--scratch-limit", "0");
  expect(report).toMatchObject({ sourceFormat: "qcow2", scratchPeak: 0 });
});

test("the same URL to the same tag again: no layer bytes are pushed where the server has ranges", async () => {
  await using nginx = await Nginx.start(root);
  const to = layout();
  const again = async () => await dvcrImport(`${nginx.url}/again.raw`, `oci:${to}:v1`);
  const file = await makeRawDisk(join(root, "again.raw"));
  await tool("chmod", "a+r", file);
  const first = await again();
  expect(first.layerPushed).toBe(true);
  expect(await again()).toMatchObject({ layerPushed: false, manifestDigest: first.manifestDigest });
  // Another disk of the same size is told by its digest.
  await tool("qemu-io", "-f", "raw", "-c", "write -P 9 5M 64k", file);
  expect((await again()).layerPushed).toBe(true);
  expect(await umociDiskDigest(to, "v1", await mkdtemp(join(directory, "bundle-")))).toBe(await fileDigest(file));
});

test("https with a private CA and a client certificate; neither missing nor unknown ones are accepted", async () => {
  const [server, client] = [certificates.issue("server"), certificates.issue("client")];
  const trust = join(directory, "trust");
  await mkdir(trust);
  await copyFile(certificates.ca, join(trust, "ca.crt"));
  await using nginx = await Nginx.start(root, { tls: { ...server, clientCa: certificates.ca } });
  const url = `${nginx.url}/disk.qcow2`;
  const untrusted = await dvcr(["import", "--quiet", url, `oci:${layout()}:v1`]);
  expect([untrusted.code, untrusted.stderr]).toEqual([3, expect.stringContaining("E_SOURCE_TLS")]);
  const anonymous = await dvcr(["import", "--quiet", "--src-cert-dir", trust, url, `oci:${layout()}:v1`]);
  expect([anonymous.code, anonymous.stderr]).toEqual([3, expect.stringContaining("answers 400")]);
  await copyFile(client.cert, join(trust, "me.cert"));
  await copyFile(client.key, join(trust, "me.key"));
  await expectImported(url, "--src-cert-dir", trust);
});

test("user and password by flag and in the URL; wrong ones are told without them", async () => {
  const password = (await tool("openssl", "passwd", "-apr1", "pa:ss")).trim();
  const file = join(directory, "htpasswd");
  await writeFile(file, `me:${password}\n`);
  await tool("chmod", "a+r", file);
  await using nginx = await Nginx.start(root, { directives: `auth_basic "x"; auth_basic_user_file ${file};` });
  await expectImported(`${nginx.url}/disk.qcow2`, "--src-creds", "me:pa:ss");
  await expectImported(`${nginx.url.replace("//", "//me:pa%3Ass@")}/disk.qcow2`);
  const wrong = await dvcr([
    "import",
    "--quiet",
    `${nginx.url.replace("//", "//me:wr0ng@")}/disk.qcow2`,
    `oci:${layout()}:v1`,
  ]);
  expect([wrong.code, wrong.stderr]).toEqual([3, expect.stringMatching(/^E_SOURCE_DENIED: (?!.*wr0ng)/)]);
});

test("a proxy from the environment is used, and not for hosts in NO_PROXY", async () => {
  await using nginx = await Nginx.start(root);
  using proxy = await startTunnelProxy();
  const { proxied } = proxy;
  const env = { HTTP_PROXY: proxy.url, http_proxy: "", no_proxy: "", NO_PROXY: "" };
  const url = `${nginx.url}/disk.qcow2`;
  await dvcrImportWith({ env }, url, `oci:${layout()}:v1`);
  expect(proxied).toEqual(expect.arrayContaining([new URL(url).host]));
  proxied.length = 0;
  await dvcrImportWith({ env: { ...env, NO_PROXY: "127.0.0.1" } }, url, `oci:${layout()}:v1`);
  expect(proxied).toEqual([]);
});

test("a resized qcow2, whose L1 table stands at its end, needs no scratch from a server with ranges", async () => {
  const raw = await makeRawDisk(join(directory, "grown.raw"), 48);
  const image = join(root, "grown.qcow2");
  await qemuConvert(raw, image, "-O", "qcow2", "-o", "cluster_size=4k");
  await tool("qemu-img", "resize", "-q", image, "2G");
  await tool("chmod", "a+r", image);
  await using nginx = await Nginx.start(root);
  const to = layout();
  const report = await dvcrImport(`${nginx.url}/grown.qcow2`, `oci:${to}:v1`, "--scratch-limit", "0");
  expect(report).toMatchObject({ scratchPeak: 0, virtualSize: 2 ** 31 });
  const fromFile = await dvcrImport(image, `oci:${layout()}:v1`);
  expect(report.layerDigest).toBe(fromFile.layerDigest);
});

test("a server that limits each connection is read over four, as its log says", async () => {
  const file = join(root, "noise.raw");
  await writeFile(file, patternBytes(24 << 20, 5));
  await utimes(file, 1_000_000_000, 1_000_000_000);
  await tool("chmod", "a+r", file);
  await using nginx = await Nginx.start(root, { directives: "limit_rate 2m;" });
  const to = layout();
  const finished = await dvcr([
    "import",
    "--quiet",
    "--json",
    "--compression",
    "none",
    `${nginx.url}/noise.raw`,
    `oci:${to}:v1`,
  ]);
  expect(finished.code, finished.stderr).toBe(0);
  expect(finished.stderr).toContain("4 ranges are fetched at once");
  expect(await umociDiskDigest(to, "v1", await mkdtemp(join(directory, "bundle-")))).toBe(await fileDigest(file));
});
