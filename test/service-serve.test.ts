/** `dvcr serve` with what a server in earnest has: TLS, a configuration that changes, a registry of others, load. */
import { readdirSync, readFileSync } from "node:fs";
import { readFile, rm, writeFile } from "node:fs/promises";
import { getPriority } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Agent, request } from "undici";

import type { ImageObject } from "../src/service/model/image.ts";
import { dvcr } from "./support/cli.ts";
import { makeCertificates, type Certificates } from "./support/certificates.ts";
import { fileDigest, makeRawDisk } from "./support/disks.ts";
import { Origin } from "./support/origin.ts";
import { eventually } from "./support/pod.ts";
import { pullDisk } from "./support/pulled.ts";
import { startRegistry } from "./support/registry.ts";
import { ServeProcess } from "./support/service-serve.ts";
import { imageDraft } from "./support/service-store-contract.ts";
import { temporaryDirectory, tool } from "./support/tools.ts";

const collection = "/apis/virtualization.deckhouse.io/v1alpha2/clustervirtualimages";

let work: Awaited<ReturnType<typeof temporaryDirectory>>;
let disk: string;
let diskSum: string;

beforeAll(async () => {
  work = await temporaryDirectory();
  disk = await makeRawDisk(join(work.path, "disk.raw"), 16);
  diskSum = await fileDigest(disk);
});
afterAll(() => work[Symbol.asyncDispose]());

let service: ServeProcess;
afterEach(() => service[Symbol.asyncDispose]());

async function configured(text: string): Promise<string> {
  const path = join(work.path, "serve.yaml");
  await writeFile(path, text);
  return path;
}

const imageOf = (name: string): Promise<ImageObject> => service.json<ImageObject>(`${collection}/${name}`);
const reasonOf = ({ status }: ImageObject): string | undefined =>
  status?.conditions?.find(({ type }) => type === "Ready")?.reason;

async function until(name: string, wanted: (image: ImageObject) => boolean): Promise<ImageObject> {
  return await eventually(async () => {
    const image = await imageOf(name);
    return wanted(image) ? image : undefined;
  });
}

const isReady = ({ status }: ImageObject): boolean => status?.phase === "Ready";

describe("TLS from files", () => {
  let certificates: Certificates;
  beforeAll(() => {
    certificates = makeCertificates();
  });
  afterAll(() => rm(certificates.directory, { recursive: true, force: true }));

  it(
    "is spoken with the certificate and the lowest version that were named, and nothing else " + "on the port",
    async () => {
      const { cert, key } = certificates.issue("images.test");
      const config = await configured(`tlsCertFile: ${cert}\ntlsKeyFile: ${key}\ntlsMinVersion: TLSv1.3\n`);
      service = await ServeProcess.start("--config", config);
      expect(service.url).toMatch(/^https:/);
      const dispatcher = new Agent({ connect: { ca: await readFile(certificates.ca, "utf8") } });
      const answer = await request(`${service.url}/readyz`, { dispatcher });
      expect([answer.statusCode, await answer.body.text()]).toEqual([200, "ok\n"]);
      expect(answer.headers["strict-transport-security"]).toContain("max-age");
      await dispatcher.close();
      await expect(request(`${service.url}/readyz`)).rejects.toMatchObject({
        code: expect.stringMatching(/UNABLE_TO_VERIFY|SELF_SIGNED/) as string,
      });
      await expect(request(service.url.replace("https", "http"))).rejects.toThrow();
      const old = new Agent({ connect: { ca: await readFile(certificates.ca, "utf8"), maxVersion: "TLSv1.2" } });
      await expect(request(`${service.url}/readyz`, { dispatcher: old })).rejects.toMatchObject({
        code: "ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION",
      });
      await old.close();
    },
  );

  it("is what upload URLs and our own commands use", async () => {
    const { cert, key } = certificates.issue("images.test");
    service = await ServeProcess.start("--config", await configured(`tlsCertFile: ${cert}\ntlsKeyFile: ${key}\n`));
    const dvcr = (...args: string[]) => tool("bin/dvcr", ...args, "--server", service.url, "--ca", certificates.ca);
    await dvcr("upload", disk, "sent");
    expect(await dvcr("get", "cvi", "sent")).toMatch(/sent +Ready/);
    await expect(tool("bin/dvcr", "get", "cvi", "--server", service.url)).rejects.toThrow(
      /UNABLE_TO_VERIFY_LEAF_SIGNATURE/,
    );
  });

  it("that cannot be read keeps the service from starting, with the name of the setting", async () => {
    service = await ServeProcess.start();
    const missing = join(work.path, "absent.pem");
    await expect(
      tool(
        "bin/dvcr",
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        join(work.path, "other"),
        "--tls-cert-file",
        missing,
        "--tls-key-file",
        missing,
      ),
    ).rejects.toThrow(/E_CONFIG: tlsCertFile: .*absent\.pem.*ENOENT/);
  });
});

