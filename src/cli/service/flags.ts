import type { Command } from "commander";

import type { CliEnvironment } from "../../config/cli-environment.ts";

export interface ServiceFlags {
  readonly server: string;
  readonly ca?: string;
  readonly namespace: string;
}

export interface GetFlags extends ServiceFlags {
  readonly allNamespaces: boolean;
  readonly output?: string;
  readonly watch: boolean;
}

export interface ApplyFlags extends ServiceFlags {
  readonly filename: string;
  readonly forceConflicts: boolean;
}

export interface DeleteFlags extends ServiceFlags {
  readonly wait: boolean;
}

export interface UploadFlags extends ServiceFlags {
  readonly kind?: string;
  readonly checksum?: string;
  readonly srcFormat?: string;
  readonly quiet: boolean;
}

export interface KubeconfigFlags extends ServiceFlags {
  readonly token?: string;
  readonly tokenFile?: string;
}

/** Flags of every command that talks to `dvcr serve`. */
export function addServiceFlags(command: Command, environment: CliEnvironment): Command {
  return command
    .option("--server <url>", "the images service (DVCR_SERVER)", environment.server)
    .option("--ca <file>", "CAs to trust in addition to the system's, PEM (DVCR_CA)", environment.caFile)
    .option("-n, --namespace <name>", "namespace of namespaced objects", "default");
}
