/** A tenant who does what the service is for: imports, uploads, lists and watches, until it is told to stop. */
import { createHash, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { pause, quietly } from "./client.mjs";

const diskBytes = 4 << 20;
/** Of one image to become Ready, whatever others do (milliseconds). */
const patience = 240_000;

/**
 * Works until `signal`, then ends what it has begun. Resolves to what it has done: images that became Ready by import
 * and by upload, lists and their times in milliseconds, events of its watch, and what went wrong.
 */
export async function honestWork(tenant, signal) {
  const done = { imports: 0, uploads: 0, lists: [], events: 0, problems: [] };
  const disk = randomBytes(diskBytes);
  const server = createServer((request, response) => {
    response.writeHead(200, { "content-length": disk.length }).end(request.method === "HEAD" ? "" : disk);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${server.address().port}/disk.img`;
  const checksum = createHash("sha256").update(disk).digest("hex");
  const watching = new AbortController();
  try {
    const watch = watchAll(tenant, watching.signal, done);
    await Promise.all([
      repeat(signal, done, async (round) => {
        const dataSource = { type: "HTTP", http: { url, checksum: { sha256: checksum } } };
        await made(tenant, `import-${round}`, dataSource);
        done.imports += 1;
      }),
      repeat(signal, done, async (round) => {
        await made(tenant, `upload-${round}`, { type: "Upload" }, (target) => send(tenant, target, disk));
        done.uploads += 1;
      }),
      repeat(signal, done, async () => {
        const from = performance.now();
        const { status, text } = await tenant.ask(`${tenant.images}?limit=100`);
        if (status !== 200) throw new Error(`a list was answered ${status}: ${text}`);
        done.lists.push(performance.now() - from);
        await pause(50, signal);
      }),
    ]);
    watching.abort();
    await watch;
  } finally {
    watching.abort();
    server.close();
    server.closeAllConnections();
  }
  return done;
}

/** `work` again and again; what fails is noted, once for each round. */
async function repeat(signal, done, work) {
  for (let round = 0; !signal.aborted; round += 1) {
    await work(round).catch((error) => done.problems.push(error.message));
    if (done.problems.length > 20) return;
  }
}

/** Creates the image, waits until it is Ready, and removes it. */
async function made(tenant, name, dataSource, upload) {
  const { status, text } = await tenant.create(name, dataSource);
  if (status !== 201) throw new Error(`creating ${name} was answered ${status}: ${text}`);
  const until = performance.now() + patience;
  let sent = upload === undefined;
  for (;;) {
    const found = await tenant.status(name);
    if (found?.phase === "Ready") break;
    if (found?.phase === "Failed" || performance.now() > until)
      throw new Error(`${name} is ${found?.phase}: ${JSON.stringify(found?.conditions?.map((one) => one.message))}`);
    const target = found?.imageUploadURLs?.inCluster;
    if (!sent && target !== undefined) sent = await upload(target);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await tenant.remove(name);
}

/** True once it has arrived. */
async function send(tenant, target, disk) {
  const { status, text } = await tenant.ask(target, { method: "PUT", body: disk, type: "application/octet-stream" });
  if (status >= 300) throw new Error(`an upload was answered ${status}: ${text}`);
  return true;
}

/** Follows its images as a client does: a watch that ends is begun again. */
async function watchAll(tenant, signal, done) {
  while (!signal.aborted) {
    await quietly(
      new Promise((resolve, reject) => {
        const watch = tenant.open(`${tenant.images}?watch=true`, { signal, agent: false });
        watch.once("error", reject).once("response", (answer) => {
          answer
            .on("data", (part) => (done.events += part.toString("latin1").split("\n").length - 1))
            .once("error", reject)
            .once("close", resolve);
        });
        watch.end();
      }),
    );
    await pause(100, signal);
  }
}
