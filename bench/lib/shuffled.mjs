/** A qcow2 whose clusters were allocated in no order, as by a machine that ran for a while. */
import { once } from "node:events";
import { createReadStream, createWriteStream, readFileSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

const MiB = 2 ** 20;

/**
 * Writes the data of the disk `from` into a new qcow2 at `out`, a MiB at a time in a fixed random order, by qemu-io.
 */
export async function writeShuffled(from, out, workshop) {
  const pieces = workshop.path("pieces");
  await mkdir(pieces);
  try {
    await workshop.run("qemu-img", ["create", "-q", "-f", "qcow2", out, String(from.virtualSize)]);
    const commands = [];
    for (const { start, length } of JSON.parse(readFileSync(from.extents, "utf8"))) {
      for (let at = start; at < start + length; at += MiB) {
        const size = Math.min(MiB, start + length - at);
        const piece = join(pieces, String(at));
        await pipeline(createReadStream(from.raw, { start: at, end: at + size - 1 }), createWriteStream(piece));
        commands.push(`write -q -s ${piece} ${String(at)} ${String(size)}\n`);
      }
    }
    const script = workshop.path("commands");
    const file = createWriteStream(script);
    file.end(shuffle(commands).join(""));
    await once(file, "close");
    await workshop.run("bash", ["-c", 'exec qemu-io -t unsafe -f qcow2 "$1" < "$2"', "shuffled", out, script]);
  } finally {
    await rm(pieces, { recursive: true });
  }
}

/** The same order on every machine: Fisher and Yates with a linear congruential generator. */
function shuffle(list) {
  let state = 1;
  for (let last = list.length - 1; last > 0; last -= 1) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    const other = state % (last + 1);
    [list[last], list[other]] = [list[other], list[last]];
  }
  return list;
}
