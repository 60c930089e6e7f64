/** IPv4 addresses inside of IPv6 ones: a gateway or tunnel on the way would connect to them. */
import { isIP } from "node:net";

/** The address itself, without a zone, and every IPv4 address that it may stand for. */
export function addressForms(address: string): string[] {
  const [bare] = address.split("%") as [string];
  if (isIP(bare) !== 6) return [bare];
  const bytes = bytesOf(bare);
  const starts = (...prefix: number[]): boolean => prefix.every((byte, index) => bytes[index] === byte);
  const v4 = (...positions: number[]): string => positions.map((position) => bytes[position]).join(".");
  const forms = [bare];
  const zeros = (count: number): boolean => bytes.subarray(0, count).every((byte) => byte === 0);
  // Compatible and mapped (RFC 4291, 2.5.5), translated (RFC 2765, 2.1).
  const isMapped = zeros(10) && bytes[10] === bytes[11] && (bytes[10] === 0 || bytes[10] === 255);
  const isTranslated = zeros(8) && bytes[8] === 255 && bytes[9] === 255 && bytes[10] === 0 && bytes[11] === 0;
  if (isMapped || isTranslated) forms.push(v4(12, 13, 14, 15));
  // NAT64: the well-known prefix (RFC 6052), and the local one (RFC 8215) at any length that has room for an address.
  const isLocal = starts(0, 0x64, 0xff, 0x9b, 0, 1);
  if (isLocal || starts(0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0)) forms.push(v4(12, 13, 14, 15));
  const isZeroFrom = (position: number): boolean => bytes.subarray(position).every((byte) => byte === 0);
  if (isLocal && isZeroFrom(11)) forms.push(v4(6, 7, 9, 10));
  else if (isLocal && isZeroFrom(12)) forms.push(v4(7, 9, 10, 11));
  else if (isLocal && isZeroFrom(13)) forms.push(v4(9, 10, 11, 12));
  // 6to4 (RFC 3056).
  if (starts(0x20, 0x02)) forms.push(v4(2, 3, 4, 5));
  // Teredo (RFC 4380, section 4): the server, and the client with its bits inverted.
  if (starts(0x20, 0x01, 0, 0))
    forms.push(v4(4, 5, 6, 7), [12, 13, 14, 15].map((position) => bytes[position]! ^ 0xff).join("."));
  // ISATAP (RFC 5214, section 6.1), below any prefix.
  if ((bytes[8]! & 0xfd) === 0 && bytes[9] === 0 && bytes[10] === 0x5e && bytes[11] === 0xfe)
    forms.push(v4(12, 13, 14, 15));
  return forms;
}

function bytesOf(address: string): Uint8Array {
  // As a URL every IPv6 address is written in one way, in hexadecimal throughout.
  const text = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = "", tail] = text.split("::");
  const groups = (part: string | undefined): number[] =>
    part === undefined || part === "" ? [] : part.split(":").map((group) => parseInt(group, 16));
  const [first, last] = [groups(head), groups(tail)];
  const all = [...first, ...new Array<number>(8 - first.length - last.length).fill(0), ...last];
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 255]));
}
