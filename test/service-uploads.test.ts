/** Upload URLs of a running service, used by curl and a tus client. */
import { createHash } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import type { ImageObject } from "../src/service/model/image.ts";
import { makeRawDisk } from "./support/disks.ts";
import { curl, eventually } from "./support/pod.ts";
import { pullDisk } from "./support/pulled.ts";
import { ServeProcess } from "./support/service-serve.ts";
import { temporaryDirectory } from "./support/tools.ts";

const images = "/apis/virtualization.deckhouse.io/v1alpha2/clustervirtualimages";

let service: ServeProcess;
let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
let disk: string;
let bytes: Buffer;

beforeEach(async () => {
  directory = await temporaryDirectory();
  disk = await makeRawDisk(join(directory.path, "disk.raw"), 16);
  bytes = await readFile(disk);
});
afterEach(async () => {
  await service[Symbol.asyncDispose]();
  await directory[Symbol.asyncDispose]();
});

const sha256 = (data: Uint8Array): string => createHash("sha256").update(data).digest("hex");
const imageAt = (name: string): Promise<ImageObject> => service.json<ImageObject>(`${images}/${name}`);

async function until(name: string, phase: string): Promise<ImageObject> {
  return await eventually(async () => {
    const image = await imageAt(name);
    return image.status?.phase === phase ? image : undefined;
  });
}

/** A new image of type Upload; its upload URL. */
async function uploadUrl(name: string, upload?: object): Promise<string> {
  const dataSource = { type: "Upload", ...(upload === undefined ? {} : { upload }) };
  await service.json(images, "POST", {
    apiVersion: "virtualization.deckhouse.io/v1alpha2",
    kind: "ClusterVirtualImage",
    metadata: { name },
    spec: { dataSource },
  });
  return (await until(name, "WaitForUserUpload")).status?.imageUploadURLs?.external ?? "";
}

async function statusCode(...args: string[]): Promise<string> {
  return (await curl("-o", join(directory.path, "answer"), "-w", "%{http_code}", ...args).done).stdout;
}

async function storedDigest(name: string): Promise<string> {
  const { status } = await until(name, "Ready");
  return (await pullDisk(`docker://${status?.target?.registryURL ?? ""}`, directory.path)).digest;
}