describe("dvcr upload of a refused image", () => {
  it("tells the server's reason and remedy, once", async () => {
    service = await ServeProcess.start();
    const image = join(work.path, "whole.qcow2");
    const cut = join(work.path, "cut.qcow2");
    await tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", disk, image);
    await writeFile(cut, (await readFile(image)).subarray(0, 2_000_000));
    const { code, stderr } = await dvcr(["upload", "--quiet", "--server", service.url, cut, "cut"]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/^E_TRUNCATED: /m);
    expect(stderr.match(/compare its size and checksum/g)).toHaveLength(1);
  });
});

describe("SIGHUP", () => {
  it("takes over the limits that may change, and nothing of a file with mistakes", async () => {
    await using origin = await Origin.start(await readFile(disk));
    const config = await configured("capacity: 1Mi\nnearlyFull: 1\nmaxImports: 1\n");
    service = await ServeProcess.start("--config", config);
    const create = (name: string) =>
      service.json(collection, "POST", imageDraft(name, { url: `${origin.url}/disk.img` }));
    await create("first");
    const failed = await until("first", ({ status }) => status?.phase === "Failed");
    expect(failed.status?.conditions?.at(-1)?.message).toContain("E_PLACE_FULL");

    await configured("capacity: many\n");
    service.signal("SIGHUP");
    await eventually(() => service.log.includes("the configuration was not taken over"));
    expect(service.log).toMatch(/DVCR_SERVE_CAPACITY: got \\"many\\"/);
    await create("second");
    await until("second", ({ status }) => status?.phase === "Failed");

    await configured("capacity: 1Gi\n");
    service.signal("SIGHUP");
    await eventually(() => service.log.includes("configuration read again"));
    await create("third");
    expect((await until("third", isReady)).status?.size?.unpacked).toBe("16Mi");
  });
});

