import { getCiphers } from "node:tls";
import type { Kind } from "./field.ts";

const byteUnits: Readonly<Record<string, number>> = {
  "": 1,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
};

/** Bytes from `512`, `64Ki`, `16Mi`, `1.5Gi`, `2Ti`; undefined when it is no such text or no exact integer. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d{1,16}(?:\.\d{1,3})?)(|[KMGTP]i)B?$/.exec(text);
  if (match === null) return undefined;
  const bytes = Number(match[1]) * (byteUnits[match[2] ?? ""] ?? Number.NaN);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** Bytes in the largest unit that needs no fraction: 65536 is `64Ki`. */
export function formatBytes(bytes: number): string {
  const unit = Object.entries(byteUnits)
    .reverse()
    .find(([, size]) => bytes >= size && bytes % size === 0);
  return unit === undefined ? String(bytes) : `${bytes / unit[1]}${unit[0]}`;
}

const decimalUnits: Readonly<Record<string, number>> = {
  n: -9,
  u: -6,
  m: -3,
  k: 3,
  M: 6,
  G: 9,
  T: 12,
  P: 15,
  E: 18,
};

/** Whole bytes, rounded up, of a Kubernetes quantity: `10Gi`, `5G`, `1e9`, `1500m`; undefined where it is none. */
export function parseQuantity(quantity: string): number | undefined {
  const match = /^\+?(\d{1,19}(?:\.\d{0,9})?|\.\d{1,9})(?:([KMGTPE]i)|([numkMGTPE])|[eE]([+-]?\d{1,3}))?$/.exec(
    quantity,
  );
  if (match === null) return undefined;
  const [, number = "", binary, decimal, exponent] = match;
  const binaryUnits = { ...byteUnits, Ei: 2 ** 60 } as Readonly<Record<string, number>>;
  const unit = binary === undefined ? 1 : (binaryUnits[binary] ?? Number.NaN);
  const power = decimal === undefined ? (exponent ?? "0") : String(decimalUnits[decimal]);
  const bytes = Math.ceil(Number(`${number}e${power}`) * unit);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

/** A Kubernetes quantity as bytes. */
export const quantity: Kind<number> = {
  expected: "a Kubernetes quantity of bytes, such as 10Gi",
  parse: parseQuantity,
  format: formatBytes,
};

export const text: Kind<string> = { expected: "a text", parse: (value) => value, format: (value) => value };
export const path: Kind<string> = { expected: "a path", parse: (value) => value, format: (value) => value };

export const bytes: Kind<number> = {
  expected: "bytes, plain or with Ki, Mi, Gi, Ti, Pi",
  parse: parseBytes,
  format: formatBytes,
};

export const flag: Kind<boolean> = {
  expected: "true or false",
  isSwitch: true,
  parse: (value) => (/^(?:1|t|true|yes)$/i.test(value) ? true : /^(?:0|f|false|no)$/i.test(value) ? false : undefined),
  format: String,
};

/** A whole number from `low` to `high`, both included. */
export function integer(low: number, high: number, what = "a whole number"): Kind<number> {
  return {
    expected: `${what} from ${low} to ${high}`,
    parse: (value) => {
      const number = /^\d{1,15}$/.test(value) ? Number(value) : Number.NaN;
      return number >= low && number <= high ? number : undefined;
    },
    format: String,
  };
}

export const port = integer(0, 65_535, "a port");
export const seconds = integer(1, 86_400, "seconds");

/** One of a few words. */
export function choice<const Words extends readonly string[]>(...words: Words): Kind<Words[number]> {
  return {
    expected: `${words.slice(0, -1).join(", ")} or ${words.at(-1) ?? ""}`,
    parse: (value) => words.find((word) => word === value),
    format: (value) => value,
  };
}

export interface Checksum {
  readonly algorithm: string;
  /** Lower-case hex. */
  readonly expected: string;
}

const digestLengths: Readonly<Record<string, number>> = {
  md5: 32,
  sha1: 40,
  sha256: 64,
  sha512: 128,
  streebog256: 64,
  streebog512: 128,
};

/** Names that a checksum may have. */
export const checksumAlgorithms: readonly string[] = Object.keys(digestLengths);

/** One `algo:hex`; the algorithm in lower case, the sum in either case. */
export function parseChecksum(value: string): Checksum | undefined {
  const [algorithm = "", sum = "", ...rest] = value.trim().split(":");
  const length = Object.hasOwn(digestLengths, algorithm) ? digestLengths[algorithm] : undefined;
  if (rest.length > 0 || sum.length !== length || !/^[0-9a-fA-F]+$/.test(sum)) return undefined;
  return Object.freeze({ algorithm, expected: sum.toLowerCase() });
}

export const checksums: Kind<readonly Checksum[]> = {
  expected: `algo:hex[,algo:hex…] with algo one of ${checksumAlgorithms.join(", ")}`,
  parse: (value) => {
    const parsed = value.split(",").map(parseChecksum);
    return parsed.includes(undefined) ? undefined : Object.freeze(parsed as Checksum[]);
  },
  format: (value) => value.map(({ algorithm, expected }) => `${algorithm}:${expected}`).join(","),
};

export const tlsVersion: Kind<"TLSv1.2" | "TLSv1.3"> = {
  expected: "1.2 or 1.3 (VersionTLS12, TLSv1.3 and the like are understood)",
  parse: (value) => {
    const minor = /^(?:Version)?(?:TLS)?v?1[._]?([23])$/i.exec(value)?.[1];
    return minor === undefined ? undefined : minor === "2" ? "TLSv1.2" : "TLSv1.3";
  },
  format: (value) => value,
};

/** OpenSSL's name for a suite that may be written as IANA and Go do (TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256). */
function opensslCipher(name: string): string {
  const withKeyExchange = /^TLS_(.+)_WITH_(.+)$/.exec(name);
  if (withKeyExchange === null) return name;
  const exchange = withKeyExchange[1] === "RSA" ? "" : `${withKeyExchange[1] ?? ""}-`;
  const cipher = (withKeyExchange[2] ?? "")
    .replace(/^AES_(\d+)_CBC_/, "AES$1_")
    .replace(/^AES_/, "AES")
    .replace(/^(CHACHA20_POLY1305)_SHA256$/, "$1");
  return (exchange + cipher).replaceAll("_", "-");
}

/** Cipher suites, parsed to OpenSSL's colon-separated list. */
export const ciphers: Kind<string> = {
  expected: "cipher suites that OpenSSL knows, separated by commas",
  parse: (value) => {
    const names = value.split(/[,:]/).map((name) => opensslCipher(name.trim()));
    const known = new Set(getCiphers());
    return names.every((name) => known.has(name.toLowerCase())) ? names.join(":") : undefined;
  },
  format: (value) => value.replaceAll(":", ","),
};

/** Texts separated by commas. */
export const texts: Kind<readonly string[]> = {
  expected: "texts, separated by commas",
  parse: (value) =>
    value
      .split(",")
      .map((one) => one.trim())
      .filter((one) => one !== ""),
  format: (value) => value.join(","),
};

export interface ListenAddress {
  /** A name or an address, IPv6 without brackets. */
  readonly host: string;
  readonly port: number;
}

/** `ADDR:PORT`, IPv6 in brackets; `:PORT` is every address. */
export const listenAddress: Kind<ListenAddress> = {
  expected: "ADDRESS:PORT, an IPv6 address in brackets",
  parse: (value) => {
    const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):(\d{1,5})$/.exec(value);
    if (match === null || Number(match[3]) > 65_535) return undefined;
    return Object.freeze({ host: match[1] ?? (match[2] || "0.0.0.0"), port: Number(match[3]) });
  },
  format: ({ host, port: number }) => `${host.includes(":") ? `[${host}]` : host}:${number}`,
};

/** An http:// or https:// URL without a query, kept without the slash at its end. */
export const baseUrl: Kind<string> = {
  expected: "an http:// or https:// URL without a query",
  parse: (value) => {
    const url = /^https?:\/\//i.test(value) && URL.canParse(value) ? new URL(value) : undefined;
    return url === undefined || url.search !== "" || url.hash !== "" || url.username !== ""
      ? undefined
      : url.href.replace(/\/+$/, "");
  },
  format: (value) => value,
};

/** Accepted so that an environment made for others works, and not used. */
export const unused: Kind<string> = { ...text, expected: "anything; accepted and not used" };
