import { createHash, randomBytes } from "node:crypto";
import { Readable } from "node:stream";
import { afterEach, describe, expect, it } from "vitest";
import { importerProcess, type ImporterParts } from "../src/importer/run-importer.ts";
import { DvcrError } from "../src/errors/dvcr-error.ts";
import { streamSource } from "../src/source/stream.ts";
import { fakeDestination, fakeImport, type FakeBehaviour, type FakeImport } from "./support/fake-import.ts";
import { eventually, ownerUid, startPod, type Pod } from "./support/pod.ts";
import { latch } from "./support/uploader.ts";

const content = randomBytes(2 ** 20);
const sha256 = createHash("sha256").update(content).digest("hex");
const endpoint = "https://user:s3cret@example.org/disk.qcow2?signature=abc";

let pod: Pod;
let waits: number;
let seen: FakeImport["seen"];
afterEach(() => pod.dispose());

/** The importer in front of a fake import; pauses between attempts are counted and take no time. */
async function startImporter(behaviour: FakeBehaviour, environment: Record<string, string> = {}): Promise<void> {
  const fake = fakeImport(behaviour);
  seen = fake.seen;
  waits = 0;
  const parts: ImporterParts = {
    importImage: fake.importImage,
    openDestination: fakeDestination,
    openSource: () => streamSource(Readable.from([content]), "example.org"),
    copySource: () => expect.unreachable("nothing is copied"),
    backoff: { wait: (signal) => ((waits += 1), signal.throwIfAborted(), Promise.resolve(true)) },
  };
  pod = await startPod(
    (env, surroundings) => importerProcess(["-v=3"], env, () => Promise.resolve(parts), surroundings),
    {
      IMPORTER_SOURCE: "http",
      IMPORTER_ENDPOINT: endpoint,
      IMPORTER_DESTINATION_ENDPOINT: "dvcr.d8-virtualization.svc/cvi/disk:0a1b",
      DESTINATION_INSECURE_TLS: "true",
      ...environment,
    },
    ["metrics"],
  );
}

const errorMessage = (): string => String(pod.message()?.["error-message"]);

describe("an import", () => {
  it("ends with sizes, format and speed in the termination message and exit code 0", async () => {
    await startImporter({}, { IMPORTER_CHECKSUMS: `sha256:${sha256}` });
    expect(await pod.exit).toBe(0);
    expect(pod.message()).toMatchObject({ "source-image-format": "raw", duration: 4_200_000_001 });
    expect(pod.message()).not.toHaveProperty("error-message");
    expect(seen).toMatchObject({ sha256, imports: 1 });
  });

  it("with a wrong checksum is not tried again: exit code 0 and the reason", async () => {
    await startImporter({}, { IMPORTER_CHECKSUMS: `sha256:${"0".repeat(64)}` });
    expect(await pod.exit).toBe(0);
    expect(errorMessage()).toContain(`sha256 sum mismatch: ${"0".repeat(64)} != ${sha256}`);
    expect([seen.imports, waits]).toEqual([1, 0]);
  });

  it("that fails on the way is started again, and its progress does not go back", async () => {
    const second = latch();
    await startImporter(
      {
        before: async (attempt) => {
          if (attempt === 2) await second.opened;
        },
        failAt: { bytes: 1, error: new DvcrError("E_SOURCE_IO", "the connection broke") },
      },
      { DVCR_RETRIES: "2" },
    );
    await eventually(() => seen.imports === 2);
    const progress = Number(
      new RegExp(`registry_progress\\{ownerUID="${ownerUid}"\\} ([0-9e+\\-.]+)`).exec(await pod.scrape())?.[1],
    );
    expect(progress).toBeGreaterThan(0);
    second.open();
    expect(await pod.exit).toBe(1);
    expect(seen.imports).toBe(3);
    expect(errorMessage()).toMatch(/^E_SOURCE_IO: no success after 3 attempts: the connection broke\. /);
  });

  it("that succeeds at the second attempt ends well", async () => {
    await startImporter({
      before: (attempt) =>
        attempt === 1 ? Promise.reject(new DvcrError("E_REGISTRY_READONLY", "405")) : Promise.resolve(),
    });
    expect(await pod.exit).toBe(0);
    expect(pod.message()).not.toHaveProperty("error-message");
    expect(waits).toBe(1);
  });

  it("that is told to stop leaves a message and exit code 143", async () => {
    const never = latch();
    await startImporter({ before: () => never.opened });
    await eventually(() => seen.imports === 1);
    pod.signal("SIGTERM");
    never.open();
    expect(await pod.exit).toBe(143);
    expect(errorMessage()).toMatch(/^E_CANCELLED: .*SIGTERM/);
  });

  it("logs no credentials", async () => {
    await startImporter({ failAt: { bytes: 1, error: new DvcrError("E_SOURCE_HTTP", `GET ${endpoint} answers 418`) } });
    await pod.exit;
    expect(pod.logLines.join("")).toContain("answers 418");
    expect(pod.logLines.join("") + errorMessage()).not.toMatch(/s3cret|signature=abc/);
  });
});

describe("a wrong configuration", () => {
  it("is told in the termination message, with the metrics port answering before", async () => {
    await startImporter({}, { IMPORTER_DESTINATION_ENDPOINT: "", IMPORTER_SOURCE: "carrier pigeon" });
    expect(pod.ports["metrics"]).toBeGreaterThan(0);
    expect(await pod.exit).toBe(0);
    expect(errorMessage()).toMatch(/^E_CONFIG: IMPORTER_SOURCE: .*; IMPORTER_DESTINATION_ENDPOINT: /);
  });
});
