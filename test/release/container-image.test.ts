import { execFileSync } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import {
  destinationSecret,
  importerEnvironment,
  terminationMessage,
  uploaderEnvironment,
} from "../support/controller.ts";
import { freePort } from "../support/ports.ts";
import { makeRawDisk, qemuConvert, qemuRawDigest } from "../support/disks.ts";
import { curl } from "../support/pod.ts";
import { pullDisk } from "../support/pulled.ts";
import { startRegistry, testUser, type TestRegistry } from "../support/registry.ts";
import { startSealed } from "../support/sealed.ts";
import { tool } from "../support/tools.ts";

const version = "0.1.0";
const buildTimeout = 600_000;
let directory: string;
let layout: string;
let image: string;
let disk: string;
let registry: TestRegistry;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-image-"));
  layout = join(directory, "layout");
  image = join(directory, "root");
  // Its own words are the reason when it fails: no buildah, no package lists, no npm.
  execFileSync(process.execPath, ["scripts/image.mjs", `--output=${layout}`], {
    cwd: new URL("../..", import.meta.url),
    stdio: ["ignore", "inherit", "inherit"],
  });
  await tool("umoci", "raw", "unpack", "--image", `${layout}:${version}`, image);
  disk = await qemuConvert(
    await makeRawDisk(join(directory, "disk.raw"), 48),
    join(directory, "disk.qcow2"),
    "-O",
    "qcow2",
  );
  registry = await startRegistry({ auth: true, tls: true });
}, buildTimeout);

afterAll(async () => {
  await registry.stop();
  await rm(directory, { recursive: true, force: true });
});

const pulledDigest = async (repository: string): Promise<string> =>
  (
    await pullDisk(
      `docker://${registry.host}/${repository}:0a1b`,
      directory,
      "--src-creds",
      `${testUser.name}:${testUser.password}`,
    )
  ).digest;

/** One import of the disk as a pod of the image; gives its termination message. */
async function importWith(streebog256: string): Promise<Record<string, unknown>> {
  const pod = startSealed("dvcr-importer", {
    image,
    files: destinationSecret(registry),
    volume: disk,
    environment: {
      ...importerEnvironment("filesystem", "", `${registry.host}/vi/ns/image:0a1b`),
      IMPORTER_FILESYSTEM: "/tmp/fs",
      IMPORTER_CHECKSUMS: `streebog256:${streebog256}`,
      DVCR_METRICS_PORT: String(await freePort()),
    },
  });
  try {
    expect(await pod.exit).toBe(0);
    return terminationMessage(pod.terminationLog);
  } finally {
    pod.dispose();
  }
}

describe("the container image", () => {
  it("says what it is, and runs as uid 64535", async () => {
    const { config } = JSON.parse(await tool("skopeo", "inspect", "--config", `oci:${layout}:${version}`)) as {
      config: { User: string; WorkingDir: string; Labels: Record<string, string> };
    };
    expect(config).toMatchObject({ User: "64535:64535", WorkingDir: "/" });
    expect(config.Labels).toMatchObject({
      "org.opencontainers.image.title": "dvcr-data-plane",
      "org.opencontainers.image.version": version,
    });
  });

  it("holds at most 120 MB beside Node, no shell and no development package", async () => {
    const kilobytes = async (path: string): Promise<number> => Number((await tool("du", "-sk", path)).split("\t")[0]);
    expect((await kilobytes(image)) - (await kilobytes(join(image, "usr/local/bin/node")))).toBeLessThan(120_000);
    const names = await readdir(image, { recursive: true });
    expect(
      names.filter(
        (name) => /(?:^|\/)(?:sh|bash|dash|busybox|apt-get|npm)$/.test(name) && !name.includes("node_modules/"),
      ),
    ).toEqual([]);
    const modules = await readdir(join(image, "opt/dvcr/node_modules"));
    expect(modules).toContain("undici");
    for (const development of ["typescript", "vitest", "eslint"]) expect(modules).not.toContain(development);
    expect(names).toEqual(
      expect.arrayContaining(["dvcr-src-auth", "dvcr-auth", "certs", "proxycerts", "data", "scratch", "shared", "tmp"]),
    );
  });

  it("imports a disk with a read-only root as an unprivileged user", async () => {
    // The first sum is wrong and tells the right one: libgcrypt of the image has been loaded and used.
    const refused = await importWith("0".repeat(64));
    const sum = /streebog256 sum mismatch: 0{64} != ([0-9a-f]{64})/.exec(String(refused["error-message"]))?.[1] ?? "";
    expect(await importWith(sum)).not.toHaveProperty("error-message");
    expect(await pulledDigest("vi/ns/image")).toBe(await qemuRawDigest(disk, directory));
  });

  it("stores an upload with a read-only root as an unprivileged user", async () => {
    const port = await freePort();
    const pod = startSealed("dvcr-uploader", {
      image,
      files: destinationSecret(registry),
      environment: {
        ...uploaderEnvironment(`${registry.host}/cvi/image:0a1b`),
        LISTEN_PORT: String(port),
        HEALTHZ_PORT: String(await freePort()),
        DVCR_METRICS_PORT: String(await freePort()),
      },
    });
    await pod.logged("waiting for an upload");
    expect((await curl("-T", disk, `http://127.0.0.1:${port}/upload`).done).stdout).toMatch(/^stored /);
    expect(await pod.exit).toBe(0);
    pod.dispose();
    expect(await pulledDigest("cvi/image")).toBe(await qemuRawDigest(disk, directory));
  });
});
