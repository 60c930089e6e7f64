/**
 * Everything that is measured, as data: a bash script per side, which waits for all that it starts.
 *
 * `role`: ours, peer (end to end), component (a part of the job), floor (what bounds the job).
 * `needs`: commands, or Debian packages as "command:package". `repository`: where its image is, to be verified.
 * `holds`: what /disk/disk.img must be (raw: what qemu-img gives; verbatim: the input itself). `origin`: http or https,
 * a server for the input. `input`: another one than the case's. `count`: it stores so many images. `latency`: /metrics
 * is asked meanwhile.
 * `after`: the side whose stored image it works on ($LAYOUT, $LAYER, $LAYER_DIGEST).
 *
 * The scripts see DVCR (the checkout), IMAGE (the input), RAW and EXTENTS (its disk), URL and CERTIFICATES (the
 * origin), REGISTRY (host:port) and what lib/run-case.mjs documents.
 */
const ours = (source, options = "") =>
  `"$DVCR/bin/dvcr" import --quiet --json --scratch-dir "$TMPDIR" ${options} ${source} ` +
  `"docker://$REGISTRY/bench/ours:1" --dest-tls-verify=false`;

const oursSide = (label, source, options, more = {}) => ({
  role: "ours",
  label,
  repository: "bench/ours",
  holds: "raw",
  script: ours(source, options),
  ...more,
});

/** By hand: to raw, tar, compress, both digests, push; streamed, so that hashing, packing and pushing overlap. */
const byHand = (compress, mediaType) => `
mkdir disk
if [ -n "$UNPACK" ]; then $UNPACK < "$IMAGE" | dd conv=sparse bs=1M of=disk/disk.img status=none
elif [ "$IMAGE" = "$RAW" ]; then ln "$IMAGE" disk/disk.img
else qemu-img convert -O raw "$IMAGE" disk/disk.img; fi
base="http://$REGISTRY/v2/bench/hand"
upload() { curl -sSf -D - -o /dev/null -X POST "$base/blobs/uploads/" | tr -d '\\r' | sed -n 's/^[Ll]ocation: //p'; }
mkfifo tar layer
openssl dgst -sha256 -r < tar > diffid & openssl dgst -sha256 -r < layer > digest &
location=$(upload)
tar -c --format=gnu --mtime=@0 --sort=name --owner=107 --group=107 --numeric-owner disk | tee tar |
  ${compress} | tee layer |
  curl -sSf -D head -o /dev/null -X PATCH -H 'Content-Type: application/octet-stream' -T - "$location"
wait
diffid=$(cut -c1-64 diffid); digest=$(cut -c1-64 digest)
location=$(tr -d '\\r' < head | sed -n 's/^[Ll]ocation: //p'); size=$(tr -d '\\r' < head | sed -n 's/^[Rr]ange: 0-//p')
curl -sSf -X PUT "$location&digest=sha256:$digest"
printf '{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \\
  $diffid > config
config=$(sha256sum config | cut -c1-64)
curl -sSf -X PUT -H 'Content-Type: application/octet-stream' --data-binary @config "$(upload)&digest=sha256:$config"
oci=application/vnd.oci.image
descriptor='{"mediaType":"%s","digest":"sha256:%s","size":%d}'
printf '{"schemaVersion":2,"mediaType":"%s.manifest.v1+json","config":'"$descriptor"',"layers":['"$descriptor"']}' \\
  $oci $oci.config.v1+json $config $(stat -c %s config) $oci.layer.v1.${mediaType} $digest $((size + 1)) > manifest
curl -sSf -X PUT -H "Content-Type: $oci.manifest.v1+json" --data-binary @manifest "$base/manifests/1"
`;

const byHandSide = (label, needs, compress, mediaType) => ({
  role: "peer",
  group: "hand",
  label: `by hand: qemu-img, tar, ${label}, curl`,
  needs: ["qemu-img:qemu-utils", "curl:curl", needs],
  repository: "bench/hand",
  holds: "raw",
  script: byHand(compress, mediaType),
});

const importerEnvironment = `
export IMPORTER_SOURCE=http IMPORTER_ENDPOINT="$URL" OWNER_UID=bench DESTINATION_INSECURE_TLS=true
export IMPORTER_DESTINATION_ENDPOINT="$REGISTRY/bench/importer:1" IMPORTER_DESTINATION_AUTH_CONFIG="$TMPDIR/auth.json"
export DVCR_TERMINATION_LOG="$TMPDIR/termination-log" DVCR_METRICS_PORT="$METRICS_PORT" DVCR_SCRATCH_DIR="$TMPDIR"
echo '{"auths":{}}' > "$TMPDIR/auth.json"
`;
/**
 * A refused import ends with 0, so that no pod is started again: whether there is an image is asked of the registry.
 */
