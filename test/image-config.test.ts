import { extract } from "tar-stream";
import { expect, test } from "vitest";
import {
  buildImage,
  createdAt,
  layerMediaType,
  ownKeys,
  sha256Digest,
  type ImageInput,
} from "../src/layer/image-config.ts";
import { tarFrame } from "../src/layer/tar-frame.ts";
import { sampleImage } from "./support/sample-image.ts";
import { temporaryDirectory, tool } from "./support/tools.ts";
import { readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";

const input: ImageInput = {
  kind: "oci",
  compression: "zstd",
  layerDigest: `sha256:${"1".repeat(64)}`,
  layerSize: 1000,
  diffId: `sha256:${"2".repeat(64)}`,
  format: "raw",
  virtualSize: 4096,
  sourceSize: 800,
  encoderId: "zstd:1.5.4:1:1MiB",
};

const parse = (bytes: Uint8Array) => JSON.parse(Buffer.from(bytes).toString()) as Record<string, never>;

test("the same input gives the same image, byte for byte, and no wall clock", () => {
  expect(buildImage(input)).toEqual(buildImage({ ...input }));
  expect(buildImage(input).manifestDigest).toBe(
    "sha256:8dee7625b11e99e6e29a663259ada88dde6064d29dafd8c2f417cea0a8200513",
  );
  expect(parse(buildImage(input).config)).toMatchObject({ created: "1970-01-01T00:00:00Z" });
});

test("the config carries the platform's labels and our own", () => {
  const config = parse(buildImage(input).config) as unknown;
  expect(config).toMatchObject({
    architecture: "amd64",
    os: "linux",
    author: "DVCR client",
    config: {
      WorkingDir: "/",
      Labels: {
        "source-image-size": "1000",
        "source-image-virtual-size": "4096",
        "source-image-format": "raw",
        "erofs-compatible-layers": "true",
        [ownKeys.encoder]: "zstd:1.5.4:1:1MiB",
        [ownKeys.compression]: "zstd",
        [ownKeys.format]: "raw",
        [ownKeys.sourceSize]: "800",
      },
    },
    history: [{ author: "DVCR client", comment: "streamed from the datasource" }],
    rootfs: { type: "layers", diff_ids: [input.diffId] },
  });
});

test("an OCI manifest has OCI types and annotations, a docker manifest docker types and none", () => {
  const oci = buildImage(input);
  expect(parse(oci.manifest)).toMatchObject({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: {
      mediaType: "application/vnd.oci.image.config.v1+json",
      digest: oci.configDigest,
      size: oci.config.byteLength,
    },
    layers: [{ mediaType: "application/vnd.oci.image.layer.v1.tar+zstd", digest: input.layerDigest, size: 1000 }],
    annotations: { [ownKeys.encoder]: "zstd:1.5.4:1:1MiB" },
  });
  expect(oci.manifestDigest).toBe(sha256Digest(oci.manifest));
  const docker = parse(buildImage({ ...input, kind: "docker" }).manifest);
  expect(docker).toMatchObject({
    mediaType: "application/vnd.docker.distribution.manifest.v2+json",
    config: { mediaType: "application/vnd.docker.container.image.v1+json" },
    layers: [{ mediaType: "application/vnd.docker.image.rootfs.diff.tar" }],
  });
  expect(docker).not.toHaveProperty("annotations");
  expect(layerMediaType("docker", "gzip")).toBe("application/vnd.docker.image.rootfs.diff.tar.gzip");
});

test("SOURCE_DATE_EPOCH sets the creation time", () => {
  expect(createdAt(1700000000)).toBe("2023-11-14T22:13:20Z");
  expect(parse(buildImage({ ...input, created: createdAt(1700000000) }).config)).toMatchObject({
    created: "2023-11-14T22:13:20Z",
  });
});

test.each([0, 1, 511, 512, 513, 8 * 2 ** 30 - 1, 8 * 2 ** 30, 2 ** 43 + 7])(
  "the tar frame of a disk of %d bytes ends on a block",
  async (size) => {
    const { head, tail } = await tarFrame(size);
    expect(head.byteLength).toBe(1024);
    expect((size + tail.byteLength) % 512).toBe(0);
    expect(tail.byteLength).toBe(((512 - (size % 512)) % 512) + 1024);
    expect(tail.every((byte) => byte === 0)).toBe(true);
    expect(Buffer.from(head.subarray(257, 263)).toString("latin1")).toBe("ustar\0");
    expect(await sizeInHeader(head)).toBe(size);
  },
);

test("GNU tar unpacks disk/disk.img with its modes, owner and time", async () => {
  await using directory = await temporaryDirectory();
  const { disk } = await sampleImage("oci", 1000);
  const { head, tail } = await tarFrame(disk.length);
  const path = join(directory.path, "layer.tar");
  await writeFile(path, Buffer.concat([head, disk, tail]));
  const listing = await tool("tar", "--utc", "--full-time", "-tvf", path);
  expect(listing.replaceAll(/ +/g, " ").trim().split("\n")).toEqual([
    "drwxr-xr-x 64535/64535 0 1970-01-01 00:00:00 disk",
    "-rw-r--r-- 64535/64535 1000 1970-01-01 00:00:00 disk/disk.img",
  ]);
  await tool("tar", "--no-same-owner", "-C", directory.path, "-xf", path);
  expect(await readFile(join(directory.path, "disk/disk.img"))).toEqual(disk);
  expect((await stat(join(directory.path, "disk/disk.img"))).mode & 0o777).toBe(0o644);
});

function sizeInHeader(head: Uint8Array): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const reader = extract();
    reader.on("entry", (header, stream, next) => {
      stream.on("error", () => {});
      if (header.name === "disk/disk.img") resolve(header.size);
      else next();
    });
    reader.on("error", reject);
    reader.write(head);
  });
}
