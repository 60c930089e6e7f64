/** The web console's files. They hold nothing of anybody, so that whoever must sign in first can see them too. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import fastifyStatic from "@fastify/static";
import type { FastifyInstance } from "fastify";

import type { Logger } from "../../log/logger.ts";

/** Where scripts/build-console.mjs puts them: beside the compiled program, in dist. */
const builtConsole = fileURLToPath(new URL("../../../dist/console", import.meta.url));

/** Addresses of the console's own pages; its script tells them apart. Everything else stays a 404. */
const pages = ["/", "/create", "/images/*"];

/** Names of assets hold a digest of their content (RFC 9111, section 5.2; RFC 8246). */
const forever = "public, max-age=31536000, immutable";
/** A page is asked for again each time, and answered 304 by its ETag. */
const always = "no-cache";

export interface ConsolePagesDeps {
  readonly log: Logger;
  /** Missing: where the build puts them. */
  readonly directory?: string;
}

/** GET and HEAD of the console's pages and assets. A checkout where it is not built serves everything else. */
export async function consolePages(
  app: FastifyInstance,
  { log, directory = builtConsole }: ConsolePagesDeps,
): Promise<void> {
  if (!existsSync(join(directory, "index.html"))) {
    log.warn("the web console is not built; `npm run build:console` builds it");
    return;
  }
  const assets = join(directory, "assets/");
  await app.register(fastifyStatic, {
    root: assets,
    prefix: "/assets/",
    // One route per file, known from the start: no path is looked up on the disk.
    wildcard: false,
    index: false,
    cacheControl: false,
    setHeaders: (reply, path) => void reply.header("cache-control", path.startsWith(assets) ? forever : always),
  });
  for (const url of pages) {
    app.get(url, (_request, reply) => reply.sendFile("index.html", directory, { cacheControl: false }));
  }
}
