/** Snappy's framing format, written the plain way: literals only, every chunk with its checksum. */

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let value = byte;
  for (let bit = 0; bit < 8; bit += 1) value = (value >>> 1) ^ (value & 1 ? 0x82f63b78 : 0);
  return value >>> 0;
});

function maskedCrc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = (crcTable[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8);
  crc = ~crc >>> 0;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

function chunkOf(type: number, plain: Uint8Array, body: Uint8Array): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(type | ((body.length + 4) << 8));
  head.writeUInt32LE(maskedCrc32c(plain), 4);
  return Buffer.concat([head, body]);
}

/** A block of one literal: its length as a varint, then the tag for a literal with a length of two bytes. */
function literalBlock(plain: Uint8Array): Buffer {
  const varint: number[] = [];
  for (let rest = plain.length; ; rest >>>= 7) {
    if (rest < 128) {
      varint.push(rest);
      break;
    }
    varint.push((rest & 127) | 128);
  }
  const length = plain.length - 1;
  return Buffer.concat([Buffer.from([...varint, 61 << 2, length & 255, length >>> 8]), plain]);
}

/** `content` as a framed stream whose chunks are compressed and not in turn. */
export function snappyFrames(content: Uint8Array): Buffer {
  const parts: Uint8Array[] = [Buffer.from([0xff, 6, 0, 0]), Buffer.from("sNaPpY")];
  for (let at = 0; at < content.length; at += 65_536) {
    const plain = content.subarray(at, at + 65_536);
    parts.push((at / 65_536) % 2 === 0 ? chunkOf(0, plain, literalBlock(plain)) : chunkOf(1, plain, plain));
  }
  return Buffer.concat(parts);
}
