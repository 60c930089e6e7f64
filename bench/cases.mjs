/**
 * The cases as data. A case measures its `sides` (bench/sides.mjs) on one input (bench/inputs.mjs); `targets` are what
 * must hold between the medians of one run. "hand" stands for all by-hand pipelines, and in a target for the fastest of
 * them.
 *
 * `inOrder`: the input can be converted in one pass, so nothing may be written to scratch. `memory`: the limit of
 * resident memory in MiB where it is not the usual one. `rounds`: fewer than usual where one round takes minutes.
 */
import { cpus } from "node:os";

const MiB = 2 ** 20;
/** Bytes that the file system may write by itself when files are read: when that was. */
const inodeTimes = 64 * 1024;
const unit = { wall: "s", cpu: "s" };

/** `metric` of one side at most `factor` times that of another. */
const ratio = (metric, of, to, factor) => ({
  text: `${metric === "wall" ? "wall" : "CPU"} of ${of} ≤ ${factor} × ${to}`,
  unit: unit[metric],
  needs: [of, to],
  value: (m) => m[of][metric],
  limit: (m) => factor * m[to][metric],
});

const total = (side) => side.cpu + side.registryCpu + side.originCpu;
const cores = cpus().length;

/**
 * The zeros that a disk has more than another one of the same data may cost a share of their size in the stored layer.
 */
const zeros = (side, dense, share) => ({
  text: `added zeros cost ≤ 1/${share} of their size in ${side}`,
  unit: "B",
  needs: [side, dense],
  value: (m) => m[side].stored - m[dense].stored,
  limit: (m) => (m[side].virtualSize - m[dense].virtualSize) / share,
});

const hand = (share, cpu) => [
  ratio("wall", "ours", "hand", share),
  ...(cpu === undefined ? [] : [ratio("cpu", "ours", "hand", cpu)]),
];
const likeFile = (side, factor) => ratio("wall", side, "ours", factor);

