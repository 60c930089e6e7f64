/** The controller's side of the contract: what it sets, how it reads metrics and the termination message. */
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { Agent, request } from "undici";

import { ownerUid } from "./pod.ts";
import { testUser, type TestRegistry } from "./registry.ts";

/** Milliseconds that the controller gives one scrape, and the pause between two. */
const scrapeLimit = 1500;
const scrapePause = 1000;

const gauge = (name: string): RegExp => new RegExp(String.raw`${name}\{ownerUID\="${ownerUid}"\} ([0-9e\+\-\.]+)`);
const expressions = {
  progress: gauge("(?:registry_progress|kubevirt_cdi_import_progress_total)"),
  average: gauge("registry_average_speed"),
  current: gauge("registry_current_speed"),
};

export type Scrape = Readonly<Record<keyof typeof expressions, number>>;

/** One scrape within its limit; nothing while the port refuses connections, as for the controller. */
export async function scrape(port: number): Promise<Scrape | undefined> {
  const dispatcher = new Agent({ connect: { rejectUnauthorized: false } });
  try {
    const answer = await request(`https://127.0.0.1:${port}/metrics`, {
      dispatcher,
      signal: AbortSignal.timeout(scrapeLimit),
    });
    const body = await answer.body.text();
    const read = (expression: RegExp): number => {
      const value = Number(expression.exec(body)?.[1] ?? "0");
      if (!Number.isFinite(value)) throw new Error(`not a number for the controller: ${body}`);
      return value;
    };
    return {
      progress: read(expressions.progress),
      average: read(expressions.average),
      current: read(expressions.current),
    };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ECONNREFUSED") return undefined;
    throw error;
  } finally {
    await dispatcher.destroy();
  }
}

/** Scrapes as the controller does until `ended`; every scrape that a limit cut off fails the caller. */
export async function scrapeUntil(port: number, ended: Promise<unknown>): Promise<Scrape[]> {
  const over = new AbortController();
  void ended.then(() => over.abort());
  const seen: Scrape[] = [];
  while (!over.signal.aborted) {
    const one = await scrape(port).catch((error: unknown) => {
      // The process may end during a scrape.
      if (over.signal.aborted || ["ECONNRESET", "UND_ERR_SOCKET"].includes((error as NodeJS.ErrnoException).code ?? ""))
        return undefined;
      throw error;
    });
    if (one !== undefined) seen.push(one);
    await Promise.race([ended, delay(seen.length === 0 ? 50 : scrapePause)]);
  }
  return seen;
}

const auth = (registry: TestRegistry): string =>
  JSON.stringify({
    auths: {
      [registry.host]: {
        username: testUser.name,
        password: testUser.password,
        auth: Buffer.from(`${testUser.name}:${testUser.password}`).toString("base64"),
      },
    },
  });

/** The Secret with the destination's credentials. */
export const destinationSecret = (registry: TestRegistry): Record<string, string> => ({
  "dvcr-auth/.dockerconfigjson": auth(registry),
});

/** The whole environment of an importer pod, in the controller's order; what it leaves empty is empty. */
export function importerEnvironment(source: string, endpoint: string, destination: string): Record<string, string> {
  return {
    IMPORTER_SOURCE: source,
    IMPORTER_ENDPOINT: endpoint,
    IMPORTER_CONTENTTYPE: "",
    IMPORTER_IMAGE_SIZE: "",
    OWNER_UID: ownerUid,
    FILESYSTEM_OVERHEAD: "",
    INSECURE_TLS: "false",
    IMPORTER_DISK_ID: "",
    IMPORTER_UUID: "",
    IMPORTER_READY_FILE: "",
    IMPORTER_DONE_FILE: "",
    IMPORTER_BACKING_FILE: "",
    IMPORTER_THUMBPRINT: "",
    http_proxy: "",
    https_proxy: "",
    no_proxy: "",
    IMPORTER_DESTINATION_ENDPOINT: destination,
    DESTINATION_INSECURE_TLS: "true",
    IMPORTER_DESTINATION_AUTH_CONFIG: "/dvcr-auth/.dockerconfigjson",
  };
}

/** The whole environment of an uploader pod. */
export function uploaderEnvironment(destination: string): Record<string, string> {
  return {
    OWNER_UID: ownerUid,
    UPLOADER_DESTINATION_ENDPOINT: destination,
    DESTINATION_INSECURE_TLS: "true",
    UPLOADER_DESTINATION_AUTH_CONFIG: "/dvcr-auth/.dockerconfigjson",
  };
}

/** The termination message as the controller decodes it: at most what the kubelet keeps, with the fields' types. */
export function terminationMessage(path: string): Record<string, unknown> {
  const bytes = readFileSync(path);
  if (bytes.length === 0 || bytes.length > 4096) throw new Error(`the termination message has ${bytes.length} bytes`);
  const message = JSON.parse(bytes.toString()) as Record<string, unknown>;
  for (const name of ["source-image-size", "source-image-virtual-size", "duration", "average-speed"]) {
    const value = message[name];
    if (value !== undefined && !(Number.isSafeInteger(value) && Number(value) > 0))
      throw new Error(`${name} is not a positive integer`);
  }
  return message;
}
