import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";

import { inRoot } from "./paths.mjs";

/** The registry that plays DVCR: Debian's docker-registry on a port of the system's choice. Returns `{address, pid}`, address as "host:port". */
export async function startRegistry(workshop) {
  const config = {
    version: "0.1",
    log: { level: "info", accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: workshop.path("registry") }, delete: { enabled: true } },
    http: { addr: "127.0.0.1:0", secret: "only for this run" },
  };
  // JSON is YAML.
  await writeFile(workshop.path("registry.yml"), JSON.stringify(config));
  const server = workshop.start("docker-registry", "docker-registry", ["serve", workshop.path("registry.yml")]);
  const address = await workshop.until(server, "the registry's address", 20, async () => {
    const log = await readFile(server.log, "utf8").catch(() => "");
    return /listening on (127\.0\.0\.1:\d+)/.exec(log)?.[1];
  });
  return { address, pid: server.child.pid };
}

/** The uploader with the environment that the controller gives it, on free ports. */
export async function startUploader(workshop, destination, owner) {
  const [listen, healthz, metrics] = await freePorts(3);
  const messagePath = workshop.path("termination-log");
  const server = workshop.start("dvcr-uploader", inRoot("bin/dvcr-uploader"), ["-v=3"], {
    OWNER_UID: owner,
    UPLOADER_DESTINATION_ENDPOINT: destination,
    DESTINATION_INSECURE_TLS: "true",
    LISTEN_ADDRESS: "127.0.0.1",
    LISTEN_PORT: String(listen),
    HEALTHZ_PORT: String(healthz),
    DVCR_METRICS_PORT: String(metrics),
    DVCR_TERMINATION_LOG: messagePath,
  });
  const url = `http://127.0.0.1:${listen}/upload`;
  await workshop.until(server, "the answer to GET /upload", 30, async () => {
    const answer = await fetch(url, { signal: AbortSignal.timeout(5_000) }).catch(() => undefined);
    return answer?.status === 200 ? true : undefined;
  });
  return { server, url, message: async () => JSON.parse(await readFile(messagePath, "utf8")) };
}

/** Ports that nobody listens on, held together while they are chosen so that they differ. */
export async function freePorts(count) {
  const holders = await Promise.all(
    Array.from({ length: count }, () => new Promise((resolve, reject) => {
      const holder = createServer();
      holder.once("error", reject);
      holder.listen(0, "127.0.0.1", () => resolve(holder));
    })),
  );
  const ports = holders.map((holder) => holder.address().port);
  await Promise.all(holders.map((holder) => new Promise((resolve) => holder.close(resolve))));
  return ports;
}
