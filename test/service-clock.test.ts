/** A clock that is set back: limits and leases count time by one that nobody sets. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import fastify from "fastify";
import { afterEach, expect, test, vi } from "vitest";

import { withFileLock } from "../src/destination/file-lock.ts";
import { answerError } from "../src/uploader/answer.ts";
import { addRateLimit } from "../src/service/security/rate-limit.ts";
import { temporaryDirectory } from "./support/tools.ts";

afterEach(() => vi.useRealTimers());

const hour = 3_600_000;
const minutes = (count: number) => count * 60_000;

test("set back an hour, it neither halves the rate that is allowed nor keeps anybody out", async () => {
  vi.useFakeTimers({ toFake: ["Date", "performance"] });
  const app = fastify();
  app.setErrorHandler((error, request, reply) => answerError(request, reply, error, []));
  await addRateLimit(app, { perMinute: 10, exempt: [] });
  app.get("/", () => "ok");
  const ask = async (count: number) => {
    const answers = [];
    for (let index = 0; index < count; index++) answers.push(await app.inject("/"));
    return answers;
  };
  const codes = async (count: number) => (await ask(count)).map(({ statusCode }) => statusCode);
  expect(await codes(5)).toEqual(Array(5).fill(200));
  vi.setSystemTime(Date.now() - hour);
  expect(await codes(5)).toEqual(Array(5).fill(200));
  const [refused] = await ask(1);
  expect([refused?.statusCode, Number(refused?.headers["retry-after"])]).toEqual([429, 60]);
  vi.advanceTimersByTime(minutes(1) + 1);
  expect(await codes(10)).toEqual(Array(10).fill(200));
  expect(await codes(1)).toEqual([429]);
  await app.close();
});

test("set back, it does not keep a lock alive whose owner is gone", async () => {
  await using work = await temporaryDirectory();
  const lock = join(work.path, "index.json.lock");
  await writeFile(lock, "1 another-machine token\n");
  vi.useFakeTimers({ toFake: ["Date", "performance"], now: Date.now() - hour });
  let done = false;
  const waiting = withFileLock(lock, new AbortController().signal, () => Promise.resolve((done = true)));
  await new Promise((resolve) => setTimeout(resolve, 200));
  expect(done).toBe(false);
  vi.advanceTimersByTime(minutes(1) + 1000);
  await waiting;
  expect(done).toBe(true);
});
