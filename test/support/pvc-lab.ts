/** A registry with a stored disk, and a volume for `dvcr-pvc-importer` to fill. */
import { mkdir, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { makeRawDisk } from "./disks.ts";
import { startExecutable } from "./executable.ts";
import { startRegistry, testUser, type TestRegistry } from "./registry.ts";
import { tool } from "./tools.ts";

const dvcr = new URL("../../bin/dvcr", import.meta.url).pathname;

export class PvcLab {
  /** Megabytes of the disk. */
  static readonly megabytes = 32;

  readonly directory: string;
  /** Where the volume is mounted. */
  readonly volume: string;
  /** The disk that is stored as cvi/disk. */
  readonly raw: string;
  readonly registry: TestRegistry;

  private constructor(directory: string, raw: string, registry: TestRegistry) {
    this.directory = directory;
    this.volume = join(directory, "data");
    this.raw = raw;
    this.registry = registry;
  }

  static async begin(): Promise<PvcLab> {
    const directory = await mkdtemp(join(tmpdir(), "dvcr-pvc-"));
    const raw = await makeRawDisk(join(directory, "disk.raw"), PvcLab.megabytes);
    const registry = await startRegistry({ auth: true, tls: true });
    const lab = new PvcLab(directory, raw, registry);
    await lab.stored(raw, "cvi/disk");
    return lab;
  }

  /** Makes the volume empty. */
  async clear(): Promise<void> {
    await rm(this.volume, { recursive: true, force: true });
    await mkdir(this.volume);
  }

  async end(): Promise<void> {
    await this.registry.stop();
    await rm(this.directory, { recursive: true, force: true });
  }

  /** Imports a file to a repository of the this.registry. */
  async stored(file: string, repository: string, ...flags: string[]): Promise<void> {
    const access = ["--dest-creds", `${testUser.name}:${testUser.password}`, "--dest-tls-verify=false"];
    const name = `docker://${this.registry.host}/${repository}:0a1b`;
    await tool(process.execPath, dvcr, "import", "--quiet", ...access, ...flags, file, name);
  }

  /** The environment as the controller writes it. */
  start(repository: string, environment: Record<string, string> = {}) {
    return startExecutable("dvcr-pvc-importer", this.directory, {
      IMPORTER_SOURCE: "registry",
      IMPORTER_ENDPOINT: `docker://${this.registry.host}/${repository}:0a1b`,
      IMPORTER_CONTENTTYPE: "kubevirt",
      IMPORTER_IMAGE_SIZE: "48Mi",
      IMPORTER_DIRECT_TRANSFER: "true",
      IMPORTER_QEMU_CONVERT_THREADS: "1",
      FILESYSTEM_OVERHEAD: "0",
      INSECURE_TLS: "false",
      IMPORTER_ACCESS_KEY_ID: testUser.name,
      IMPORTER_SECRET_KEY: testUser.password,
      IMPORTER_CERT_DIR: this.registry.certDirectory,
      DVCR_PVC_BLOCK_DEVICE: join(this.directory, "no-device"),
      DVCR_PVC_DIRECTORY: this.volume,
      DVCR_RETRY_SECONDS: "1",
      ...environment,
    });
  }

  async ended(repository: string, environment: Record<string, string> = {}) {
    const code = await this.start(repository, environment).exit;
    return { code, message: await readFile(join(this.directory, "dvcr-pvc-importer-termination-log"), "utf8") };
  }
}
