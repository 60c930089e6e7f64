import { appendFile, mkdtemp, open, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { catalogue } from "../src/errors/catalogue.ts";
import { dvcr, dvcrImport } from "./support/cli.ts";
import { patternBytes, truncatedCopy } from "./support/disks.ts";
import { startExecutable, type PodExecutable } from "./support/executable.ts";
import { curl } from "./support/pod.ts";
import { makeInputs, nested, refusals, type Inputs } from "./support/refusals.ts";
import { startRegistry, testUser, type TestRegistry } from "./support/registry.ts";
import { tool } from "./support/tools.ts";

const exitCodes = { retry: 1, usage: 2, refused: 3 } as const;

let directory: string;
let inputs: Inputs;
let registry: TestRegistry;
let uploader: PodExecutable | undefined;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-refusals-"));
  inputs = await makeInputs(directory);
  registry = await startRegistry();
});

afterAll(async () => {
  await registry.stop();
  await rm(directory, { recursive: true, force: true });
});

// One that a failed test left waiting.
afterEach(() => uploader?.signal("SIGKILL"));

const quiet = ["import", "--quiet", "--dest-tls-verify=false"];

/** Starts bin/dvcr-uploader for a repository of `at` and gives the URL of /upload. */
async function startUploader(
  repository: string,
  environment: Readonly<Record<string, string>> = {},
  at = registry,
): Promise<string> {
  uploader = startExecutable("dvcr-uploader", directory, {
    LISTEN_ADDRESS: "127.0.0.1",
    LISTEN_PORT: "0",
    HEALTHZ_PORT: "0",
    UPLOADER_DESTINATION_ENDPOINT: `${at.host}/${repository}:1`,
    DESTINATION_INSECURE_TLS: "true",
    ...environment,
  });
  const { uploadPort } = await uploader.logged("waiting for an upload");
  return `http://127.0.0.1:${String(uploadPort)}/upload`;
}

/** No tag, no manifest, no blob that belongs to the repository, and no upload that was begun. */
async function expectNothing(repository: string, at = registry): Promise<void> {
  expect(await at.content(repository)).toEqual({ tags: [], manifests: [], layers: [], sessions: [] });
}

