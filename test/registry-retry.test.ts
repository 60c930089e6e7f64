import { expect, test } from "vitest";
import { errorFromAnswer, errorFromNetwork } from "../src/registry/errors.ts";
import { isTlsCode, networkCode, retryAfterMs } from "../src/retry/failure.ts";
import { Backoff, decide, defaultRetryPolicy } from "../src/retry/retry.ts";
import { FakeClock } from "./support/fake-registry.ts";

const { signal } = new AbortController();
const exchange = { host: "dvcr.d8-virtualization.svc", method: "PATCH", path: "/v2/cvi/x/blobs/uploads/1" };

test("delays grow from 1 s threefold to 60 s and end after 17 minutes", async () => {
  const clock = new FakeClock();
  const backoff = new Backoff(defaultRetryPolicy, clock);
  while (await backoff.wait(signal));
  expect(clock.sleeps.slice(0, 6)).toEqual([1000, 3000, 9000, 27_000, 60_000, 60_000]);
  expect(clock.sleeps.reduce((sum, ms) => sum + ms)).toBe(17 * 60_000);
});

test("jitter adds at most a tenth, and progress begins anew", async () => {
  const clock = new FakeClock();
  clock.random = () => 0.999;
  const backoff = new Backoff(defaultRetryPolicy, clock);
  await backoff.wait(signal);
  await backoff.wait(signal);
  backoff.reset();
  await backoff.wait(signal);
  expect(clock.sleeps.map(Math.round)).toEqual([1100, 3300, 1100]);
});

test("Retry-After is waited for, but not beyond the deadline", async () => {
  const clock = new FakeClock();
  const backoff = new Backoff(defaultRetryPolicy, clock);
  await backoff.wait(signal, { retryAfterMs: 20_000 });
  await backoff.wait(signal, { retryAfterMs: 86_400_000 });
  expect(clock.sleeps).toEqual([20_000, 17 * 60_000 - 20_000]);
  expect(await backoff.wait(signal)).toBe(false);
  expect(retryAfterMs("7")).toBe(7000);
  expect(retryAfterMs("Thu, 01 Jan 1970 00:00:09 GMT", 4000)).toBe(5000);
  expect(retryAfterMs("soon")).toBeUndefined();
});

test("a cancelled wait throws E_CANCELLED", async () => {
  await expect(new Backoff().wait(AbortSignal.abort())).rejects.toMatchObject({ code: "E_CANCELLED" });
});

test.each([
  [{ status: 503 }, "again", "resume"],
  [{ status: 429 }, "again", "resume"],
  [{ status: 500, code: "UNKNOWN" }, "again", "resume"],
  [{ status: 500, code: "ENOSPC" }, "give-up", "give-up"],
  [{ status: 405, code: "READONLY" }, "again", "resume"],
  [{ status: 405 }, "give-up", "give-up"],
  [{ status: 405, code: "UNSUPPORTED" }, "give-up", "give-up"],
  [{ status: 403, code: "DENIED" }, "give-up", "give-up"],
  [{ status: 404 }, "give-up", "resume"],
  [{ status: 416 }, "give-up", "resume"],
  [{ code: "ECONNRESET" }, "again", "resume"],
  [{ code: "CERT_HAS_EXPIRED" }, "give-up", "give-up"],
  [{ status: 400, code: "MANIFEST_INVALID" }, "give-up", "give-up"],
  [{}, "give-up", "give-up"],
] as const)("the table decides on %j", (failure, request, transfer) => {
  expect(decide(failure, "request", "registry")).toBe(request);
  expect(decide(failure, "transfer", "registry")).toBe(transfer);
});

test("what means a read-only registry means nothing to a source", () => {
  expect(decide({ status: 405 }, "request", "source")).toBe("give-up");
  expect(decide({ status: 503 }, "transfer", "source")).toBe("resume");
});

test.each([
  [
    "2.8",
    `{"errors":[{"code":"UNKNOWN","message":"unknown ` +
      `error","detail":{"DriverName":"filesystem","Enclosed":{"Op":"mkdir","Path":"/x","Err":28}}}]}`,
  ],
  [
    "3.x",
    `{"errors":[{"code":"UNKNOWN","message":"unknown error","detail":"filesystem: mkdir /x: no ` +
      `space left on device"}]}`,
  ],
])("a full registry of distribution %s is told in the words that the controller looks for", (_, body) => {
  const error = errorFromAnswer(exchange, 500, body);
  expect(error.code).toBe("E_REGISTRY_FULL");
  expect(error.toLine()).toContain("dvcr.d8-virtualization.svc");
  expect(error.toLine()).toContain("POST");
  expect(error.toLine()).toMatch(/Err:28\D/);
  expect(decide(error.failure, "transfer", "registry")).toBe("give-up");
});

test.each([
  [401, "", "E_REGISTRY_DENIED"],
  [403, `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`, "E_REGISTRY_DENIED"],
  [405, "Method not allowed\n", "E_REGISTRY_REFUSED"],
  [405, "the registry is in read-only mode", "E_REGISTRY_READONLY"],
  [405, `{"errors":[{"code":"UNSUPPORTED","message":"The operation is unsupported."}]}`, "E_REGISTRY_REFUSED"],
  [413, "<html>too large</html>", "E_REGISTRY_REFUSED"],
  [429, "", "E_REGISTRY_UNAVAILABLE"],
  [502, "", "E_REGISTRY_UNAVAILABLE"],
  [507, "", "E_REGISTRY_FULL"],
  [400, `{"errors":[{"code":"MANIFEST_INVALID","message":"manifest invalid","detail":{}}]}`, "E_REGISTRY_REFUSED"],
])("status %d %j is %s", (status, body, code) => {
  expect(errorFromAnswer(exchange, status, body).code).toBe(code);
});

test.each([
  ["GET, HEAD", "E_REGISTRY_READONLY"],
  ["GET, HEAD, PUT", "E_REGISTRY_REFUSED"],
  ["", "E_REGISTRY_REFUSED"],
])("a 405 that allows %j is %s", (allow, code) => {
  expect(errorFromAnswer(exchange, 405, "Method not allowed\n", { allow }).code).toBe(code);
});

test("a registry's text is bounded, on one line and without secrets it echoes", () => {
  const { message } = errorFromAnswer(exchange, 400, `a\n\u001b[31mb hunter22 ${"x".repeat(10_000)}`, {}, ["hunter22"]);
  expect(message).toContain("a [31mb *** xxx");
  expect(message.length).toBeLessThan(450);
});

test("errors of the network keep their code, found down their causes", () => {
  const refused = new AggregateError([Object.assign(new Error("x"), { code: "ECONNREFUSED" })]);
  expect(networkCode(new Error("fetch failed", { cause: refused }))).toBe("ECONNREFUSED");
  expect(errorFromNetwork(exchange, refused, undefined)).toMatchObject({ code: "E_REGISTRY_UNAVAILABLE" });
  expect(isTlsCode("DEPTH_ZERO_SELF_SIGNED_CERT")).toBe(true);
  expect(isTlsCode("ECONNRESET")).toBe(false);
  expect(errorFromNetwork(exchange, refused, AbortSignal.abort())).toMatchObject({ code: "E_CANCELLED" });
});
