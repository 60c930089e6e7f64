/** Where the time of our process goes, by what its code is for: perf samples all cores, symbols decide. */
import { capture, findCommand, Stop } from "../../scripts/lib/process.mjs";

const anyOf = (...patterns) => new RegExp(patterns.map(({ source }) => source).join("|"), "i");

/** The first that matches the symbol or its library names the stage. */
const stages = [
  ["hash", /sha(1|256|512)|md5_|keccak|stribog/i],
  ["crc", /crc(32|64)/i],
  [
    "inflate",
    anyOf(
      /inflate|deflate_decompress|chunk_?(copy|memset)/,
      /ZSTD_.*decompress|ZSTD_decode|HUF_decomp|huf_dec|FSE_decomp|lzma_|lz_decode|rc_|BZ2_bzDecompress/,
    ),
  ],
  ["deflate", /isal|libisal|deflate|ZSTD_|HUF_|FSE_|hufCompress/i],
  ["zero test", /is_zero|all_zero|isZero/i],
  ["copy", /mem(cpy|move|set)|copy_(to|from)_|_copy_|copyin|copyout|clear_page|rep_(movs|stos)/i],
  [
    "socket",
    anyOf(
      /tcp_|sock|skb|inet_|__ip_|ip_(output|rcv|queue|finish)|loopback|net_rx|netif|napi|sendmsg|recvmsg/,
      /aesni|aes_gcm|ghash|ssl3|tls_/,
    ),
  ],
  ["file", /ext4|filemap|folio|page_cache|vfs_read|readahead|xas_|iomap/i],
  ["page faults", /fault|alloc_pages|get_page|charge|mmap|munmap|zap_|rmqueue|free_unref|lru_/i],
  ["JavaScript", /node|v8|\[JIT\]|Builtins_|jitted|anon/i],
];

/** The command that `script` is run with so that it is sampled into `file`. */
export const perfPrefix = (file) => ["perf", "record", "-q", "-F", "499", "-e", "cpu-clock", "-o", file, "--"];

/** @throws Stop where perf is missing. */
export function requirePerf() {
  if (findCommand("perf") === undefined) throw new Stop("--profile needs perf (Debian package linux-perf)", 2);
}

/** What perf says by `columns`, one array of cells per line, the first a percentage. */
async function reportOf(file, columns) {
  const args = [
    "report",
    "-i",
    file,
    "--stdio",
    "--no-children",
    "-F",
    ["overhead", ...columns].join(","),
    "-t",
    "\t",
    "--percent-limit",
    "0",
  ];
  const { code, stdout, stderr } = await capture("perf", args);
  if (code !== 0) throw new Stop(`perf report: ${stderr}`);
  const rows = stdout
    .split("\n")
    .map((line) => /^\s*([\d.]+)%\s*\t(.*)$/.exec(line))
    .filter((match) => match !== null);
  return rows.map(([, percent, rest]) => [Number(percent), ...rest.split("\t").map((cell) => cell.trim())]);
}

/** Shares of CPU time by the names of threads, largest first, as text. */
export async function threadsOf(file) {
  const shares = await reportOf(file, ["comm"]);
  return shares.filter(([percent]) => percent >= 0.5).map(([percent, name]) => `${name} ${percent.toFixed(1)} %`);
}

/**
 * Shares of CPU time by stage, largest first, and the five hottest symbols of each.
 * @param file what perf recorded.
 */
export async function profileOf(file) {
  const found = new Map();
  for (const [percent, library, symbol] of await reportOf(file, ["dso", "symbol"])) {
    const name =
      stages.find(([, expression]) => expression.test(symbol))?.[0] ??
      stages.find(([, expression]) => expression.test(library))?.[0] ??
      (library.includes("kernel") ? "kernel, other" : "other");
    const stage = found.get(name) ?? { name, percent: 0, symbols: [] };
    stage.percent += percent;
    stage.symbols.push(`${symbol.replace(/^\[.\] /, "").slice(0, 50)} ${percent} %`);
    found.set(name, stage);
  }
  return [...found.values()]
    .sort((a, b) => b.percent - a.percent)
    .map(({ name, percent, symbols }) => ({
      name,
      percent: Math.round(percent * 10) / 10,
      symbols: symbols.slice(0, 5),
    }));
}

/** The profile as lines for a terminal. */
export const profileText = (profile) =>
  profile
    .map(
      ({ name, percent, symbols }) =>
        `    ${`${percent.toFixed(1)} %`.padStart(7)}  ${name.padEnd(13)}  ${symbols.slice(0, 3).join(", ")}`,
    )
    .join("\n");
