import { Readable } from "node:stream";
import { afterEach, describe, expect, it } from "vitest";

import { importerProcess } from "../src/importer/run-importer.ts";
import { streamSource } from "../src/source/stream.ts";
import { uploaderProcess } from "../src/uploader/run-uploader.ts";
import { fakeDestination, fakeImport } from "./support/fake-import.ts";
import { ownerUid, startPod, type Pod, type PodMain } from "./support/pod.ts";
import { latch } from "./support/uploader.ts";

const processes = {
  importer: {
    environment: {
      IMPORTER_SOURCE: "http",
      IMPORTER_ENDPOINT: "http://example.org/disk",
      IMPORTER_DESTINATION_ENDPOINT: "dvcr/cvi/disk:1",
    },
    /** The first option that is read strictly. */
    option: "IMPORTER_SOURCE",
    main:
      (loading: () => Promise<void>): PodMain =>
      (environment, surroundings) =>
        importerProcess([], environment, async () => (await loading(), parts), surroundings),
  },
  uploader: {
    environment: { LISTEN_PORT: "0", HEALTHZ_PORT: "0", UPLOADER_DESTINATION_ENDPOINT: "dvcr/cvi/disk:1" },
    option: "UPLOADER_DESTINATION_ENDPOINT",
    main:
      (loading: () => Promise<void>): PodMain =>
      (environment, surroundings) =>
        uploaderProcess([], environment, async () => (await loading(), parts), surroundings),
  },
};

const parts = {
  importImage: fakeImport().importImage,
  openDestination: fakeDestination,
  openSource: () => streamSource(Readable.from([Buffer.alloc(1)]), "example.org"),
  copySource: () => expect.unreachable("nothing is copied"),
};

let pod: Pod;
afterEach(() => pod.dispose());

describe.each(Object.entries(processes))("dvcr-%s", (_name, { environment, option, main }) => {
  it("answers scrapes before what does the work is loaded", async () => {
    const answered = latch();
    pod = await startPod(
      main(() => answered.opened),
      environment,
      ["metrics"],
    );
    expect(await pod.scrape()).toContain(`registry_progress{ownerUID="${ownerUid}"} 0`);
    answered.open();
  });

  it("listens for scrapes before it parses its options", async () => {
    const order: string[] = [];
    const watched: PodMain = (given, surroundings) =>
      main(() => Promise.resolve())(
        new Proxy(given, {
          get: (target, name: string) => {
            if (name === option) order.push("options");
            return target[name];
          },
        }),
        {
          ...surroundings,
          onListening: (ports) => {
            order.push(...Object.keys(ports));
            surroundings.onListening?.(ports);
          },
        },
      );
    pod = await startPod(watched, environment, ["metrics"]);
    expect(order.slice(0, 2)).toEqual(["metrics", "options"]);
  });
});
