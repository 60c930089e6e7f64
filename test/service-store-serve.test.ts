/** The store for images behind a running `dvcr serve`: pulled from, cleaned, killed. */
import { execFile } from "node:child_process";
import { readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

import { EmbeddedPlace } from "../src/service/images/embedded-place.ts";
import type { ImageObject } from "../src/service/model/image.ts";
import { textDisk } from "./support/disks.ts";
import { Origin } from "./support/origin.ts";
import { pullDisk } from "./support/pulled.ts";
import { hexOf, sampleImage, storeSample } from "./support/sample-image.ts";
import { ServeProcess } from "./support/service-serve.ts";
import { imageDraft } from "./support/service-store-contract.ts";
import { temporaryDirectory } from "./support/tools.ts";

const collection = "/apis/virtualization.deckhouse.io/v1alpha2/clustervirtualimages";

async function ready(serve: ServeProcess, name: string): Promise<ImageObject> {
  let image: ImageObject | undefined;
  await expect
    .poll(async () => (image = await serve.json<ImageObject>(`${collection}/${name}`)).status?.phase, {
      timeout: 60_000,
      interval: 200,
    })
    .toBe("Ready");
  return image!;
}

const gc = (serve: ServeProcess, ...args: string[]): Promise<string> =>
  new Promise((resolve, reject) => {
    const dvcr = fileURLToPath(new URL("../bin/dvcr", import.meta.url));
    execFile(dvcr, ["gc", ...args, "--data-dir", serve.dataDirectory], (error, stdout, stderr) =>
      error === null ? resolve(stdout) : reject(new Error(stderr)),
    );
  });

test(
  "an imported image is pulled at its registryURL, outlives kill -9, is kept by gc run and " + "goes with its resource",
  async () => {
    await using work = await temporaryDirectory();
    const disk = textDisk(3 * 1024 * 1024, 7);
    await using origin = await Origin.start(disk);
    await using serve = await ServeProcess.start();
    for (const name of ["one", "two"]) await serve.json(collection, "POST", imageDraft(name, { url: origin.url }));
    const image = await ready(serve, "one");
    await ready(serve, "two");
    expect(image.status?.target?.registryURL).toBe(`${new URL(serve.url).host}/cvi/one:${image.metadata.uid}`);

    await serve.stop("SIGKILL");
    const place = await EmbeddedPlace.open({ directory: join(serve.dataDirectory, "images"), host: "" });
    await storeSample(place.destination({ repository: "vi/team-a/stale", tag: "uid" }), await sampleImage());
    await serve.startAgain();
    const blobs = join(serve.dataDirectory, "images/blobs/sha256");
    await writeFile(join(blobs, "c".repeat(64)), "of nobody");

    const check = await gc(serve, "check");
    expect(check).toMatch(
      /^Found 2 cvi, 1 vi, 0 vd manifests in registry\nFound 2 cvi, 0 vi, 0 vd resources in cluster\n/,
    );
    expect(check).toMatch(/\nImages kept, since [^\n]*\nKIND[^\n]*\nVirtualImage {11}team-a {15}stale\n$/);
    expect(await gc(serve, "run", "--yes")).toContain("\nNo images eligible for cleanup.\n".slice(1));
    expect(await gc(serve, "run", "--yes", "--force")).toContain(
      "\nVirtualImage           team-a               stale\n",
    );
    // Both images are one: a layer, a config, a manifest.
    expect(await readdir(blobs)).toHaveLength(3);

    const pulled = await pullDisk(`docker://${image.status!.target!.registryURL!}`, work.path);
    expect(pulled.digest).toBe(hexOf(disk));
    await serve.json(`${collection}/one`, "DELETE");
    await expect
      .poll(async () => (await fetch(`${serve.url}/v2/cvi/one/tags/list`)).status, { timeout: 60_000 })
      .toBe(404);
    expect((await fetch(`${serve.url}/v2/cvi/two/tags/list`)).status).toBe(200);
    expect(await gc(serve, "check")).toContain("\nNo images eligible for auto-cleanup.\n");
  },
);
