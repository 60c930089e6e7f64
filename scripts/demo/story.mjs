import { createHash } from "node:crypto";
import { once } from "node:events";
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { pipeline } from "node:stream/promises";

import { run, Stop, tail } from "../lib/process.mjs";
import { buildDisk } from "../lib/disk.mjs";
import { serveFile, startService } from "../lib/servers.mjs";
import { Workshop } from "../lib/workshop.mjs";
import { openClient } from "./client.mjs";
import { compare, pull } from "./proof.mjs";
import { bytes, table } from "./text.mjs";

const say = (text) => process.stdout.write(`${text}\n`);
const seconds = (from) => (performance.now() - from) / 1000;
const steps = 7;

/**
 * The images service on a real disk: one upload, one import over HTTP, pulled back and compared. With `keep` the
 * service stays up afterwards, until Ctrl-C, so that the console and the printed commands can be tried.
 */
export async function tellStory({ keep = false } = {}) {
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM"])
    process.once(signal, () => stop.abort(new Stop(`stopped by ${signal}`, 130)));
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
  const disk = workshop.path("demo-disk.qcow2");
  await step(
    1,
    "building a disk: GPT, ext4, files of this machine, as compressed qcow2",
    () => buildDisk(disk, workshop),
    (content) => `${bytes(content)} of files`,
  );
  const sourceSize = (await stat(disk)).size;
  const service = await step(
    2,
    "starting bin/dvcr serve",
    () => startService(workshop),
    ({ url }) => url,
  );
  const client = await openClient(service.url, workshop);
  say(`      console     ${service.url}/`);
  say(`      kubeconfig  bin/dvcr kubeconfig --server ${service.url} > kubeconfig`);

  const uploaded = image("uploaded-disk", { type: "Upload" });
  const uploadUrl = async () => {
    await client.apply(uploaded);
    return await until(
      service,
      client,
      "uploaded-disk",
      ({ phase, imageUploadURLs }) => phase === "WaitForUserUpload" && imageUploadURLs?.inCluster,
    );
  };
  const url = await step(
    3,
    `${client.name} apply: a ClusterVirtualImage that waits for its upload`,
    uploadUrl,
    (given) => given,
  );
  const uploadSeconds = await uploadStep(disk, url, workshop, service);
  await ready(service, client, "uploaded-disk");

  const source = await serveFile(disk, workshop);
  const imported = image("imported-disk", {
    type: "HTTP",
    http: { url: source.url, checksum: { sha256: await sha256(disk) } },
  });
  const importIt = async () => {
    await client.apply(imported);
    return await ready(service, client, "imported-disk");
  };
  await step(
    5,
    `${client.name} apply: another one from ${source.url}, with its SHA-256`,
    importIt,
    ({ phase, progress }) => `${phase}, ${progress}`,
  ).finally(() => source.close());

  const { status } = await client.get("imported-disk");
  const { registryURL } = status.target;
  const pulled = await step(
    6,
    "pulling it from the service with skopeo",
    () => pull(registryURL, workshop.path("layout"), workshop),
    ({ layer }) => bytes(layer.size),
  );
  await step(
    7,
    "comparing /disk/disk.img with `qemu-img convert -O raw`, byte for byte",
    () => compare(pulled.layerPath, disk, workshop),
    () => "equal",
  );

  say(`\n$ ${client.name} get cvi -o wide\n${await client.table()}`);
  say(
    table([
      [
        "UPLOAD",
        `${uploadSeconds.toFixed(1)} s: ${bytes(sourceSize / uploadSeconds)}/s of upload, ` +
          `${bytes(Number(status.size.unpackedBytes) / uploadSeconds)}/s of disk`,
      ],
      ["DIGEST", pulled.digest],
      ["PULL", `skopeo copy --src-tls-verify=false docker://${registryURL} oci:imported-disk:latest`],
    ]),
  );
  if (!keep) {
    say(
      "\nThe service and all files of the demo are removed now; `npm run demo -- --keep` leaves the service running.",
    );
    return;
  }
  say(`\nThe service keeps running at ${service.url}/ until Ctrl-C.`);
  await once(workshop.signal, "abort");
}

/** curl with its own progress bar, on the terminal. Returns the seconds it took. */
async function uploadStep(disk, url, workshop, service) {
  say(`[4/${steps}] curl ${url} --progress-bar -T demo-disk.qcow2 | cat`);
  const started = performance.now();
  const response = workshop.path("response");
  try {
    await run("curl", ["--progress-bar", "--fail-with-body", "-o", response, "-T", disk, url], {
      signal: workshop.signal,
    });
  } catch (error) {
    throw new Stop(
      `step 4/${steps}, uploading: ${error.message}\n${tail(response)}\nthe end of the service's ` +
        `log:\n${tail(service.server.log)}`,
    );
  }
  return seconds(started);
}

function image(name, dataSource) {
  return {
    apiVersion: "virtualization.deckhouse.io/v1alpha2",
    kind: "ClusterVirtualImage",
    metadata: { name },
    spec: { dataSource },
  };
}

/** What `pick` gives for the image's status, once it gives something. */
async function until({ server, workshop }, client, name, pick) {
  return await workshop.until(server, `${name} to get on`, 120, async () => {
    const { status = {} } = await client.get(name);
    if (status.phase === "Failed")
      throw new Stop(`${name} has failed: ${status.conditions?.find(({ type }) => type === "Ready")?.message}`);
    return pick(status) || undefined;
  });
}

const ready = (service, client, name) => until(service, client, name, (status) => status.phase === "Ready" && status);

async function sha256(path) {
  const hash = createHash("sha256");
  await pipeline(createReadStream(path), hash);
  return hash.digest("hex");
}

/** Does one step, in one line of output; a failure says which step it was. Returns what `work` gives. */
async function step(number, text, work, describe) {
  process.stdout.write(`[${number}/${steps}] ${text} ... `);
  const started = performance.now();
  try {
    const result = await work();
    say(`${describe(result)} (${seconds(started).toFixed(1)} s)`);
    return result;
  } catch (error) {
    say("FAILED");
    throw error instanceof Stop ? new Stop(`step ${number}/${steps}, ${text}: ${error.message}`, error.code) : error;
  }
}
