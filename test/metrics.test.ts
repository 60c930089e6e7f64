import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { connect } from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import { Agent, request } from "undici";
import { progressGauges } from "../src/metrics/gauges.ts";
import { ProgressTracker } from "../src/metrics/progress.ts";
import { startMetricsServer, type MetricsServer } from "../src/metrics/server.ts";
import { DvcrError } from "../src/errors/dvcr-error.ts";
import type { ImportProgress } from "../src/pipeline/import-image.ts";

const uid = "5c6f2a3e-1b7d-4f0e-9a5c-0d1e2f3a4b5c";
const expressions = {
  progress: new RegExp(
    `(?:registry_progress|kubevirt_cdi_import_progress_total)\\{ownerUID\\="${uid}"\\} ([0-9e\\+\\-\\.]+)`,
  ),
  average: new RegExp(`registry_average_speed\\{ownerUID\\="${uid}"\\} ([0-9e\\+\\-\\.]+)`),
  current: new RegExp(`registry_current_speed\\{ownerUID\\="${uid}"\\} ([0-9e\\+\\-\\.]+)`),
};

/** What the controller makes of a scrape: no match is nothing. */
function scrape(body: string): Record<keyof typeof expressions, number | undefined> {
  const read = (expression: RegExp): number | undefined => {
    const text = expression.exec(body)?.[1];
    return text === undefined ? undefined : Number(text);
  };
  return {
    progress: read(expressions.progress),
    average: read(expressions.average),
    current: read(expressions.current),
  };
}

/** A tracker on a clock and counters that the test moves. */
function fixture() {
  const state = { now: 0, progress: { sourceBytes: 0, layerBytes: 0 } as ImportProgress };
  const tracker = new ProgressTracker(() => state.now);
  return { state, tracker, attach: () => tracker.attach(() => state.progress) };
}

const tebibyte = 2 ** 40;

describe("progress", () => {
  it("is above 0 as soon as one byte of a 1 TiB upload came", () => {
    const { state, tracker, attach } = fixture();
    attach();
    expect(tracker.percent()).toBe(0);
    state.progress = { sourceBytes: 1, sourceSize: tebibyte, layerBytes: 0 };
    expect(tracker.percent()).toBeGreaterThan(0);
  });

  it("reaches 100 with the last byte of the source and not before", () => {
    const { state, tracker, attach } = fixture();
    attach();
    state.progress = { sourceBytes: tebibyte - 1, sourceSize: tebibyte, layerBytes: 0 };
    expect(tracker.percent()).toBeLessThan(100);
    state.progress = { sourceBytes: tebibyte, sourceSize: tebibyte, layerBytes: 0 };
    expect(tracker.percent()).toBe(100);
  });

  it("does not go back when an import starts again", () => {
    const { state, tracker, attach } = fixture();
    attach();
    state.progress = { sourceBytes: 60, sourceSize: 100, layerBytes: 0 };
    tracker.sample();
    tracker.detach();
    state.progress = { sourceBytes: 10, sourceSize: 100, layerBytes: 0 };
    attach();
    expect(tracker.percent()).toBe(60);
    state.progress = { sourceBytes: 70, sourceSize: 100, layerBytes: 0 };
    expect(tracker.percent()).toBe(70);
  });

  it("grows with every byte of a source of unknown length and stays below 100 until the end", () => {
    const { state, tracker, attach } = fixture();
    attach();
    let last = 0;
    for (const sourceBytes of [1e6, 1e9, 1e10, 1e12, 1e15]) {
      state.progress = { sourceBytes, layerBytes: 0 };
      expect(tracker.percent()).toBeGreaterThan(last);
      last = tracker.percent();
    }
    expect(last).toBeLessThan(100);
    tracker.finish();
    expect(tracker.percent()).toBe(100);
  });

  it("stands still while no bytes move", () => {
    const { state, tracker, attach } = fixture();
    attach();
    state.progress = { sourceBytes: 4096, layerBytes: 0 };
    const before = tracker.percent();
    state.now += 60_000;
    expect(tracker.sample()).toMatchObject({ percent: before, averageSpeed: 68 });
    state.now += 1000;
    expect(tracker.sample()).toMatchObject({ percent: before, currentSpeed: 0 });
  });

  it("gives the speed of the last second and of the whole attempt", () => {
    const { state, tracker, attach } = fixture();
    attach();
    state.now = 1000;
    state.progress = { sourceBytes: 1000, sourceSize: 9000, layerBytes: 0 };
    tracker.sample();
    state.now = 2000;
    state.progress = { sourceBytes: 4000, sourceSize: 9000, layerBytes: 0 };
    expect(tracker.sample()).toMatchObject({ averageSpeed: 2000, currentSpeed: 3000 });
  });
});

