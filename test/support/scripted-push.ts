/** Pushes of 3000 bytes in two writes to a registry that follows a script. */
import { createHash } from "node:crypto";
import { RegistryDestination, type RegistryDestinationOptions } from "../../src/destination/docker.ts";
import { sha256Digest } from "../../src/layer/image-config.ts";
import { expect } from "vitest";
import { FakeClock, FakeRegistry, type ScriptedExchange } from "./fake-registry.ts";

export const uploads = "/v2/r/blobs/uploads/";
export const session = `${uploads}1`;
export const bytes = createHash("shake256", { outputLength: 3000 }).update("layer").digest();
export const digest = sha256Digest(bytes);
export const spec = (code: string, detail: unknown = null): string =>
  JSON.stringify({ errors: [{ code, message: "said so", detail }] });

export const opened: ScriptedExchange = {
  method: "POST",
  path: uploads,
  status: 202,
  headers: { location: `${session}?s=0` },
};
export const dropped: ScriptedExchange[] = [
  { method: "GET", path: session, status: 204, headers: { location: `${session}?s=fresh`, range: "0-0" } },
  { method: "DELETE", path: session, status: 204 },
];
export const patched = (end: number, state = String(end)): ScriptedExchange => ({
  method: "PATCH",
  path: session,
  status: 202,
  headers: { location: `${session}?s=${state}`, range: `0-${String(end - 1)}` },
});
export const holds = (range: string, state = "asked"): ScriptedExchange => ({
  method: "GET",
  path: session,
  status: 204,
  headers: { location: `${session}?s=${state}`, range },
});
export const gone: ScriptedExchange = { method: "GET", path: session, status: 404, body: spec("BLOB_UPLOAD_INVALID") };
/** A session that is gone is asked for, and removed, all the same. */
export const notRemoved: ScriptedExchange[] = [gone, { method: "DELETE", path: session, status: 404 }];
export const blob: ScriptedExchange = {
  method: "HEAD",
  path: `/v2/r/blobs/${digest}`,
  headers: { "content-length": String(bytes.length) },
};
export const put: ScriptedExchange = { method: "PUT", path: session, status: 201 };
/** The commit, and the look at what it made. */
export const stored: ScriptedExchange[] = [put, blob];
/** `exchange` of another session. */
export const at = (other: string, exchange: ScriptedExchange): ScriptedExchange => ({
  ...exchange,
  path: `${uploads}${other}`,
});

export interface Setup extends AsyncDisposable {
  readonly fake: FakeRegistry;
  readonly clock: FakeClock;
  readonly to: RegistryDestination;
}

export async function setup(
  script: readonly ScriptedExchange[],
  options: Partial<RegistryDestinationOptions> = {},
  streamed = false,
): Promise<Setup> {
  const fake = await FakeRegistry.start(script);
  const clock = new FakeClock();
  const to = new RegistryDestination(
    { host: fake.host, repository: "r", tag: "v1" },
    {
      tls: { verify: false },
      credentials: () => Promise.resolve(undefined),
      clock,
      upload: { patchChunks: 1 },
      ...options,
    },
  );
  // As after a 411: every write is a PATCH of its own, so that the scripts can tell them apart.
  if (!streamed) to.client.traits.learn({ status: 411 }, { streamed: true, continued: false, length: 0 });
  const dispose = async (): Promise<void> => {
    await to.close();
    await fake[Symbol.asyncDispose]();
  };
  return { fake, clock, to, [Symbol.asyncDispose]: dispose };
}

/** Pushes the bytes in two writes and commits; after a failure it aborts, as the pipeline does, and throws. */
export async function push({ to }: Setup): Promise<void> {
  const { signal } = new AbortController();
  const upload = await to.beginLayer(signal);
  try {
    await upload.write(bytes.subarray(0, 1000));
    await upload.write(bytes.subarray(1000));
    await upload.commit(digest, bytes.length);
  } catch (error) {
    await upload.abort();
    throw error;
  }
}

export const failure = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => "no error",
    (error: unknown) => error,
  );
export const ranges = (fake: FakeRegistry): unknown[] =>
  fake.requests.filter((one) => one.method === "PATCH").map((one) => one.headers["content-range"]);

export function followed(fake: FakeRegistry): void {
  expect({ surprises: fake.surprises, left: fake.left }).toEqual({ surprises: [], left: [] });
}
