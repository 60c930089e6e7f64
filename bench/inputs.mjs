/**
 * The input images as data, each made from the one named by `from`, by a bash script that reads "$in" and writes
 * "$out".
 * `disk` says how qemu-img gets the raw disk that our image is compared with: by converting the file (or each file of a
 * directory), or from the input it was packed from. `unpack` is how one would do it by hand.
 */
const MiB = 2 ** 20;
const GiB = 2 ** 30;

export const sizes = {
  full: {
    disk: { virtualSize: 8 * GiB, data: 1800e6 },
    half: { virtualSize: 2 * GiB, data: 300e6 },
    random: 1 * GiB,
    base: { virtualSize: 4 * GiB, data: 1 * GiB },
    wide: 100 * GiB,
    grow: 2 * GiB,
    many: { count: 20, virtualSize: 256 * MiB, data: 32 * MiB },
    iso: 400 * MiB,
    rounds: 3,
  },
  small: {
    disk: { virtualSize: 1 * GiB, data: 200 * MiB },
    half: { virtualSize: 512 * MiB, data: 100 * MiB },
    random: 128 * MiB,
    base: { virtualSize: 512 * MiB, data: 100 * MiB },
    wide: 10 * GiB,
    grow: 256 * MiB,
    many: { count: 8, virtualSize: 128 * MiB, data: 16 * MiB },
    iso: 64 * MiB,
    rounds: 3,
  },
  smoke: {
    disk: { virtualSize: 64 * MiB, data: 12 * MiB },
    half: { virtualSize: 48 * MiB, data: 8 * MiB },
    random: 4 * MiB,
    base: { virtualSize: 48 * MiB, data: 8 * MiB },
    wide: 512 * MiB,
    grow: 16 * MiB,
    many: { count: 2, virtualSize: 32 * MiB, data: 4 * MiB },
    iso: 8 * MiB,
    rounds: 1,
  },
};

const convert = (options) => `qemu-img convert -f raw ${options} "$in" "$out"`;

export const inputs = {
  raw: { file: "disk.raw", build: "disk", scale: "disk", disk: "itself" },
  "raw-half": { file: "half.raw", build: "disk", scale: "half", disk: "itself" },
  "raw-base": { file: "base.raw", build: "disk", scale: "base", disk: "itself" },
  random: { file: "random.raw", disk: "itself", script: 'openssl rand "$random" > "$out"' },
  qcow2: { file: "plain.qcow2", from: "raw", disk: "convert", script: convert("-O qcow2") },
  "qcow2-zlib": { file: "zlib.qcow2", from: "raw", disk: "convert", script: convert("-O qcow2 -c") },
  "qcow2-zstd": {
    file: "zstd.qcow2",
    from: "raw",
    disk: "convert",
    script: convert("-O qcow2 -c -o compression_type=zstd"),
  },
  "qcow2-resized": {
    file: "resized.qcow2",
    from: "raw",
    disk: "convert",
    script: `${convert("-O qcow2 -c")}; qemu-img resize -q "$out" "+$grow"`,
  },
  "qcow2-shuffled": { file: "shuffled.qcow2", from: "raw-half", disk: "convert", build: "shuffled" },
  vmdk: { file: "stream.vmdk", from: "raw", disk: "convert", script: convert("-O vmdk -o subformat=streamOptimized") },
  vdi: { file: "disk.vdi", from: "raw", disk: "convert", script: convert("-O vdi") },
  vhdx: { file: "disk.vhdx", from: "raw", disk: "convert", script: convert("-O vhdx -o subformat=dynamic") },
  iso: { file: "disc.iso", build: "iso", disk: "itself" },
  "raw-gz": {
    file: "disk.raw.gz",
    from: "raw",
    disk: "from",
    script: 'gzip -n -6 -c "$in" > "$out"',
    unpack: "pigz -dc",
  },
  "raw-zst": {
    file: "disk.raw.zst",
    from: "raw",
    disk: "from",
    script: 'zstd -q -3 -T2 -c "$in" > "$out"',
    unpack: "zstd -q -dc",
  },
  "raw-xz-one": {
    file: "one.raw.xz",
    from: "raw-half",
    disk: "from",
    script: 'xz -6 -T1 -c "$in" > "$out"',
    unpack: "xz -T2 -dc",
  },
  "raw-xz-many": {
    file: "many.raw.xz",
    from: "raw-half",
    disk: "from",
    script: 'xz -6 -T2 --block-size=24MiB -c "$in" > "$out"',
    unpack: "xz -T2 -dc",
  },
  "qcow2-base": { file: "base.qcow2", from: "raw-base", disk: "convert", script: convert("-O qcow2 -c") },
  "qcow2-wide": {
    file: "wide.qcow2",
    from: "raw-base",
    disk: "convert",
    script: `${convert("-O qcow2 -c")}; qemu-img resize -q "$out" "$wide"`,
  },
  ...Object.fromEntries(
    [4, 12].map((times) => [
      `qcow2-base-${times}x`,
      {
        file: `base-${times}x.qcow2`,
        from: "raw-base",
        disk: "convert",
        times,
        script: `${convert("-O qcow2 -c")}; qemu-img resize -q "$out" $((base * times))`,
      },
    ]),
  ),
  ...Object.fromEntries(
    [1, 2].flatMap((quarters) => [
      [
        `raw-${quarters}-quarters`,
        { file: `quarters-${quarters}.raw`, build: "disk", scale: "disk", share: quarters / 4, disk: "itself" },
      ],
      [
        `qcow2-${quarters}-quarters`,
        {
          file: `quarters-${quarters}.qcow2`,
          from: `raw-${quarters}-quarters`,
          disk: "convert",
          script: convert("-O qcow2 -c"),
        },
      ],
    ]),
  ),
  many: { file: "many", build: "many", disk: "each" },
};
