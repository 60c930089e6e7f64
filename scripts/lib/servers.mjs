import { createReadStream } from "node:fs";
import { readFile, stat, writeFile } from "node:fs/promises";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { basename } from "node:path";
import { pipeline } from "node:stream/promises";

import { inRoot } from "./paths.mjs";

/** Debian's, or another release, as in the tests. */
const registryBinary = process.env["DVCR_TEST_REGISTRY"] ?? "docker-registry";

/** The registry that plays DVCR, on a port of the system's choice. Returns `{address, pid}`, address as "host:port". */
export async function startRegistry(workshop) {
  const config = {
    version: "0.1",
    log: { level: "info", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: workshop.path("registry") }, delete: { enabled: true } },
    http: { addr: "127.0.0.1:0", secret: "only for this run" },
  };
  // JSON is YAML.
  await writeFile(workshop.path("registry.yml"), JSON.stringify(config));
  const server = workshop.start("docker-registry", registryBinary, ["serve", workshop.path("registry.yml")]);
  const address = await workshop.until(server, "the registry's address", 20, async () => {
    const log = await readFile(server.log, "utf8").catch(() => "");
    return /listening on (127\.0\.0\.1:\d+)/.exec(log)?.[1];
  });
  return { address, pid: server.child.pid };
}

/**
 * The images service with a data directory of its own, on a port of the system's choice. Returns `{server, url,
 * workshop}`.
 */
export async function startService(workshop, flags = [], environment = {}) {
  const server = workshop.start(
    "dvcr-serve",
    inRoot("bin/dvcr"),
    ["serve", "--listen", "127.0.0.1:0", "--data-dir", workshop.path("data"), ...flags],
    environment,
  );
  const url = await workshop.until(server, "the service's address", 30, async () => {
    const log = await readFile(server.log, "utf8").catch(() => "");
    return /"url":"(http:[^"]+)"/.exec(log)?.[1];
  });
  return { server, url, workshop };
}

/** One file behind HTTP on a port of the system's choice, at the URL that is returned with what ends it. */
export async function serveFile(path, workshop) {
  const { size } = await stat(path);
  const server = createHttpServer((request, response) => {
    response.writeHead(200, { "content-length": size, "content-type": "application/octet-stream" });
    if (request.method === "HEAD") response.end();
    else pipeline(createReadStream(path), response).catch(() => response.destroy());
  });
  workshop.signal.addEventListener("abort", () => server.closeAllConnections(), { once: true });
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}/${basename(path)}`,
    close: () => {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Ports that nobody listens on, held together while they are chosen so that they differ. */
export async function freePorts(count) {
  const holders = await Promise.all(
    Array.from(
      { length: count },
      () =>
        new Promise((resolve, reject) => {
          const holder = createServer();
          holder.once("error", reject);
          holder.listen(0, "127.0.0.1", () => resolve(holder));
        }),
    ),
  );
  const ports = holders.map((holder) => holder.address().port);
  await Promise.all(holders.map((holder) => new Promise((resolve) => holder.close(resolve))));
  return ports;
}
