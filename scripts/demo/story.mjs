import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { stat } from "node:fs/promises";

import { run, Stop, tail } from "../lib/process.mjs";
import { buildDisk } from "../lib/disk.mjs";
import { compare, pull } from "./proof.mjs";
import { startRegistry, startUploader } from "../lib/servers.mjs";
import { bytes, table } from "./text.mjs";
import { Workshop } from "../lib/workshop.mjs";

const say = (text) => process.stdout.write(`${text}\n`);
const seconds = (from) => (performance.now() - from) / 1000;

/**
 * The product's main job on a real disk: build, upload, pull back, compare.
 * With `keep` the registry stays up afterwards, until Ctrl-C, so that the printed pull command can be tried.
 */
export async function tellStory({ keep = false } = {}) {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => stop.abort(new Stop(`stopped by ${signal}`, 130)));
  const workshop = await Workshop.open(stop.signal);
  try {
    await play(workshop, keep);
  } catch (error) {
    throw stop.signal.aborted ? stop.signal.reason : error;
  } finally {
    await workshop.close();
  }
}

async function play(workshop, keep) {
  const name = "demo-disk";
  const owner = randomUUID();
  const disk = workshop.path(`${name}.qcow2`);

  const { address: registry } = await step("1/6", "starting a registry as DVCR", () => startRegistry(workshop), ({ address }) => address);
  const image = `${registry}/vd/demo/${name}:${owner}`;
  await step(
    "2/6",
    "building a disk: GPT, ext4, files of this machine, as compressed qcow2",
    () => buildDisk(disk, workshop),
    (content) => `${bytes(content)} of files`,
  );
  const sourceSize = (await stat(disk)).size;
  const start = () => startUploader(workshop, image, owner);
  const uploader = await step("3/6", "starting bin/dvcr-uploader", start, ({ url }) => url);

  say(`[4/6] uploading it: curl --progress-bar -T ${name}.qcow2 ${uploader.url}`);
  const started = performance.now();
  const response = workshop.path("response");
  try {
    // Without a log curl has the terminal, for its progress bar.
    const args = ["--progress-bar", "--fail-with-body", "-o", response, "-T", disk, uploader.url];
    await run("curl", args, { signal: workshop.signal });
  } catch (error) {
    throw new Stop(`step 4/6, uploading: ${error.message}\n${tail(response)}\nthe end of the uploader's log:\n${tail(uploader.server.log)}`);
  }
  const uploadSeconds = seconds(started);
  const message = await finished(uploader);

  const fetchBack = () => pull(image, workshop.path("layout"), workshop);
  const pulled = await step("5/6", "pulling the image back with skopeo", fetchBack, ({ layer }) => bytes(layer.size));
  const check = () => compare(pulled.layerPath, disk, workshop);
  await step("6/6", "comparing /disk/disk.img with `qemu-img convert -O raw`, byte for byte", check, () => "equal");

  say("");
  say(
    table([
      ["NAME", name],
      ["FORMAT", `${message["source-image-format"]} (uploaded as qcow2, ${bytes(sourceSize)})`],
      ["VIRTUAL SIZE", bytes(message["source-image-virtual-size"])],
      ["STORED SIZE", bytes(pulled.layer.size)],
      ["TIME", `${uploadSeconds.toFixed(1)} s`],
      ["SPEED", `${bytes(sourceSize / uploadSeconds)}/s of upload, ${bytes(message["source-image-virtual-size"] / uploadSeconds)}/s of disk`],
      ["DIGEST", pulled.digest],
      ["PULL", `skopeo copy --src-tls-verify=false docker://${image} oci:${name}:latest`],
    ]),
  );
  if (!keep) {
    say("\nThe registry and all files of the demo are removed now; `npm run demo -- --keep` leaves the registry running.");
    return;
  }
  say("\nThe registry keeps running for you to try the command; Ctrl-C ends it.");
  await once(workshop.signal, "abort");
}

/** The uploader ends by itself once its image is stored; what it leaves is the message that the controller reads. */
async function finished(uploader) {
  const { server } = uploader;
  const timeout = new Promise((resolve) => setTimeout(resolve, 30_000, undefined).unref());
  const outcome = await Promise.race([server.exit, timeout]);
  if (outcome === undefined) throw new Stop(`step 4/6, uploading: the uploader did not end after its answer:\n${tail(server.log)}`);
  const message = await uploader.message().catch(() => ({ "error-message": "it left no termination message" }));
  if (outcome.code !== 0 || message["error-message"]) {
    throw new Stop(`step 4/6, uploading: the uploader failed (${outcome.reason}): ${message["error-message"]}\n${tail(server.log)}`);
  }
  return message;
}

/** Does one step, in one line of output; a failure says which step it was. Returns what `work` gives. */
async function step(number, text, work, describe) {
  process.stdout.write(`[${number}] ${text} ... `);
  const started = performance.now();
  try {
    const result = await work();
    say(`${describe(result)} (${seconds(started).toFixed(1)} s)`);
    return result;
  } catch (error) {
    say("FAILED");
    throw error instanceof Stop ? new Stop(`step ${number}, ${text}: ${error.message}`, error.code) : error;
  }
}
