/**
 * Writes to a store until it is killed, and prints each object once it was acknowledged.
 *
 *   node service-store-writer.mjs DIRECTORY PREFIX
 */
import { writeSync } from "node:fs";

import { DataDirectory } from "../../dist/service/store/data-directory.js";
import { SqliteStore } from "../../dist/service/store/sqlite-store.js";

const [path, prefix] = process.argv.slice(2);
const directory = await DataDirectory.acquire(path);
const store = await SqliteStore.open(directory, { onError: console.error });

async function write(writer) {
  for (let turn = 0; ; turn++) {
    const draft = {
      apiVersion: "v1",
      kind: "Secret",
      metadata: { name: `${prefix}-${writer}-${turn}` },
      spec: { text: "x".repeat(2000) },
    };
    const made = await store.create("clustervirtualimages", draft);
    writeSync(1, `${made.metadata.name} ${made.metadata.resourceVersion}\n`);
    const changed = await store.update("clustervirtualimages", { ...made, status: { turn } });
    writeSync(1, `${changed.metadata.name} ${changed.metadata.resourceVersion}\n`);
  }
}

await Promise.all([0, 1, 2].map(write));
