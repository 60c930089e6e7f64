/**
 * Fuzzing of the API's decoders: JSON, YAML, protobuf, the patches and selectors, as dist/ has them.
 *
 *   node scripts/fuzz-api.mjs [--seconds 10] [--rounds N] [--seed 1]
 *
 * Each round changes one of the seeds a little and decodes it. Whatever the bytes are, a decoder returns JSON or throws
 * what is answered with 4xx, leaves every prototype as it was, and takes no longer than its limits allow. A finding is
 * written to build/fuzz/findings.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { parseArgs } from "node:util";

import { inRoot } from "./lib/paths.mjs";
import { fail, isMain, Stop } from "./lib/process.mjs";

/** Of one body (milliseconds), on a machine that does other things too. */
const longest = 10_000;
const longestBody = 1 << 18;

async function targets() {
  const dist = (path) => import(inRoot("dist/service/api", path));
  const [{ decodeJson, decodeObject, decodeYamlOrJson }, { jsonPatch }, { mergePatch }, { parseLabelSelector }] =
    await Promise.all([dist("decode/body.js"), dist("json-patch.js"), dist("merge-patch.js"), selectors(dist)]);
  const live = () => ({ metadata: { name: "live", labels: { a: "b" }, finalizers: ["x"] }, spec: { list: [1, 2] } });
  const object = JSON.stringify({
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: "a", labels: { "e.x/y": "z" } },
  });
  const patch = JSON.stringify([
    { op: "add", path: "/metadata/labels/a~1b", value: { c: [1] } },
    { op: "copy", from: "/metadata/labels", path: "/spec/x" },
    { op: "move", from: "/spec/list/0", path: "/spec/list/-" },
    { op: "test", path: "/metadata/finalizers/0", value: "x" },
    { op: "replace", path: "/metadata/finalizers/length", value: 3 },
  ]);
  const yaml = 'a: &x [1, {b: c}]\nd: |\n  text\ne: *x\n? k\n: v\n__proto__: {p: 1}\n!!map f: "\\u0041"\n';
  const protobuf = Buffer.concat([
    Buffer.from("k8s\0\n\x0c\n\x02v1\x12\x06Secret\x12\x16\n\x14\n\x01aZ\x06\n\x01l\x12\x01v", "latin1"),
    Buffer.from("r\x07a.com/b", "latin1"),
  ]);
  return {
    json: { seeds: [object, patch], decode: (body) => decodeJson(body).value },
    yaml: { seeds: [yaml, object], decode: (body) => decodeYamlOrJson(body).value },
    protobuf: { seeds: [protobuf], decode: (body) => decodeObject(body, "application/vnd.kubernetes.protobuf").value },
    "json patch": { seeds: [patch], decode: (body) => jsonPatch(live(), decodeJson(body).value) },
    "merge patch": { seeds: [object], decode: (body) => mergePatch(live(), decodeJson(body).value) },
    selector: {
      seeds: ["a=b,c!=d,e in (f,g),h notin (i),j,!k", "a==b"],
      decode: (body) => parseLabelSelector(body.toString("utf8")),
    },
  };
}

/** The one that reads what a query names. */
async function selectors(dist) {
  const { selectorOf } = await dist("selectors.js");
  const parseLabelSelector = (text) => {
    const selected = selectorOf({ labelSelector: text, fieldSelector: "" }, "virtualimages");
    return selected?.({ metadata: { name: "a", labels: { a: "b", e: "f" } } }) ?? null;
  };
  return { parseLabelSelector };
}

/** Numbers from a seed, so that a run can be repeated (mulberry32). */
function random(seed) {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

const tokens = [
  "__proto__",
  "constructor",
  "length",
  "{",
  "[",
  '"',
  ",",
  ":",
  "/",
  "~0",
  "-",
  "\0",
  "\n  ",
  "&a",
  "*a",
];

/** A few changes: bytes, pieces left out, doubled or put elsewhere, words of the formats. */
function changed(bytes, pick) {
  let text = bytes;
  for (let count = 1 + pick(4); count > 0; count -= 1) {
    const [from, to] = [pick(text.length + 1), pick(text.length + 1)].sort((one, other) => one - other);
    const [head, piece, tail] = [text.subarray(0, from), text.subarray(from, to), text.subarray(to)];
    const word = Buffer.from(tokens[pick(tokens.length)]);
    const parts = [
      () => [head, tail],
      () => [head, piece, piece, tail],
      () => [head, word, piece, tail],
      () => [head, Buffer.from([pick(256)]), piece.subarray(1), tail],
      () => [head, ...Array.from({ length: 1 << pick(9) }, () => piece.subarray(0, 64)), tail],
      () => [piece, head, tail],
    ][pick(6)]();
    text = Buffer.concat(parts).subarray(0, longestBody);
  }
  return text;
}

/** Why this is wrong; undefined where it is as it should be. */
function complaint(decode, body) {
  const from = performance.now();
  let value;
  try {
    value = decode(body);
  } catch (error) {
    const status = error?.status;
    if (!(error instanceof Error && status >= 400 && status < 500)) return `it threw ${String(error?.stack ?? error)}`;
  }
  const inherited = [Object.prototype, Array.prototype].flatMap((one) => Object.keys(one));
  if (inherited.length > 0) return `every object has ${inherited.join()} now`;
  if (performance.now() - from > longest) return `it took ${String(performance.now() - from)} ms`;
  try {
    if (value !== undefined) JSON.stringify(value);
  } catch (error) {
    return `what it returned is no JSON: ${String(error)}`;
  }
  return undefined;
}

/** Runs every target for its part of `seconds`, or for so many rounds each; resolves to the rounds of each. */
export async function fuzzApi({ seconds = 10, rounds = Infinity, seed = 1 }) {
  const done = {};
  const all = Object.entries(await targets());
  for (const [name, { seeds, decode }] of all) {
    const pick = random(seed);
    const corpus = seeds.map((one) => Buffer.from(one));
    const until = performance.now() + (seconds * 1000) / all.length;
    done[name] = 0;
    for (; done[name] < rounds && performance.now() < until; done[name] += 1) {
      const body = changed(corpus[pick(corpus.length)], pick);
      const wrong = complaint(decode, body);
      if (wrong !== undefined) {
        const file = inRoot("build/fuzz/findings", `api-${name.replace(" ", "-")}`);
        mkdirSync(inRoot("build/fuzz/findings"), { recursive: true });
        writeFileSync(file, body);
        throw new Stop(`fuzzing the API's ${name} found something (${file}): ${wrong}`);
      }
      // What is still read is changed further, some of it.
      if (body.length < 4096 && corpus.length < 64 && pick(8) === 0) corpus.push(body);
    }
  }
  return done;
}

async function main() {
  const { values } = parseArgs({
    options: { seconds: { type: "string" }, rounds: { type: "string" }, seed: { type: "string" } },
  });
  const given = Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Number(value)]));
  const done = await fuzzApi(given);
  for (const [name, rounds] of Object.entries(done)) process.stdout.write(`${name}: ${rounds} inputs\n`);
}

if (isMain(import.meta)) await main().catch(fail);