const importer = (command) =>
  `${importerEnvironment}${command} > importer.log 2>&1 || { tail -n 20 importer.log >&2; exit 1; }`;

const buildah = `
own=(--root "$TMPDIR/storage" --runroot "$TMPDIR/run" --storage-driver overlay)
mkdir context; ln "$IMAGE" context/disk.img
printf 'FROM scratch\\nADD --chown=107:107 disk.img /disk/\\n' > Containerfile
buildah "\${own[@]}" build --isolation chroot -q -f Containerfile -t localhost/disk context > id
buildah "\${own[@]}" push -q --tls-verify=false localhost/disk "docker://$REGISTRY/bench/buildah:1"
buildah "\${own[@]}" rmi -a > removed
`;

const upload = `
export LISTEN_ADDRESS=127.0.0.1 LISTEN_PORT=0 HEALTHZ_PORT=0 DVCR_METRICS_PORT=0 DVCR_SCRATCH_DIR="$TMPDIR"
export OWNER_UID=bench DESTINATION_INSECURE_TLS=true DVCR_TERMINATION_LOG="$TMPDIR/termination-log"
UPLOADER_DESTINATION_ENDPOINT="$REGISTRY/bench/ours:1" \\
  "$DVCR/bin/dvcr-uploader" > uploader.log 2>&1 &
for i in $(seq 500); do
  port=$(sed -n 's/.*"uploadPort":\\([0-9]*\\).*/\\1/p' uploader.log)
  [ -n "$port" ] && break
  sleep 0.02
done
curl -sSf -T "$IMAGE" "http://127.0.0.1:$port/upload" || { cat uploader.log >&2; exit 1; }
wait
`;

/** N imports of different images at once, from as many processes; N is the side's number. */
const concurrent = (count) => `
images=("$IMAGE"/*.qcow2)
for i in $(seq 0 ${count - 1}); do
  image="\${images[$((i % \${#images[@]}))]}"
  "$DVCR/bin/dvcr" import --quiet --scratch-dir "$TMPDIR" --dest-tls-verify=false "$image" \\
    "docker://$REGISTRY/bench/ours$i:1" & all+=($!)
done
for pid in "\${all[@]}"; do wait "$pid"; done
`;

const putBlob = (file, digest) => `
location=$(curl -sSf -D - -o /dev/null -X POST "http://$REGISTRY/v2/bench/blob/blobs/uploads/" |
  tr -d '\\r' | sed -n 's/^[Ll]ocation: //p')
curl -sSf -T ${file} -H 'Content-Type: application/octet-stream' "$location&digest=sha256:${digest}"
`;