describe("bad input", () => {
  it.each(refusals)(
    "$name ends `dvcr import` with its code and exit code and leaves nothing in the registry",
    async ({ name, make, flags = [], code, reason }) => {
      const repository = `cli/${name.toLowerCase().replace(/[^a-z0-9]+/g, "")}`;
      const finished = await dvcr([
        ...quiet,
        ...flags,
        await make(inputs),
        `docker://${registry.host}/${repository}:1`,
      ]);

      const [line, ...more] = finished.stderr.split("\n");
      expect(line).toContain(`${code}: `);
      expect(line!.indexOf(code)).toBe(0);
      expect(line!.slice(code.length + 2)).toMatch(reason);
      expect(line!.endsWith(catalogue[code].fix)).toBe(true);
      expect(more).toEqual([""]);
      expect({ code: finished.code, stdout: finished.stdout }).toEqual({
        code: exitCodes[catalogue[code].kind],
        stdout: "",
      });
      await expectNothing(repository);
    },
  );

  it.each(refusals.filter(({ code }) => code !== "E_EMPTY"))(
    "$name is answered to curl with status and reason and leaves nothing in the registry",
    async ({ name, make, environment = {}, code, reason }) => {
      const repository = `upload/${name.toLowerCase().replace(/[^a-z0-9]+/g, "")}`;
      const url = await startUploader(repository, environment);
      const { stdout } = await curl("-w", "%{http_code}", "-T", await make(inputs), url).done;

      const [line, status] = stdout.split("\n");
      expect(line!.slice(0, code.length + 2)).toBe(`${code}: `);
      expect(line!.slice(code.length + 2)).toMatch(reason);
      expect(status).toBe(String(catalogue[code].status));
      expect(await uploader!.exit).toBe(0);
      expect(uploader!.message()["error-message"]).toMatch(new RegExp(`^${code}: `));
      await expectNothing(repository);
    },
  );

  it("an empty file is answered to curl, leaves nothing in the registry, and the next file is taken", async () => {
    const url = await startUploader("upload/empty");
    const empty = join(directory, "empty-upload");
    await writeFile(empty, "");
    const { stdout } = await curl("-w", "%{http_code}", "-T", empty, url).done;
    expect(stdout).toMatch(/^E_EMPTY: .*\n422$/);
    await expectNothing("upload/empty");
    expect((await curl("-f", "-T", inputs.qcow2, url).done).code).toBe(0);
    expect(await uploader!.exit).toBe(0);
    expect(await registry.tags("upload/empty")).toEqual(["1"]);
  });

  it("an OVA whose disk is a text, and an OVF descriptor alone, are no disks", async () => {
    const at = (name: string) => join(directory, name);
    const file = `<References><File ovf:id="f" ovf:href="text.vmdk"/></References>`;
    const disks = `<DiskSection><Disk ovf:diskId="d" ovf:fileRef="f" ovf:capacity="1"/></DiskSection>`;
    const namespace = "http://schemas.dmtf.org/ovf/envelope/1";
    const open = `<Envelope xmlns="${namespace}" xmlns:ovf="${namespace}">`;
    await writeFile(at("text.vmdk"), "abc\n");
    await writeFile(at("text.ovf"), `<?xml version="1.0"?>${open}${file}${disks}</Envelope>`);
    await tool("tar", "--format=ustar", "-C", directory, "-cf", at("text.ova"), "text.ovf", "text.vmdk");
    for (const [name, what] of [
      ["text.ova", "this is a text"],
      ["text.ovf", "this is an OVF descriptor: it names the disk and does not hold it"],
    ] as const) {
      const { code, stderr } = await dvcr(["import", at(name), `oci:${at("no-disk")}:1`]);
      expect([code, stderr]).toEqual([3, expect.stringContaining(`E_NOT_A_DISK: ${what}`)]);
    }
  });

  it("60 % of a qcow2 in a chunked body that ends well is refused", async () => {
    const url = await startUploader("upload/chunked");
    const upload = curl("-w", "%{http_code}", "-T", "-", url);
    await upload.write(await readFile(await truncatedCopy(inputs.qcow2, join(directory, "chunked.part"), 0.6)));
    upload.end();
    expect((await upload.done).stdout).toMatch(/^E_TRUNCATED: .*\n422$/);
    await expectNothing("upload/chunked");
  });

  it("a refusal in the middle of a body of 96 MiB is printed by curl, with known and with unknown length", async () => {
    const large = join(directory, "large.qcow2");
    await tool("cp", await refusals.find(({ code }) => code === "E_CORRUPT_CLUSTER")!.make(inputs), large);
    const file = await open(large, "r+");
    await file.write(patternBytes(1 << 20, 3), 0, 1 << 20, 95 << 20);
    await file.close();
    for (const args of [
      ["-T", large],
      ["-T", "-"],
    ]) {
      const url = await startUploader("upload/large");
      const upload = curl("-w", "%{http_code}", ...args, url);
      if (args[1] === "-") await upload.write(await readFile(large));
      upload.end();
      const { stdout, code } = await upload.done;
      expect(stdout).toMatch(/^E_CORRUPT_CLUSTER: .*\n422$/);
      expect(code).toBe(0);
      await expectNothing("upload/large");
    }
  });
});

describe("what looks bad but is not", () => {
  it("zeros behind a gzip stream are accepted", async () => {
    const path = join(directory, "padded.gz");
    await tool("sh", "-c", 'gzip -1 < "$1" > "$2"', "sh", inputs.raw, path);
    await appendFile(path, Buffer.alloc(10_000));
    const report = await dvcrImport(path, `docker://${registry.host}/good/padded:1`);
    expect(report).toMatchObject({ sourceFormat: "raw", virtualSize: 24 << 20 });
  });

  it("a disk whose content is a qcow2 is accepted with --allow-nested", async () => {
    const report = await dvcrImport(await nested(inputs), `docker://${registry.host}/good/nested:1`, "--allow-nested");
    expect(report).toMatchObject({ sourceFormat: "qcow2" });
  });
});

