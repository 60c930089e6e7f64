import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { OciLayoutDestination } from "../src/destination/oci.ts";
import { parseDestination } from "../src/destination/parse.ts";
import { ownKeys } from "../src/layer/image-config.ts";
import { hexOf, sampleImage, storeSample, writeAll, type SampleImage } from "./support/sample-image.ts";
import { temporaryDirectory, tool } from "./support/tools.ts";

const { signal } = new AbortController();

async function store(directory: string, tag: string, sample: SampleImage): Promise<OciLayoutDestination> {
  const destination = new OciLayoutDestination(directory, tag);
  await storeSample(destination, sample);
  return destination;
}

const tags = async (directory: string): Promise<string[]> => {
  const index = JSON.parse(await readFile(join(directory, "index.json"), "utf8")) as {
    manifests: { annotations: Record<string, string> }[];
  };
  return index.manifests.map((entry) => entry.annotations["org.opencontainers.image.ref.name"] ?? "").sort();
};

test("umoci and skopeo read the disk back from an OCI layout", async () => {
  await using work = await temporaryDirectory();
  const layout = join(work.path, "layout");
  const sample = await sampleImage();
  await store(layout, "v1", sample);
  const inspected = JSON.parse(await tool("skopeo", "inspect", `oci:${layout}:v1`)) as {
    Digest: string;
    Labels: Record<string, string>;
  };
  expect(inspected.Digest).toBe(sample.image.manifestDigest);
  expect(inspected.Labels["source-image-virtual-size"]).toBe(String(sample.disk.length));
  await tool("umoci", "unpack", "--rootless", "--image", `${layout}:v1`, join(work.path, "bundle"));
  expect(hexOf(await readFile(join(work.path, "bundle/rootfs/disk/disk.img")))).toBe(hexOf(sample.disk));
  expect(await readdir(layout)).toEqual(["blobs", "index.json", "oci-layout"]);
});

test("other tags stay, the same tag is replaced, and what stands at a tag can be asked for", async () => {
  await using work = await temporaryDirectory();
  const [first, second] = [await sampleImage(), await sampleImage()];
  await store(work.path, "a", first);
  await store(work.path, "b", first);
  const destination = await store(work.path, "a", second);
  expect(await tags(work.path)).toEqual(["a", "b"]);
  expect(await destination.current(signal)).toMatchObject({
    manifestDigest: second.image.manifestDigest,
    layers: [{ digest: second.layerDigest, size: second.layer.length }],
    labels: { [ownKeys.encoder]: "test:1" },
    annotations: { [ownKeys.compression]: "gzip" },
  });
  expect(await new OciLayoutDestination(work.path, "c").current(signal)).toBeUndefined();
  expect(await new OciLayoutDestination(join(work.path, "none"), "c").current(signal)).toBeUndefined();
});

test("imports into one layout at the same time all get their tag", async () => {
  await using work = await temporaryDirectory();
  const sample = await sampleImage("oci", 5000);
  await Promise.all(["a", "b", "c", "d", "e"].map((tag) => store(work.path, tag, sample)));
  expect(await tags(work.path)).toEqual(["a", "b", "c", "d", "e"]);
});

test.each([
  ["of another number", 999_999_999],
  ["of our own number, as in a container", process.pid],
])("a lock left by a process that died is taken over: %s", async (_, pid) => {
  await using work = await temporaryDirectory();
  await writeFile(
    join(work.path, "index.json.lock"),
    `${pid} ${(await tool("hostname")).trim()} 00000000-0000-4000-8000-000000000000\n`,
  );
  await store(work.path, "v1", await sampleImage("oci", 5000));
  expect(await tags(work.path)).toEqual(["v1"]);
  expect(await readdir(work.path)).toEqual(["blobs", "index.json", "oci-layout"]);
});

test("an aborted layer leaves no directory, no file and no tag", async () => {
  await using work = await temporaryDirectory();
  const destination = new OciLayoutDestination(join(work.path, "deep/er"), "v1");
  const upload = await destination.beginLayer(signal);
  await writeAll(upload, Buffer.alloc(100_000));
  await upload.abort();
  await upload.abort();
  expect(await readdir(work.path)).toEqual([]);
  await expect(upload.write(Buffer.alloc(1))).rejects.toMatchObject({ code: "E_CANCELLED" });
});

test("a cancelled import stops writing", async () => {
  await using work = await temporaryDirectory();
  const cancel = new AbortController();
  const upload = await new OciLayoutDestination(work.path, "v1").beginLayer(cancel.signal);
  cancel.abort();
  await expect(upload.write(Buffer.alloc(10))).rejects.toMatchObject({ code: "E_CANCELLED" });
  await expect(upload.commit(`sha256:${"0".repeat(64)}`, 10)).rejects.toMatchObject({ code: "E_CANCELLED" });
  await upload.abort();
  expect(await readdir(work.path)).toEqual([]);
});

test("a directory that cannot be written is E_LAYOUT_IO and names the reason", async () => {
  await using work = await temporaryDirectory();
  await writeFile(join(work.path, "file"), "");
  const begin = new OciLayoutDestination(join(work.path, "file/layout"), "v1").beginLayer(signal);
  await expect(begin).rejects.toMatchObject({
    code: "E_LAYOUT_IO",
    message: expect.stringContaining("ENOTDIR") as string,
  });
  await mkdir(join(work.path, "future"));
  await writeFile(join(work.path, "future/oci-layout"), `{"imageLayoutVersion":"2.0.0"}`);
  await expect(new OciLayoutDestination(join(work.path, "future"), "v1").beginLayer(signal)).rejects.toMatchObject({
    code: "E_LAYOUT_IO",
  });
  await writeFile(join(work.path, "index.json"), "not json");
  await expect(new OciLayoutDestination(work.path, "v1").current(signal)).rejects.toMatchObject({
    code: "E_LAYOUT_IO",
  });
});

test("destinations are parsed strictly", () => {
  expect(parseDestination("oci:/some/dir:v1")).toEqual({ kind: "oci", directory: "/some/dir", tag: "v1" });
  expect(parseDestination("oci:dir:localhost:5000/x:v1")).toMatchObject({
    directory: "dir",
    tag: "localhost:5000/x:v1",
  });
  expect(parseDestination("docker://host:5000/a/b:v1")).toEqual({
    kind: "docker",
    reference: { host: "host:5000", repository: "a/b", tag: "v1" },
  });
  expect(parseDestination("docker://ubuntu")).toMatchObject({
    reference: { host: "docker.io", repository: "library/ubuntu", tag: "latest" },
  });
  const wrong = [
    "oci:dir",
    "oci::v1",
    "oci:dir:",
    "oci:dir:bad tag",
    "file:/x",
    "host/repo:tag",
    "docker://",
    "docker://host/UP:v1",
  ];
  for (const text of [...wrong, `docker://host/a@sha256:${"0".repeat(64)}`]) {
    expect(() => parseDestination(text), text).toThrow(expect.objectContaining({ code: "E_USAGE" }) as Error);
  }
});
