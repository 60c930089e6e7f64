/** What a job of the core leaves to the event loop when it ends. */
import { open, readdir } from "node:fs/promises";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { expect, it } from "vitest";

import { tarFrame } from "../src/layer/tar-frame.ts";
import { addon, type NativeEvent, type NativeJob } from "../src/native/addon.ts";
import { ImportMemory } from "../src/pipeline/import-memory.ts";
import { makeRawDisk } from "./support/disks.ts";
import { temporaryDirectory } from "./support/tools.ts";

/** Names of this process's threads that make layers. */
function layerThreads(): string[] {
  return readdirSync("/proc/self/task")
    .map((id) => readFileSync(`/proc/self/task/${id}/comm`, "utf8").trim())
    .filter((name) => /^dvcr-(?:frames|diffid|layer)$/.test(name));
}

/** The layer's threads, once the last of them has given itself its name. */
async function namedThreads(): Promise<string[]> {
  while (!layerThreads().includes("dvcr-layer")) await setTimeout(5);
  return layerThreads();
}

it("its threads have ended when it tells that it has: the event loop waits for none of them", async () => {
  await using work = await temporaryDirectory();
  const path = await makeRawDisk(join(work.path, "disk.raw"), 4);
  const file = await open(path);
  const { size } = await file.stat();
  const memory = new ImportMemory();
  let during: string[] = [];
  const { event, threads } = await new Promise<{ event: NativeEvent; threads: string[] }>((resolve) => {
    const job: NativeJob = new addon.Job(
      {
        fd: file.fd,
        size,
        declaredFormat: "",
        sourceIsDisk: false,
        framedSnappy: false,
        limits: { maxVirtualSize: 2 ** 40, maxScratch: 2 ** 30, maxDecoderMemory: 2 ** 28 },
        scratchDirectory: work.path,
        mode: {
          name: "import",
          checksums: [],
          codec: "gzip",
          threads: 2,
          allowNested: false,
          keepSourceFormat: false,
          replayable: true,
          memory: memory.native,
          buffers: memory.enter(),
        },
      },
      (told) => {
        // It waits for the tar's head, so that its threads are there to be seen.
        if (told.type === "begin")
          void namedThreads().then(async (names) => {
            during = names;
            const { head, tail } = await tarFrame(told.size);
            job.begin(head, tail);
          });
        else if (told.type === "output") job.releaseOutput(told.index);
        else if (told.type === "finished" || told.type === "failed") resolve({ event: told, threads: layerThreads() });
      },
    );
  });
  await file.close();
  expect(event).toMatchObject({ type: "finished", result: { diskSize: size } });
  expect(during).toContain("dvcr-layer");
  expect(threads).toEqual([]);
  expect(await readdir(work.path)).toEqual(["disk.raw"]);
});
