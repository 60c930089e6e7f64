/** Makes the inputs that the chosen cases need, once; they stay in the work directory for the next run. */
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { buildRawDisk, copyTrees } from "../../scripts/lib/disk.mjs";
import { capture, Stop } from "../../scripts/lib/process.mjs";
import { inputs, sizes } from "../inputs.mjs";
import { writeShuffled } from "./shuffled.mjs";
import { extentsOf, hashDisk } from "./sparse.mjs";

/** The machine's own files; a disk takes them in this order until it has enough. */
const fromUsr = (bytes) => [{ directory: "/usr", bytes }];

/**
 * Gives the inputs by name, made where they are missing. Each has `path`, `size`, and where it is one disk
 * `virtualSize`, `sha256` (of the disk as qemu-img gives it), `raw` (that disk, sparse) and `extents` (a file with its
 * data ranges); of several disks `disks`, their digests.
 */
export async function prepareInputs(names, { size, directory, workshop, say }) {
  await mkdir(directory, { recursive: true });
  const made = {};
  const make = async (name) => {
    if (made[name] === undefined) {
      const from = inputs[name].from === undefined ? undefined : await make(inputs[name].from);
      made[name] = await one(name, from, { size, directory, workshop, say });
    }
    return made[name];
  };
  for (const name of names) await make(name);
  return made;
}

async function one(name, from, context) {
  const { directory, workshop, say } = context;
  const record = join(directory, `${name}.json`);
  try {
    const known = JSON.parse(await readFile(record, "utf8"));
    await stat(join(directory, known.file));
    return located(known, directory);
  } catch (error) {
    if (error.code !== "ENOENT") throw error;
  }
  const started = performance.now();
  const definition = inputs[name];
  // Made under another name, so that an interrupted run leaves nothing that looks finished.
  const unfinished = await mkdtemp(join(directory, "unfinished-"));
  try {
    const out = join(unfinished, definition.file);
    await build(definition, from, out, context);
    const facts = {
      name,
      file: definition.file,
      size: await sizeOf(out),
      ...(await fileHash(out)),
      ...(await diskOf(definition, from, out, context)),
    };
    if (definition.unpack !== undefined) facts.unpack = definition.unpack;
    await rm(join(directory, definition.file), { recursive: true, force: true });
    await rename(out, join(directory, definition.file));
    await writeFile(record, `${JSON.stringify(facts, null, 1)}\n`);
    say(
      `input ${name}: ${Math.round(facts.size / 1e6)} MB, made in ` +
        `${((performance.now() - started) / 1000).toFixed(1)} s`,
    );
    return located(facts, directory);
  } catch (error) {
    throw error instanceof Stop ? new Stop(`making the input ${name}: ${error.message}`, error.code) : error;
  } finally {
    await rm(unfinished, { recursive: true, force: true });
    await rm(workshop.path("tree"), { recursive: true, force: true });
  }
}

const located = (facts, directory) => ({
  ...facts,
  path: join(directory, facts.file),
  raw: facts.raw && join(directory, facts.raw),
  extents: facts.extents && join(directory, facts.extents),
});

async function build(definition, from, out, { size, workshop }) {
  const scale = sizes[size];
  if (definition.script !== undefined) {
    const env = {
      in: from?.path ?? "",
      out,
      times: String(definition.times ?? 1),
      base: String(scale.base.virtualSize),
      random: String(scale.random),
      wide: String(scale.wide),
      grow: String(scale.grow),
    };
    await workshop.run("bash", ["-euo", "pipefail", "-c", definition.script], { env });
    return;
  }
  switch (definition.build) {
    case "disk": {
      const { virtualSize, data } = scale[definition.scale];
      await buildRawDisk(out, { virtualSize, contents: fromUsr(data * (definition.share ?? 1)) }, workshop);
      return;
    }
    case "shuffled":
      await writeShuffled(from, out, workshop);
      return;
    case "iso":
      await copyTrees(fromUsr(scale.iso), workshop.path("tree"), workshop.signal);
      await workshop.run("genisoimage", ["-quiet", "-R", "-J", "-o", out, workshop.path("tree")]);
      return;
    case "many":
      await buildMany(scale.many, out, workshop);
      return;
    default:
      throw new Error(`unknown build ${definition.build}`);
  }
}

/** Small disks that differ: each has files of its own share of /usr, and one of random bytes. */
async function buildMany({ count, virtualSize, data }, directory, workshop) {
  await mkdir(directory);
  const raw = workshop.path("small.raw");
  const own = workshop.path("own");
  for (let index = 0; index < count; index += 1) {
    await mkdir(own, { recursive: true });
    await workshop.run("openssl", ["rand", "-out", join(own, "random"), String(2 ** 20)]);
    await buildRawDisk(
      raw,
      { virtualSize, contents: [{ directory: own, bytes: 2 ** 21 }, ...fromUsr(data)] },
      workshop,
    );
    await workshop.run("qemu-img", [
      "convert",
      "-f",
      "raw",
      "-O",
      "qcow2",
      "-c",
      raw,
      join(directory, `${String(index).padStart(2, "0")}.qcow2`),
    ]);
    await rm(raw);
  }
  await rm(own, { recursive: true });
}

/** What the raw disk is, by qemu-img. */
async function diskOf(definition, from, out, { directory, workshop }) {
  if (definition.disk === "each") {
    const disks = [];
    for (const file of await filesIn(out)) disks.push((await convertedHash(file, workshop)).sha256);
    return { disks };
  }
  if (definition.disk === "from")
    return {
      virtualSize: from.virtualSize,
      data: from.data,
      sha256: from.sha256,
      raw: baseName(from.raw, directory),
      extents: baseName(from.extents, directory),
    };
  if (definition.disk === "itself") {
    const extents = `${definition.file}.extents.json`;
    await writeFile(join(directory, extents), JSON.stringify(await extentsOf(out)));
    const { virtualSize, sha256 } = await hashDisk(out, join(directory, extents));
    return { virtualSize, data: await dataBytes(join(directory, extents)), sha256, raw: definition.file, extents };
  }
  return {
    ...(await convertedHash(out, workshop)),
    data: from.data,
    raw: baseName(from.raw, directory),
    extents: baseName(from.extents, directory),
  };
}

const dataBytes = async (extents) =>
  JSON.parse(await readFile(extents, "utf8")).reduce((sum, { length }) => sum + length, 0);

async function convertedHash(path, workshop) {
  const raw = workshop.path("reference.raw");
  try {
    await workshop.run("qemu-img", ["convert", "-O", "raw", path, raw]);
    await writeFile(`${raw}.json`, JSON.stringify(await extentsOf(raw)));
    return hashDisk(raw, `${raw}.json`);
  } finally {
    await rm(raw, { force: true });
  }
}

/** The files of a directory in the order that a shell's pattern gives them. */
const filesIn = async (directory) => (await readdir(directory)).sort().map((file) => join(directory, file));

const baseName = (path, directory) => path.slice(directory.length + 1);

async function sizeOf(path) {
  const info = await stat(path);
  if (!info.isDirectory()) return info.size;
  const each = await Promise.all((await filesIn(path)).map(async (file) => (await stat(file)).size));
  return each.reduce((sum, bytes) => sum + bytes, 0);
}

async function fileHash(path) {
  if ((await stat(path)).isDirectory()) return {};
  const { stdout } = await capture("sha256sum", ["--", path]);
  return { fileSha256: stdout.slice(0, 64) };
}