describe("a registry that does not take the image", () => {
  it("that denies access: E_REGISTRY_DENIED, exit code 3, status 502", async () => {
    await using denying = await startRegistry({ auth: true });
    const finished = await dvcr([
      ...quiet,
      "--dest-creds",
      `${testUser.name}:wrong`,
      inputs.qcow2,
      `docker://${denying.host}/r:1`,
    ]);
    expect(finished.stderr).toMatch(/^E_REGISTRY_DENIED: .*\n$/);
    expect(finished.stderr).not.toContain("wrong");
    expect(finished.code).toBe(3);
    const url = await startUploader(
      "r",
      { UPLOADER_DESTINATION_ACCESS_KEY_ID: testUser.name, UPLOADER_DESTINATION_SECRET_KEY: "wrong" },
      denying,
    );
    expect((await curl("-w", "%{http_code}", "-T", inputs.qcow2, url).done).stdout).toMatch(
      /^E_REGISTRY_DENIED: .*\n502$/,
    );
    await expectNothing("r", denying);
  });

  it("that is read-only: E_REGISTRY_READONLY, exit code 1", async () => {
    await using readonly = await startRegistry({ readonly: true });
    const finished = await dvcr([...quiet, "--retry-time", "1", inputs.qcow2, `docker://${readonly.host}/r:1`]);
    expect(finished.stderr.trimEnd().split("\n").at(-1)).toMatch(/^E_REGISTRY_READONLY: /);
    expect(finished.code).toBe(1);
    await expectNothing("r", readonly);
  });

  // The session stays: docker-registry 2.8 itself refuses to touch an upload that its full disk cut short ("resumed at
  // wrong offset"), whatever the method. Its upload purging removes such ones.
  it("that is full: E_REGISTRY_FULL, exit code 3, status 507, and no image", async () => {
    const storage = await mkdtemp(join(tmpdir(), "dvcr-full-"));
    await tool("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", storage).catch((error: unknown) => {
      throw new Error(`this test mounts a tmpfs, which needs root (CAP_SYS_ADMIN): ${String(error)}`);
    });
    try {
      await using full = await startRegistry({ storage });
      const finished = await dvcr([...quiet, inputs.qcow2, `docker://${full.host}/r:1`]);
      expect(finished.stderr).toMatch(/^E_REGISTRY_FULL: .*\n$/);
      expect(finished.code).toBe(3);
      const empty = { tags: [], manifests: [], layers: [] };
      expect(await full.content("r")).toMatchObject(empty);
      const url = await startUploader("r", {}, full);
      expect((await curl("-w", "%{http_code}", "-T", inputs.qcow2, url).done).stdout).toMatch(
        /^E_REGISTRY_FULL: .*\n507$/,
      );
      expect(await full.content("r")).toMatchObject(empty);
    } finally {
      await tool("umount", "-l", storage);
      await rm(storage, { recursive: true });
    }
  });
});

describe("wrong usage", () => {
  it("is told with all of its problems at once and exit code 2", async () => {
    const finished = await dvcr([
      "import",
      "--checksum",
      "md5:xyz",
      "--compression",
      "lzo",
      "--max-virtual-size",
      "much",
      "--no-such-flag",
      inputs.qcow2,
    ]);
    expect(finished.stderr).toMatch(/^E_USAGE: .*\n$/);
    for (const named of ["--checksum", "--compression", "--max-virtual-size", "--no-such-flag", "destination"])
      expect(finished.stderr).toContain(named);
    expect([finished.code, finished.stdout]).toEqual([2, ""]);
  });

  it("is told for an unknown command and for endpoints of an unknown kind", async () => {
    expect(await dvcr(["explode"])).toMatchObject({ code: 2, stderr: expect.stringMatching(/explode/) as string });
    const both = await dvcr(["import", "ftp://example.com/disk", "nowhere"]);
    expect(both).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/^E_USAGE: (?=.*ftp)(?=.*destination).*\n$/) as string,
    });
  });
});

describe("dvcr inspect", () => {
  const inspected = refusals.filter(({ code }) =>
    ["E_BACKING_FILE", "E_ENCRYPTED", "E_EMPTY", "E_UNSUPPORTED_FEATURE", "E_DECODER_MEMORY"].includes(code),
  );

  it.each(inspected)("says why $name is refused, as text and as JSON", async ({ make, flags = [], code, reason }) => {
    const path = await make(inputs);
    const text = await dvcr(["inspect", ...flags, path]);
    expect(text).toMatchObject({
      code: 3,
      stdout: "",
      stderr: expect.stringMatching(new RegExp(`^${code}: .*\n$`)) as string,
    });
    const json = await dvcr(["inspect", "--json", ...flags, path]);
    expect(json.code).toBe(3);
    expect(JSON.parse(json.stdout)).toEqual({
      filename: path,
      refused: { code, reason: expect.stringMatching(/./) as string, fix: catalogue[code].fix },
    });
    expect(`${(JSON.parse(json.stdout) as { refused: { reason: string } }).refused.reason}. `).toMatch(reason);
  });

  it("ends with 2 for wrong usage and with 3 for a file that is not there", async () => {
    expect((await dvcr(["inspect"])).code).toBe(2);
    expect(await dvcr(["inspect", join(directory, "missing")])).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/^E_SOURCE_NOT_FOUND: /) as string,
    });
  });
});
