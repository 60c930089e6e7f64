/** What the tests of the reconciler share: one small disk, servers that hand it out, and the service of each test. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll } from "vitest";

import { fileDigest, makeRawDisk, qemuConvert } from "./disks.ts";
import { Origin } from "./origin.ts";
import { Reconciled, type ReconcileOptions } from "./service-reconcile.ts";

export interface ReconcileSuite {
  readonly directory: string;
  /** A raw disk of 16 MiB, its SHA-256, and the same as a qcow2. */
  readonly disk: Buffer;
  readonly diskSum: string;
  readonly qcow2: Buffer;
  begin(options?: ReconcileOptions): Promise<Reconciled>;
  /** The URL of a file on a server that answers by a script, until the test's end. */
  serve(...args: Parameters<typeof Origin.start>): Promise<string>;
}

export const http = (url: string, more: object = {}) => ({ type: "HTTP" as const, http: { url, ...more } });

/** Makes the disk before the file's tests, and closes the servers after each. */
export function reconcileSuite(): ReconcileSuite {
  let directory = "";
  let disk: Buffer;
  let diskSum = "";
  let qcow2: Buffer;
  const origins: Origin[] = [];

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "dvcr-service-reconcile-"));
    const raw = await makeRawDisk(join(directory, "disk.raw"), 16);
    disk = await readFile(raw);
    diskSum = await fileDigest(raw);
    qcow2 = await readFile(await qemuConvert(raw, join(directory, "disk.qcow2"), "-O", "qcow2"));
  });
  afterAll(() => rm(directory, { recursive: true, force: true }));
  afterEach(async () => {
    for (const origin of origins.splice(0)) await origin[Symbol.asyncDispose]();
  });

  return {
    get directory() {
      return directory;
    },
    get disk() {
      return disk;
    },
    get diskSum() {
      return diskSum;
    },
    get qcow2() {
      return qcow2;
    },
    begin: (options) => Reconciled.start(options),
    serve: async (...args) => {
      const origin = await Origin.start(...args);
      origins.push(origin);
      return `${origin.url}/disk.img`;
    },
  };
}
