/** The prebuilt binding of liblzma on npm: unpacks an .xz and throws the bytes away. */
import { createReadStream } from "node:fs";
import { Writable } from "node:stream";
import { pipeline } from "node:stream/promises";

import lzma from "lzma-native";

const sink = new Writable({ write: (_chunk, _encoding, done) => done() });
await pipeline(createReadStream(process.argv[2], { highWaterMark: 2 ** 20 }), lzma.createDecompressor(), sink);