describe("the text that the controller reads by its expressions", () => {
  it("matches from the first moment, with zeros", async () => {
    const { tracker } = fixture();
    const gauges = progressGauges(tracker, uid);
    expect(scrape(await gauges.registry.metrics())).toEqual({ progress: 0, average: 0, current: 0 });
  });

  it.each([
    ["nothing took any time", { sourceBytes: 5, sourceSize: 0, layerBytes: 0 }, 0],
    ["a counter is no number", { sourceBytes: Number.NaN, sourceSize: 10, layerBytes: 0 }, 1000],
    ["numbers are huge", { sourceBytes: 2 ** 53, layerBytes: 0 }, 1],
    ["numbers are tiny", { sourceBytes: 1, sourceSize: 2 ** 53, layerBytes: 0 }, 1e9],
  ])("holds finite numbers where %s", async (_, progress, milliseconds) => {
    const { state, tracker, attach } = fixture();
    const gauges = progressGauges(tracker, uid);
    attach();
    state.progress = progress;
    state.now = milliseconds;
    gauges.update();
    const body = await gauges.registry.metrics();
    expect(body).not.toMatch(/nan|inf/i);
    for (const value of Object.values(scrape(body))) expect(value).toSatisfy(Number.isFinite);
  });
});

/** What a metrics server started for this shows to its clients. */
async function certificateOf(): Promise<X509Certificate> {
  const server = await startMetricsServer(new ProgressTracker(), { port: 0, ownerUid: uid });
  const socket = connect({ port: server.port, host: "127.0.0.1", rejectUnauthorized: false });
  try {
    await once(socket, "secureConnect");
    return new X509Certificate(socket.getPeerX509Certificate()!.raw);
  } finally {
    socket.destroy();
    await server.close();
  }
}

describe("the metrics port", () => {
  let server: MetricsServer | undefined;
  const agent = new Agent({ connect: { rejectUnauthorized: false } });
  afterEach(async () => {
    await server?.close();
    server = undefined;
  });

  it.each(["/metrics", "/", "/any/path?x=1"])("answers HTTPS with its own certificate on %s", async (path) => {
    const { state, tracker, attach } = fixture();
    server = await startMetricsServer(tracker, { port: 0, ownerUid: uid });
    attach();
    state.progress = { sourceBytes: 125, sourceSize: 1000, layerBytes: 0 };
    const response = await request(`https://127.0.0.1:${server.port}${path}`, { dispatcher: agent });
    expect(response.statusCode).toBe(200);
    expect(scrape(await response.body.text()).progress).toBe(12.5);
  });

  it("has an EC key of its own for each process and a certificate that it signed itself", async () => {
    const seen = await Promise.all([1, 2].map(() => certificateOf()));
    for (const certificate of seen) {
      expect(certificate.publicKey.asymmetricKeyDetails).toEqual({ namedCurve: "prime256v1" });
      expect(certificate.verify(certificate.publicKey)).toBe(true);
      expect(certificate.checkHost("dvcr-data-plane")).toBe("dvcr-data-plane");
      expect(Date.parse(certificate.validFrom)).toBeLessThan(Date.now());
      expect(Date.parse(certificate.validTo)).toBeGreaterThan(Date.now() + 9 * 365 * 24 * 3_600_000);
    }
    expect(new Set(seen.map(({ serialNumber }) => serialNumber)).size).toBe(2);
    expect(new Set(seen.map(({ publicKey }) => publicKey.export({ type: "spki", format: "pem" }))).size).toBe(2);
  });

  it("names the variable when the port is taken", async () => {
    server = await startMetricsServer(new ProgressTracker(), { port: 0, ownerUid: uid });
    const taken = startMetricsServer(new ProgressTracker(), { port: server.port, ownerUid: uid });
    await expect(taken).rejects.toThrow(DvcrError);
    await expect(taken).rejects.toThrow(/DVCR_METRICS_PORT: got \d+, expected a free port/);
  });
});