export const sides = {
  ours: oursSide("dvcr import", '"$IMAGE"'),
  "ours-zstd": oursSide("dvcr import --compression zstd", '"$IMAGE"', "--compression zstd"),
  "ours-dense": oursSide("dvcr import of the disk before it grew", '"$IMAGE"', "", { input: "qcow2-base" }),
  "ours-dense-zstd": oursSide("the same, --compression zstd", '"$IMAGE"', "--compression zstd", {
    input: "qcow2-base",
  }),
  ...Object.fromEntries(
    ["base", "base-4x", "base-12x", "wide", "1-quarters", "2-quarters"].map((name) => [
      `ours-${name}`,
      oursSide(`dvcr import, ${name.replace("-", " ")}`, '"$IMAGE"', "", { input: `qcow2-${name}` }),
    ]),
  ),
  "ours-http": oursSide("dvcr import http://", '"$URL"', "", { origin: "http", needs: ["nginx:nginx-light"] }),
  "ours-https": oursSide("dvcr import https://", '"$URL"', '--src-cert-dir "$CERTIFICATES"', {
    origin: "https",
    needs: ["nginx:nginx-light"],
  }),
  "ours-source": oursSide(
    "dvcr import --format source --compression none",
    '"$IMAGE"',
    "--format source --compression none",
    { holds: "verbatim" },
  ),
  "ours-upload": oursSide("curl -T to dvcr-uploader, both", "", "", { script: upload, needs: ["curl:curl"] }),
  "ours-taskset": oursSide("dvcr import, taskset -c 0", '"$IMAGE"', "", {
    script: `taskset -c 0 ${ours('"$IMAGE"')}`,
    needs: ["taskset:util-linux"],
  }),
  "ours-quota": oursSide("dvcr import, cgroup quota of one core", '"$IMAGE"', "", {
    script: `echo $$ > "$ONE_CORE"; ${ours('"$IMAGE"')}`,
    needs: ["@one-core"],
  }),
  "ours-importer": {
    role: "ours",
    label: "dvcr-importer",
    origin: "http",
    needs: ["nginx:nginx-light"],
    repository: "bench/importer",
    holds: "raw",
    script: importer('"$DVCR/bin/dvcr-importer"'),
  },
  "ours-importer-taskset": {
    role: "ours",
    label: "dvcr-importer, taskset -c 0, /metrics asked",
    origin: "http",
    needs: ["nginx:nginx-light"],
    repository: "bench/importer",
    holds: "raw",
    latency: true,
    script: importer('taskset -c 0 "$DVCR/bin/dvcr-importer"'),
  },
  "ours-importer-quota": {
    role: "ours",
    label: "dvcr-importer, quota of one core, /metrics asked",
    origin: "http",
    needs: ["nginx:nginx-light", "@one-core"],
    repository: "bench/importer",
    holds: "raw",
    latency: true,
    script: importer('sh -c \'echo $$ > "$ONE_CORE"; exec "$DVCR/bin/dvcr-importer"\''),
  },
  ...Object.fromEntries(
    [1, 2, 4, 8, 16, 32].map((count) => [
      `ours-${count}-at-once`,
      { role: "ours", label: `${count} × dvcr import at once`, count, script: concurrent(count) },
    ]),
  ),

  importer: {
    role: "peer",
    label: "$BENCH_IMPORTER",
    origin: "http",
    needs: ["nginx:nginx-light", "@importer"],
    repository: "bench/importer",
    holds: "any",
    script: importer("$BENCH_IMPORTER"),
  },
  "hand-pigz": byHandSide("pigz -1", "pigz:pigz", "pigz -1", "tar+gzip"),
  "hand-igzip": byHandSide("igzip -1", "igzip:isal", "igzip -1", "tar+gzip"),
  "hand-zstd": byHandSide("zstd -1 -T2", "zstd:zstd", "zstd -q -1 -T2", "tar+zstd"),
  buildah: {
    role: "peer",
    label: "buildah: FROM scratch, ADD, push (stored as it is)",
    needs: ["buildah:buildah"],
    repository: "bench/buildah",
    holds: "verbatim",
    script: buildah,
  },

  skopeo: {
    role: "component",
    label: "skopeo copy of our image, layout to registry",
    needs: ["skopeo:skopeo"],
    after: "ours",
    script:
      'skopeo copy -q --insecure-policy --dest-tls-verify=false "oci:$LAYOUT:bench" ' +
      '"docker://$REGISTRY/bench/skopeo:1"',
  },
  "qemu-img": {
    role: "component",
    label: "qemu-img convert -O raw",
    needs: ["qemu-img:qemu-utils"],
    script: 'qemu-img convert -O raw "$IMAGE" out.raw',
  },
  nbdcopy: {
    role: "component",
    label: "nbdcopy from qemu-nbd to raw",
    needs: ["nbdcopy:libnbd-bin", "qemu-nbd:qemu-utils"],
    script: 'nbdcopy -- [ qemu-nbd -r -f qcow2 "$IMAGE" ] out.raw',
  },
  "nbdkit-xz": {
    role: "component",
    label: "nbdkit --filter=xz, nbdcopy",
    needs: ["nbdcopy:libnbd-bin", "nbdkit:nbdkit"],
    script: 'nbdcopy -- [ nbdkit --exit-with-parent --filter=xz file "$IMAGE" xz-max-block=64M ] null:',
  },
  "lzma-native": {
    role: "component",
    label: "lzma-native, decode only",
    needs: ["@lzma-native"],
    script: 'node "$DVCR/bench/peers/lzma-native.mjs" "$IMAGE"',
  },
  "node-zlib": {
    role: "component",
    label: "node:zlib, decode only",
    script: 'node "$DVCR/bench/peers/node-zlib.mjs" "$IMAGE"',
  },

  sha256: {
    role: "floor",
    label: "SHA-256 of the disk",
    script: 'node "$DVCR/bench/peers/sha256-floor.mjs" "$RAW" "$EXTENTS" "$VIRTUAL_SIZE"',
  },
  "sha256-file": { role: "floor", label: "openssl dgst -sha256 of the file", script: 'openssl dgst -sha256 "$IMAGE"' },
  ingest: {
    role: "floor",
    label: "curl of our layer to the registry",
    needs: ["curl:curl"],
    after: "ours",
    script: putBlob('"$LAYER"', "$LAYER_DIGEST"),
  },
  "ingest-file": {
    role: "floor",
    label: "curl -T of the file to the registry",
    needs: ["curl:curl"],
    script: putBlob('"$IMAGE"', "$IMAGE_SHA256"),
  },
  "gzip-dc": { role: "floor", label: "gzip -dc >/dev/null", script: 'gzip -dc "$IMAGE" > /dev/null' },
  "xz-dc": { role: "floor", label: "xz -dc >/dev/null", script: 'xz -T1 -dc "$IMAGE" > /dev/null' },
  "xz-T2-dc": { role: "floor", label: "xz -T2 -dc >/dev/null", script: 'xz -T2 -dc "$IMAGE" > /dev/null' },
};