describe("an upload URL", () => {
  it("takes a file by curl -T, and is dead once the image is ready", async () => {
    service = await ServeProcess.start();
    const url = await uploadUrl("cirros", { checksum: { sha256: sha256(bytes) } });
    expect(url).toMatch(new RegExp(`^${service.url}/upload/[A-Za-z0-9]{32}$`));
    expect(await statusCode(url)).toBe("200");
    expect(await readFile(join(directory.path, "answer"), "utf8")).toBe("");
    const { stdout } = await curl("-T", disk, url).done;
    expect(stdout).toMatch(/^stored .*cirros/);
    expect(await storedDigest("cirros")).toBe(sha256(bytes));
    expect((await imageAt("cirros")).status?.imageUploadURLs).toBeUndefined();
    for (const args of [[url], ["-I", url], ["-T", disk, url], ["-X", "OPTIONS", url]])
      expect(await statusCode(...args)).toBe("404");
  });

  it("that is wrong says nothing, whatever is sent to it", async () => {
    service = await ServeProcess.start();
    await uploadUrl("other");
    for (const path of [
      `/upload/${"A".repeat(32)}`,
      "/upload/short",
      `/upload/${"A".repeat(32)}?tus=1`,
      `/upload/${encodeURIComponent("../".repeat(10))}`,
    ]) {
      for (const args of [
        [],
        ["-I"],
        ["-T", disk],
        ["-H", "Expect:", "-T", disk],
        ["-X", "DELETE"],
        ["-F", `file=@${disk}`],
      ]) {
        const { stdout } = await curl("-w", "\n%{http_code}", ...args, `${service.url}${path}`).done;
        const said = args[0] === "-I" ? stdout.slice(stdout.lastIndexOf("\n")) : stdout;
        expect(said, `${args.join(" ")} ${path}`).toBe(
          args[0] === "-I"
            ? "\n404"
            : "E_NOT_FOUND: nothing is uploaded here, or not any more. Check the path; an uploader takes " +
                "uploads at /upload.\n\n404",
        );
      }
    }
  });

  it("takes a file at a URL with a slash at its end, where curl appends the file's name", async () => {
    service = await ServeProcess.start();
    expect((await curl("-T", disk, `${await uploadUrl("slash")}/`).done).stdout).toMatch(/^stored .*slash/);
    expect(await storedDigest("slash")).toBe(sha256(bytes));
  });

  it("refuses a request without a body, and waits for the file as before", async () => {
    service = await ServeProcess.start();
    const url = await uploadUrl("nothing");
    expect(await statusCode("-X", "PUT", "-H", "Content-Length: 0", url)).toBe("422");
    expect(await readFile(join(directory.path, "answer"), "utf8")).toMatch(/^E_EMPTY: the request has no body/);
    expect((await imageAt("nothing")).status?.phase).toBe("WaitForUserUpload");
    expect(await statusCode("-T", disk, url)).toBe("200");
  });

  it("takes a form, and refuses a file of another checksum for good", async () => {
    service = await ServeProcess.start();
    expect(await statusCode("-F", `file=@${disk}`, await uploadUrl("form"))).toBe("200");
    expect(await storedDigest("form")).toBe(sha256(bytes));

    const wrong = await uploadUrl("wrong", { checksum: { md5: "0".repeat(32) } });
    expect(await statusCode("-T", disk, wrong)).toBe("422");
    const failed = await until("wrong", "Failed");
    const ready = failed.status?.conditions?.find(({ type }) => type === "Ready");
    expect(ready).toMatchObject({ reason: "ProvisioningFailedTerminally", status: "False" });
    expect(ready?.message).toContain("md5 sum mismatch");
    expect(await statusCode(wrong)).toBe("404");
  });

  it("goes on where a cut upload stopped, by Content-Range and by tus", async () => {
    service = await ServeProcess.start();
    const half = join(directory.path, "half");
    const rest = join(directory.path, "rest");
    await writeFile(half, bytes.subarray(0, 5 << 20));
    await writeFile(rest, bytes.subarray(5 << 20));

    const byRange = await uploadUrl("range");
    expect(await statusCode("-H", `Content-Range: bytes 0-${(5 << 20) - 1}/${bytes.length}`, "-T", half, byRange)).toBe(
      "202",
    );
    const running = await until("range", "Provisioning");
    expect(running.status?.imageUploadURLs?.external).toBe(byRange);
    const { stdout: head } = await curl("-I", byRange).done;
    expect(head).toMatch(new RegExp(`^upload-offset: ${5 << 20}\r$`, "m"));
    expect(
      await statusCode(
        "-H",
        `Content-Range: bytes ${5 << 20}-${bytes.length - 1}/${bytes.length}`,
        "-T",
        rest,
        byRange,
      ),
    ).toBe("200");
    expect(await storedDigest("range")).toBe(sha256(bytes));

    const byTus = await uploadUrl("tus");
    const tus = ["-H", "Tus-Resumable: 1.0.0"];
    const { stdout: created } = await curl(
      "-i",
      "-X",
      "POST",
      ...tus,
      "-H",
      `Upload-Length: ${bytes.length}`,
      "-H",
      "Content-Length: 0",
      byTus,
    ).done;
    const location = /^location: (\?tus=\S+)\r$/m.exec(created)?.[1] ?? "";
    const part = [...tus, "-X", "PATCH", "-H", "Content-Type: application/offset+octet-stream"];
    expect(
      await statusCode(...part, "-H", "Upload-Offset: 0", "--data-binary", `@${half}`, `${byTus}${location}`),
    ).toBe("204");
    expect(
      await statusCode(...part, "-H", `Upload-Offset: ${5 << 20}`, "--data-binary", `@${rest}`, `${byTus}${location}`),
    ).toBe("204");
    expect(await storedDigest("tus")).toBe(sha256(bytes));
  });

  it("survives a kill in the middle: the same URL waits for the file again", async () => {
    service = await ServeProcess.start();
    const url = await uploadUrl("killed");
    const upload = curl("--limit-rate", "2M", "-T", disk, url);
    await until("killed", "Provisioning");
    await service.stop("SIGKILL");
    await upload.done;
    await service.startAgain();
    await until("killed", "WaitForUserUpload");
    expect(await statusCode("-T", disk, url)).toBe("200");
    expect(await storedDigest("killed")).toBe(sha256(bytes));
  });

  it("refuses a file that is larger than allowed, before its bytes and while they come", async () => {
    const config = join(directory.path, "config.yaml");
    await writeFile(config, "maxUploadSize: 8Mi\n");
    service = await ServeProcess.start("--config", config);
    const url = await uploadUrl("large");
    expect(await statusCode("-T", disk, url)).toBe("413");
    expect((await imageAt("large")).status?.phase).toBe("WaitForUserUpload");
    const chunked = curl("-o", join(directory.path, "answer"), "-w", "%{http_code}", "-T", "-", url);
    await chunked.write(bytes);
    chunked.end();
    expect((await chunked.done).stdout).toBe("413");
    await until("large", "Failed");
  });
});