describe("a registry of others", () => {
  it("keeps the images, is copied within, loses what is deleted and tells what is lost", async () => {
    await using registry = await startRegistry({ auth: true });
    await using origin = await Origin.start(await readFile(disk));
    const auths = join(work.path, "auth.json");
    await writeFile(
      auths,
      JSON.stringify({ auths: { [registry.host]: { auth: Buffer.from("tester:registry-pw").toString("base64") } } }),
    );
    const pulled = async (image: string) =>
      (await pullDisk(`docker://${image}`, work.path, "--src-authfile", auths)).digest;
    const config = await configured(
      `registry: ${registry.host}\nregistryAuthConfig: ${auths}\nregistryInsecureTls: true\npresenceCheckSeconds: 1\n`,
    );
    service = await ServeProcess.start("--config", config);
    await service.json(collection, "POST", imageDraft("one", { url: `${origin.url}/disk.img` }));
    const one = await until("one", isReady);
    const name = `${registry.host}/cvi/one:${one.metadata.uid}`;
    expect(one.status?.target?.registryURL).toBe(name);
    expect(await pulled(name)).toBe(diskSum);
    // It is asked itself: nothing is served here.
    expect((await fetch(`${service.url}/v2/`)).status).toBe(404);

    const copy = {
      ...imageDraft("two"),
      spec: { dataSource: { type: "ObjectRef", objectRef: { kind: "ClusterVirtualImage", name: "one" } } },
    };
    await service.json(collection, "POST", copy);
    const two = await until("two", isReady);
    expect(two.status).toMatchObject({ digest: one.status?.digest, size: one.status?.size });

    const upload = { ...imageDraft("three"), spec: { dataSource: { type: "Upload" } } };
    await service.json(collection, "POST", upload);
    const url =
      (await until("three", ({ status }) => status?.phase === "WaitForUserUpload")).status?.imageUploadURLs
        ?.inCluster ?? "";
    expect((await fetch(url, { method: "PUT", body: await readFile(disk) })).status).toBe(200);
    const three = await until("three", isReady);
    expect(await pulled(three.status!.target!.registryURL!)).toBe(diskSum);

    await service.json(`${collection}/one`, "DELETE");
    await eventually(async () => (await fetch(`${service.url}${collection}/one`)).status === 404);
    await expect(pulled(name)).rejects.toThrow(/manifest unknown/);
    // The others are what they were, though they are made of the same blobs.
    expect(await pulled(two.status!.target!.registryURL!)).toBe(diskSum);

    await tool(
      "skopeo",
      "delete",
      "--tls-verify=false",
      "--authfile",
      auths,
      `docker://${two.status!.target!.registryURL!}`,
    );
    const lost = await until("two", ({ status }) => status?.phase === "ImageLost");
    expect(reasonOf(lost)).toBe("ImageLost");
  });

  it("keeps nobody from stopping the service while it cannot be reached", async () => {
    await using origin = await Origin.start(await readFile(disk));
    {
      await using registry = await startRegistry();
      const config = await configured(`registry: ${registry.host}\nregistryInsecureTls: true\n`);
      service = await ServeProcess.start("--config", config);
      await service.json(collection, "POST", imageDraft("one", { url: `${origin.url}/disk.img` }));
      await until("one", isReady);
      await service.stop();
    }
    // Whether the image is still there is asked at once, and again and again for minutes.
    await service.startAgain();
    await eventually(() => service.log.includes("trying again"));
    await service.stop();
    expect(service.log).toMatch(/"signal":"SIGTERM","msg":"stopping"/);
    expect(service.log).not.toContain("reconciling failed");
  });
});

describe("while an import runs", () => {
  it("requests go first: its threads have the lowest priority, the event loop has not", async () => {
    await using origin = await Origin.start(await readFile(disk), () => ({ stallAfter: 1 << 20 }));
    service = await ServeProcess.start();
    await service.json(collection, "POST", imageDraft("slow", { url: `${origin.url}/disk.img` }));
    const threads = await eventually(() => {
      const found = threadsOf(service.pid);
      return found.some(({ name }) => name === "dvcr-layer") ? found : undefined;
    });
    const own = threads.filter(({ name }) => name.startsWith("dvcr-"));
    expect(own.filter(({ nice }) => nice !== 19)).toEqual([]);
    // As it was started: by whoever runs the tests, who may be "nice".
    expect(threads.find(({ id }) => id === service.pid)?.nice).toBe(getPriority());
  });
});

/** Field 19 of proc(5)'s stat, after the name, which may hold anything. */
function threadsOf(pid: number): { readonly id: number; readonly name: string; readonly nice: number }[] {
  return readdirSync(`/proc/${pid}/task`).map((id) => {
    const stat = readFileSync(`/proc/${pid}/task/${id}/stat`, "utf8");
    const end = stat.lastIndexOf(")");
    return {
      id: Number(id),
      name: stat.slice(stat.indexOf("(") + 1, end),
      nice: Number(stat.slice(end + 2).split(" ")[16]),
    };
  });
}
