/** What Node brings: inflates a .gz and throws the bytes away. */
import { createReadStream } from "node:fs";
import { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";

const sink = new Writable({ write: (_chunk, _encoding, done) => done() });
await pipeline(
  createReadStream(process.argv[2], { highWaterMark: 2 ** 20 }),
  createGunzip({ chunkSize: 2 ** 20 }),
  sink,
);
