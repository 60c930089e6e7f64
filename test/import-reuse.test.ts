import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

import { dvcrImport } from "./support/cli.ts";
import { fileDigest, makeRawDisk, qemuConvert } from "./support/disks.ts";
import { Origin } from "./support/origin.ts";
import { pullDisk } from "./support/pulled.ts";
import { startRegistry, type TestRegistry } from "./support/registry.ts";
import { tool } from "./support/tools.ts";

let directory: string;
let raw: string;
let image: string;
let sum: string;
let registry: TestRegistry;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-reuse-"));
  raw = await makeRawDisk(join(directory, "disk.raw"), 24);
  image = await qemuConvert(raw, join(directory, "disk.qcow2"), "-O", "qcow2");
  sum = await fileDigest(image);
  registry = await startRegistry();
});

afterAll(async () => {
  await registry.stop();
  await rm(directory, { recursive: true });
});

test.each(["oci", "docker"])("a known checksum is tagged and nothing is downloaded (%s manifest)", async (manifest) => {
  const repository = `${registry.host}/${manifest}`;
  await using origin = await Origin.start(readFileSync(image));
  const flags = ["--reuse", "--manifest", manifest, "--checksum", `sha256:${sum}`];
  const first = await dvcrImport(`${origin.url}/disk`, `docker://${repository}:one`, ...flags);
  expect(first.layerPushed).toBe(true);
  const requests = origin.seen.length;
  const second = await dvcrImport(`${origin.url}/disk`, `docker://${repository}:two`, ...flags);
  const same = {
    manifestDigest: first.manifestDigest,
    layerDigest: first.layerDigest,
    diffId: first.diffId,
    virtualSize: first.virtualSize,
    storedSize: first.storedSize,
  };
  expect(second).toMatchObject({
    ...same,
    sourceFormat: "qcow2",
    format: "raw",
    sourceSize: first.sourceSize,
    checksums: { sha256: sum },
    layerPushed: false,
    sizeFrom: "reused",
  });
  expect(origin.seen).toHaveLength(requests);
  expect((await pullDisk(`docker://${repository}:two`, directory)).digest).toBe(await fileDigest(raw));
  expect(await registry.sessions(manifest)).toEqual([]);
});

test("without --reuse, with another checksum or with other options the source is read", async () => {
  const to = `docker://${registry.host}/other`;
  const known = ["--checksum", `sha256:${sum}`];
  await dvcrImport(image, `${to}:one`, ...known);
  for (const [tag, flags] of [
    ["plain", known],
    ["packed", [...known, "--reuse", "--compression", "zstd"]],
    ["declared", [...known, "--reuse", "--src-format", "qcow2"]],
  ] as const) {
    expect(await dvcrImport(image, `${to}:${tag}`, ...flags), tag).toMatchObject({ sizeFrom: "header" });
  }
  expect(await dvcrImport(image, `${to}:again`, ...known, "--reuse")).toMatchObject({ sizeFrom: "reused" });
});

test("the source's digest is recorded only where it was asked for", async () => {
  const labels = async (tag: string, ...flags: string[]): Promise<Record<string, string>> => {
    await dvcrImport(image, `docker://${registry.host}/labels:${tag}`, ...flags);
    return (
      JSON.parse(await tool("skopeo", "inspect", "--tls-verify=false", `docker://${registry.host}/labels:${tag}`)) as {
        Labels: Record<string, string>;
      }
    ).Labels;
  };
  expect(Object.keys(await labels("plain")).filter((key) => key.includes("source-sha"))).toEqual([]);
  expect(await labels("reuse", "--reuse")).toMatchObject({ "io.deckhouse.dvcr.source-sha256": sum });
});
