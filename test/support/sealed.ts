/** Pod processes as a node runs them: read-only root, private /tmp, uid 64535, no new privileges, one core. */
import { spawn } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { observed, type PodExecutable } from "./executable.ts";
import { ownerUid } from "./pod.ts";

const podUser = 64535;

export interface SealedOptions {
  readonly environment: Readonly<Record<string, string>>;
  /** Unpacked image to run in; the checkout's build in a root of the machine's libraries without it. */
  readonly image?: string;
  /** Files by their path in the pod, as mounted Secrets and ConfigMaps hold them. */
  readonly files?: Readonly<Record<string, string>>;
  /** A disk image file that becomes /tmp/fs/disk.img. */
  readonly volume?: string;
  /** A block device that becomes /dev/xvda. */
  readonly device?: string;
}

export interface SealedPod extends PodExecutable {
  /** Bytes of the termination message as the kubelet finds them. */
  readonly terminationLog: string;
  dispose(): void;
}

/**
 * Mounts are made in a namespace of the process's own and go with it. All processes up to the pod's own are exec'ed:
 * one pid.
 */
const seal = `
set -eu
root=$1 pod=$2; shift 2
if [ -n "$SEALED_IMAGE" ]; then
  mount --bind "$SEALED_IMAGE" "$root"
else
  mount -t tmpfs tmpfs "$root"
  cd "$root"
  mkdir -p usr lib lib64 bin etc dev proc tmp opt/dvcr/build/native opt/dvcr/dist opt/dvcr/bin opt/dvcr/node_modules
  mkdir dvcr-src-auth dvcr-auth certs proxycerts
  for name in usr lib lib64 bin; do [ ! -d "/$name" ] || mount --bind -o ro "/$name" "$name"; done
  mount -t tmpfs tmpfs usr/local/bin
  touch usr/local/bin/node; mount --bind -o ro "$SEALED_NODE" usr/local/bin/node
  for name in importer uploader; do ln -s "/opt/dvcr/bin/dvcr-$name" "usr/local/bin/dvcr-$name"; done
  cp "$SEALED_CHECKOUT/package.json" opt/dvcr/
  for name in dist bin build/native; do mount --bind -o ro "$SEALED_CHECKOUT/$name" "opt/dvcr/$name"; done
  mount --bind -o ro "$SEALED_MODULES" opt/dvcr/node_modules
  cd /
fi
mount --bind "$pod/tmp" "$root/tmp"
mount -t tmpfs tmpfs "$root/dev"
for name in null zero random urandom; do touch "$root/dev/$name"; mount --bind "/dev/$name" "$root/dev/$name"; done
touch "$root/dev/termination-log"; mount --bind "$pod/termination-log" "$root/dev/termination-log"
if [ -n "$SEALED_DEVICE" ]; then
  mknod -m 600 "$root/dev/xvda" b $((0x$(stat -c %t "$SEALED_DEVICE"))) $((0x$(stat -c %T "$SEALED_DEVICE")))
  chown ${podUser} "$root/dev/xvda"
fi
mount --bind /proc "$root/proc"
for name in dvcr-src-auth dvcr-auth certs proxycerts; do
  [ ! -d "$pod/$name" ] || mount --bind -o ro "$pod/$name" "$root/$name"
done
mount -o remount,bind,ro "$root"
unset SEALED_IMAGE SEALED_NODE SEALED_CHECKOUT SEALED_MODULES SEALED_DEVICE
exec setpriv --no-new-privs taskset -c 0 chroot --userspec=${podUser}:${podUser} --groups=${podUser} "$root" "$@"
`;

const inCheckout = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/** Starts /usr/local/bin/NAME with -v=3. Needs root, for the mounts; without it this fails. */
export function startSealed(name: "dvcr-importer" | "dvcr-uploader", options: SealedOptions): SealedPod {
  if (process.getuid?.() !== 0)
    throw new Error("the contract tests lay out a pod's file system with mounts: run them as root");
  const pod = mkdtempSync(join(tmpdir(), "dvcr-sealed-"));
  const at = (path: string): string => join(pod, path);
  mkdirSync(at("root"));
  mkdirSync(at("tmp"));
  chmodSync(at("tmp"), 0o1777);
  chmodSync(pod, 0o755);
  for (const [path, text] of Object.entries(options.files ?? {})) {
    mkdirSync(at(join(path, "..")), { recursive: true });
    writeFileSync(at(path), text);
  }
  if (options.volume !== undefined) {
    mkdirSync(at("tmp/fs"));
    copyFileSync(options.volume, at("tmp/fs/disk.img"));
  }
  const terminationLog = at("termination-log");
  writeFileSync(terminationLog, "");
  chownSync(terminationLog, podUser, podUser);
  const child = spawn(
    "unshare",
    [
      "--mount",
      "--propagation",
      "private",
      "sh",
      "-c",
      seal,
      "seal",
      at("root"),
      pod,
      `/usr/local/bin/${name}`,
      "-v=3",
    ],
    {
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        PATH: "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        SEALED_IMAGE: options.image ?? "",
        SEALED_NODE: realpathSync(process.execPath),
        SEALED_CHECKOUT: inCheckout(""),
        SEALED_MODULES: realpathSync(inCheckout("node_modules")),
        SEALED_DEVICE: options.device ?? "",
        OWNER_UID: ownerUid,
        ...options.environment,
      },
    },
  );
  const running = observed(child, terminationLog);
  return Object.assign(running, {
    terminationLog,
    dispose: () => {
      child.kill("SIGKILL");
      if (existsSync(pod)) rmSync(pod, { recursive: true, force: true });
    },
  });
}
