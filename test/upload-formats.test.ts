/** A fixed VHD by upload: its format shows only at the end of the file, so somebody declares it. */
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { ImageObject } from "../src/service/model/image.ts";
import type { ImportReport } from "../src/pipeline/import-image.ts";
import { formatOf } from "../console/src/uploads/format.ts";
import { dvcr } from "./support/cli.ts";
import { fileDigest, makeRawDisk, qemuConvert } from "./support/disks.ts";
import { curl, eventually } from "./support/pod.ts";
import { pullDisk } from "./support/pulled.ts";
import { startRegistry, type TestRegistry } from "./support/registry.ts";
import { pullUploaded, startRegistryUploader } from "./support/registry-uploader.ts";
import { ServeProcess } from "./support/service-serve.ts";
import { temporaryDirectory } from "./support/tools.ts";

const images = "/apis/virtualization.deckhouse.io/v1alpha2/clustervirtualimages";
const annotation = "virtualization.deckhouse.io/source-format";
const declared = ["-H", "DVCR-Source-Format: vpc"];

let work: Awaited<ReturnType<typeof temporaryDirectory>>;
let raw: string;
let vhd: string;
let digest: string;
let service: ServeProcess;
let registry: TestRegistry;

beforeAll(async () => {
  work = await temporaryDirectory();
  raw = await makeRawDisk(join(work.path, "disk.raw"), 2);
  vhd = await qemuConvert(raw, join(work.path, "disk.vhd"), "-O", "vpc", "-o", "subformat=fixed,force_size=on");
  digest = await fileDigest(raw);
  [service, registry] = await Promise.all([ServeProcess.start(), startRegistry({ auth: true, tls: true })]);
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await registry.stop();
  await work[Symbol.asyncDispose]();
});

const imageOf = (name: string): Promise<ImageObject> => service.json<ImageObject>(`${images}/${name}`);

async function until(name: string, phase: string): Promise<ImageObject> {
  return await eventually(async () => {
    const image = await imageOf(name);
    return image.status?.phase === phase ? image : undefined;
  });
}

/** The upload URL of a new image. */
async function urlFor(name: string, annotations: Record<string, string> = {}): Promise<string> {
  await service.json(images, "POST", {
    apiVersion: "virtualization.deckhouse.io/v1alpha2",
    kind: "ClusterVirtualImage",
    metadata: { name, annotations },
    spec: { dataSource: { type: "Upload" } },
  });
  return (await until(name, "WaitForUserUpload")).status?.imageUploadURLs?.external ?? "";
}

async function storedDigest(name: string): Promise<string> {
  const { status } = await until(name, "Ready");
  return (await pullDisk(`docker://${status?.target?.registryURL ?? ""}`, work.path)).digest;
}

const put = async (url: string, ...args: string[]): Promise<string> =>
  (await curl("-w", "\n%{http_code}", ...args, url).done).stdout;