export const cases = [
  {
    name: "qcow2-zlib",
    title: "qcow2, zlib",
    input: "qcow2-zlib",
    inOrder: true,
    sides: ["ours", "hand", "buildah", "sha256"],
    targets: [...hand(0.25, 0.3), ratio("wall", "ours", "sha256", cores >= 4 ? 1.25 : 1.7)],
  },
  {
    name: "http",
    title: "the same over http and https",
    input: "qcow2-zlib",
    inOrder: true,
    sides: ["ours", "ours-http", "ours-https"],
    targets: [likeFile("ours-http", 1.1), likeFile("ours-https", 1.25)],
  },
  {
    name: "importer",
    title: "as the controller starts it, over http",
    input: "qcow2-zlib",
    inOrder: true,
    sides: ["ours-importer", "importer"],
    targets: [],
  },
  {
    name: "components",
    title: "parts of the job alone",
    input: "qcow2-zlib",
    inOrder: true,
    sides: ["ours", "qemu-img", "nbdcopy", "skopeo", "ingest"],
    targets: [],
  },
  {
    name: "vmdk",
    title: "VMDK, streamOptimized",
    input: "vmdk",
    inOrder: true,
    sides: ["ours", "hand", "sha256"],
    targets: hand(0.25),
  },
  {
    name: "qcow2-zstd",
    title: "qcow2, zstd",
    input: "qcow2-zstd",
    inOrder: true,
    sides: ["ours", "ours-zstd", "hand", "sha256"],
    targets: [],
  },
  {
    name: "qcow2",
    title: "qcow2, not compressed",
    input: "qcow2",
    inOrder: true,
    sides: ["ours", "hand", "buildah", "sha256"],
    targets: [],
  },
  {
    name: "qcow2-resized",
    title: "qcow2, zlib, resized",
    input: "qcow2-resized",
    inOrder: true,
    sides: ["ours", "hand"],
    targets: [],
  },
  {
    name: "qcow2-shuffled",
    title: "qcow2, written in random order",
    input: "qcow2-shuffled",
    sides: ["ours", "hand", "sha256"],
    targets: [],
  },
  { name: "vdi", title: "VDI", input: "vdi", inOrder: true, sides: ["ours", "hand", "sha256"], targets: [] },
  { name: "vhdx", title: "VHDX", input: "vhdx", inOrder: true, sides: ["ours", "hand", "sha256"], targets: [] },
  { name: "raw", title: "raw file", input: "raw", inOrder: true, sides: ["ours", "hand", "sha256"], targets: [] },
  {
    name: "raw-upload",
    title: "raw, uploaded by curl",
    input: "raw",
    inOrder: true,
    sides: ["ours", "ours-upload", "sha256", "ingest"],
    targets: [
      {
        text: "wall ≤ 1.2 × max(SHA-256, registry's ingest, all CPU / cores)",
        unit: "s",
        needs: ["ours-upload", "sha256", "ingest"],
        value: (m) => m["ours-upload"].wall,
        limit: (m) => 1.2 * Math.max(m.sha256.wall, m.ingest.wall, total(m["ours-upload"]) / cores),
      },
    ],
  },
  {
    name: "raw-gz",
    title: "raw.gz",
    input: "raw-gz",
    inOrder: true,
    sides: ["ours", "gzip-dc", "node-zlib", "hand", "sha256"],
    targets: [ratio("wall", "ours", "gzip-dc", 1)],
  },
  {
    name: "raw-zst",
    title: "raw.zst",
    input: "raw-zst",
    inOrder: true,
    sides: ["ours", "ours-zstd", "hand", "sha256"],
    targets: [],
  },
  {
    name: "raw-xz-one",
    title: "raw.xz, one block",
    input: "raw-xz-one",
    inOrder: true,
    sides: ["ours", "xz-dc", "lzma-native", "hand"],
    targets: [ratio("wall", "ours", "xz-dc", 1.15)],
  },
  {
    name: "raw-xz-many",
    title: "raw.xz, many blocks",
    input: "raw-xz-many",
    inOrder: true,
    memory: 256 + 48,
    sides: ["ours", "xz-T2-dc", "lzma-native", "nbdkit-xz", "hand"],
    targets: [ratio("wall", "ours", "xz-T2-dc", 1.6)],
  },
  { name: "iso", title: "ISO", input: "iso", inOrder: true, sides: ["ours", "hand", "buildah", "sha256"], targets: [] },
  {
    name: "incompressible",
    title: "random bytes, raw",
    input: "random",
    inOrder: true,
    sides: ["ours", "hand", "sha256", "ingest"],
    targets: [],
  },
  {
    name: "source",
    title: "stored as it is, not compressed",
    input: "qcow2-zlib",
    inOrder: true,
    sides: ["ours-source", "buildah", "sha256-file", "ingest-file"],
    targets: [
      {
        text: "CPU ≤ 0.4 s + 1.6 × (SHA-256 of the file + curl -T)",
        unit: "s",
        needs: ["ours-source", "sha256-file", "ingest-file"],
        value: (m) => m["ours-source"].cpu,
        limit: (m) => 0.4 + 1.6 * (m["sha256-file"].cpu + m["ingest-file"].cpu),
      },
    ],
  },
  {
    name: "wide",
    title: "100 times more virtual size than data",
    input: "qcow2-wide",
    inOrder: true,
    rounds: 1,
    sides: ["ours", "ours-zstd", "ours-dense", "ours-dense-zstd", "sha256"],
    targets: [
      ratio("wall", "ours", "sha256", 1.2),
      zeros("ours", "ours-dense", 1000),
      zeros("ours-zstd", "ours-dense-zstd", 30_000),
    ],
  },
  {
    name: "one-core",
    title: "on one core",
    input: "qcow2-zlib",
    inOrder: true,
    sides: ["ours", "ours-taskset", "ours-quota", "ours-importer-taskset", "ours-importer-quota"],
    targets: [
      ratio("cpu", "ours-taskset", "ours", 1.1),
      ratio("cpu", "ours-quota", "ours", 1.1),
      ...["taskset", "quota"].map((how) => ({
        text: `/metrics answers 99 of 100 times within 250 ms (${how})`,
        unit: "s",
        needs: [`ours-importer-${how}`],
        value: (m) => m[`ours-importer-${how}`].latency,
        limit: () => 0.25,
      })),
    ],
  },
  {
    name: "at-once",
    title: "32 imports at once",
    input: "many",
    inOrder: true,
    sides: ["ours-1-at-once", "ours-32-at-once"],
    targets: [
      {
        text: "CPU of one of 32 ≤ 1.1 × one alone",
        unit: "s",
        needs: ["ours-1-at-once", "ours-32-at-once"],
        value: (m) => m["ours-32-at-once"].cpu / 32,
        limit: (m) => 1.1 * m["ours-1-at-once"].cpu,
      },
      {
        text: "wall of 32 ≤ 1.15 × all CPU / cores",
        unit: "s",
        needs: ["ours-32-at-once"],
        value: (m) => m["ours-32-at-once"].wall,
        limit: (m) => (1.15 * total(m["ours-32-at-once"])) / cores,
      },
    ],
  },
];

/** What every side of ours must keep besides the case's own targets. */
export function generalTargets(one) {
  const ours = one.sides.filter((side) => side.startsWith("ours"));
  const memory = one.memory ?? 200;
  return [
    {
      text: `resident memory of ours ≤ ${memory} MiB`,
      unit: "B",
      needs: ours.slice(0, 1),
      value: (m) => largest(m, ours, "rss"),
      limit: () => memory * MiB,
    },
    ...(one.inOrder
      ? [
          {
            text: "scratch of ours = 0",
            unit: "B",
            needs: ours.slice(0, 1),
            value: (m) => largest(m, ours, "scratch"),
            limit: () => inodeTimes,
          },
        ]
      : []),
  ];
}

const largest = (m, names, metric) =>
  Math.max(...names.filter((name) => m[name] !== undefined).map((name) => m[name][metric]));

/**
 * The cases as --smoke runs them: every side once, but of the ways by hand all in the first case only, and fewer
 * imports at once.
 */
export const smokeCases = cases.map((one, index) => ({
  ...one,
  sides: one.sides.map((name) =>
    name === "hand" && index > 0 ? "hand-zstd" : name === "ours-32-at-once" ? "ours-4-at-once" : name,
  ),
}));