// "header": the disk's size was known before its bytes came, by the length of the request; "counted" without one. The
// scratch tells nothing here: what the registry has not taken yet is kept there for every upload.
describe("a fixed VHD to an upload URL", () => {
  it("streams where a header declares it", async () => {
    const url = await urlFor("by-header");
    const { stdout } = await curl("-H", "Accept: application/json", ...declared, "-T", vhd, url).done;
    expect(JSON.parse(stdout) as ImportReport).toMatchObject({
      sourceFormat: "vpc",
      virtualSize: (await stat(raw)).size,
      sizeFrom: "header",
      restarts: 0,
    });
    expect(await storedDigest("by-header")).toBe(digest);
  });

  it("is taken by query parameter, by annotation, in a form, and by tus", async () => {
    const byQuery = await urlFor("by-query");
    const unknownLength = await urlFor("by-pipe");
    const pipe = curl("-H", "Accept: application/json", ...declared, "-T", "-", unknownLength);
    await pipe.write(await readFile(vhd));
    pipe.end();
    expect(JSON.parse((await pipe.done).stdout)).toMatchObject({ sourceFormat: "vpc", sizeFrom: "counted" });
    expect(await put(`${byQuery}?source-format=vpc`, "-T", vhd)).toMatch(/^stored .*: vpc as raw/);
    expect(await put(await urlFor("by-note", { [annotation]: "vpc" }), "-T", vhd)).toMatch(/^stored .*: vpc as raw/);
    expect(await put(await urlFor("by-form"), ...declared, "-F", `file=@${vhd}`)).toMatch(/^stored .*: vpc as raw/);
    const url = await urlFor("by-tus");
    const bytes = await readFile(vhd);
    const tus = { "tus-resumable": "1.0.0" };
    const headers = { ...tus, "upload-length": String(bytes.length), "dvcr-source-format": "vpc" };
    const created = await fetch(url, { method: "POST", headers });
    const sent = await fetch(new URL(created.headers.get("location") ?? "", url), {
      method: "PATCH",
      headers: { ...tus, "upload-offset": "0", "content-type": "application/offset+octet-stream" },
      body: new Uint8Array(bytes),
    });
    expect(sent.status).toBe(204);
    for (const name of ["by-query", "by-note", "by-form", "by-tus"])
      expect(await storedDigest(name), name).toBe(digest);
  });

  it("of another format, or declared by an unknown word, is refused before a byte is taken", async () => {
    const url = await urlFor("unknown", { [annotation]: "vhd" });
    const list = "expected raw, iso, qcow2, vmdk, vdi, vpc or vhdx";
    expect(await put(url, "-T", vhd)).toMatch(
      new RegExp(`^E_BAD_REQUEST: the image's annotation ${annotation} is "vhd", ${list}[^]*\n400$`),
    );
    expect(await put(url, "-H", "DVCR-Source-Format: vhd", "-T", vhd)).toContain(
      `E_BAD_REQUEST: the header dvcr-source-format is "vhd", ${list}`,
    );
    expect(await put(`${url}?source-format=VPC`, "-T", vhd)).toMatch(/^E_BAD_REQUEST: the parameter[^]*\n400$/);
    expect(await put(`${url}?source-format=raw`, ...declared, "-T", vhd)).toMatch(/^E_BAD_REQUEST: [^]*\n400$/);
    expect(await put(url, ...declared, "-T", vhd)).toMatch(/^stored .*: vpc as raw/);
  });

  it("undeclared is refused with what to do at this door; so is one that was cut", async () => {
    const said = await put(await urlFor("undeclared"), "-T", vhd);
    expect(said).toMatch(/^E_UNDECLARED_FIXED_VHD: .*dvcr upload --src-format vpc.*DVCR-Source-Format: vpc[^]*\n422$/);
    const cut = join(work.path, "cut.vhd");
    await writeFile(cut, (await readFile(vhd)).subarray(0, 2 ** 20));
    expect(await put(await urlFor("cut"), ...declared, "-T", cut)).toMatch(/^E_CORRUPT_IMAGE: [^]*\n422$/);
    expect((await until("cut", "Failed")).status?.target).toBeUndefined();
  });

  it("is recognised by dvcr upload and by the console", async () => {
    const run = (file: string, name: string, ...flags: string[]) =>
      dvcr(["upload", "--quiet", "--server", service.url, ...flags, file, name]);
    expect(await run(vhd, "by-command")).toMatchObject({ code: 0 });
    expect(await storedDigest("by-command")).toBe(digest);
    expect((await run(raw, "declared-wrong", "--src-format", "qcow2")).stderr).toContain("E_FORMAT_MISMATCH");
    expect(await formatOf(new Blob([new Uint8Array(await readFile(vhd))]))).toBe("vpc");
    expect(await formatOf(new Blob([new Uint8Array(await readFile(raw))]))).toBeUndefined();
  });
});

describe("an upload of nothing, or in a form that cannot be read,", () => {
  it("leaves its URL as it was", async () => {
    const url = await urlFor("patient");
    const empty = join(work.path, "empty");
    await writeFile(empty, "");
    const broken = (type: string) => put(url, "-H", `Content-Type: multipart/form-data${type}`, "--data-binary", "--x");
    const pipe = curl("-w", "\n%{http_code}", "-T", "-", url);
    pipe.end();
    expect((await pipe.done).stdout).toMatch(/^E_EMPTY: [^]*\n4\d\d$/);
    expect(await put(url, "-F", `file=@${empty}`)).toMatch(/^E_EMPTY: [^]*\n4\d\d$/);
    expect(await broken("")).toMatch(/^E_BAD_REQUEST: the form has no boundary[^]*\n400$/);
    expect(await broken(`; boundary=${"x".repeat(71)}`)).toMatch(/^E_BAD_REQUEST: the form has a bound[^]*\n400$/);
    expect(await broken("; boundary=x")).toMatch(/^E_BAD_REQUEST: the form [^]*\n400$/);
    await until("patient", "WaitForUserUpload");
    expect(await put(url, "-T", raw)).toMatch(/^stored /);
  });
});

describe("a fixed VHD to the uploader of a pod", () => {
  it.each([
    ["by its header", {}, declared],
    ["by DVCR_SOURCE_FORMAT", { DVCR_SOURCE_FORMAT: "vpc" }, []],
  ])("streams where it is declared %s", async (_, environment, args) => {
    const repository = `cvi/pod-${String(args.length)}`;
    const uploader = await startRegistryUploader(work.path, registry, repository, environment);
    const { stdout } = await curl("-H", "Accept: application/json", ...args, "-T", vhd, uploader.url).done;
    expect(JSON.parse(stdout) as ImportReport).toMatchObject({ sourceFormat: "vpc", sizeFrom: "header", restarts: 0 });
    expect(await uploader.exit).toBe(0);
    expect((await pullUploaded(work.path, registry, repository)).digest).toBe(digest);
  });

  it("undeclared is refused with both remedies", async () => {
    const uploader = await startRegistryUploader(work.path, registry, "cvi/pod-undeclared", {});
    expect(await put(uploader.url, "-T", vhd)).toMatch(
      /^E_UNDECLARED_FIXED_VHD: .*DVCR-Source-Format: vpc.*DVCR_SOURCE_FORMAT=vpc[^]*\n422$/,
    );
    await uploader.exit;
    expect(await registry.tags("cvi/pod-undeclared")).toEqual([]);
  });
});
