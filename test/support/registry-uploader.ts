import type { TestRegistry } from "./registry.ts";
import { testUser } from "./registry.ts";
import { startExecutable, writeAuthConfig, type PodExecutable } from "./executable.ts";
import { pullDisk, type PulledDisk } from "./pulled.ts";

export interface RegistryUploader extends PodExecutable {
  readonly uploadPort: number;
  /** Of /upload. */
  readonly url: string;
}

/** bin/dvcr-uploader in front of a real registry, for REPOSITORY:0a1b, waiting for an upload. */
export async function startRegistryUploader(
  directory: string,
  registry: TestRegistry,
  repository: string,
  environment: Readonly<Record<string, string>> = {},
): Promise<RegistryUploader> {
  const uploader = startExecutable("dvcr-uploader", directory, {
    LISTEN_ADDRESS: "127.0.0.1",
    LISTEN_PORT: "0",
    HEALTHZ_PORT: "0",
    UPLOADER_DESTINATION_ENDPOINT: `${registry.host}/${repository}:0a1b`,
    UPLOADER_DESTINATION_AUTH_CONFIG: writeAuthConfig(directory, registry),
    DESTINATION_INSECURE_TLS: "true",
    ...environment,
  });
  const uploadPort = Number((await uploader.logged("waiting for an upload"))["uploadPort"]);
  return { ...uploader, uploadPort, url: `http://127.0.0.1:${String(uploadPort)}/upload` };
}

/** The disk that an uploader has stored. */
export function pullUploaded(directory: string, registry: TestRegistry, repository: string): Promise<PulledDisk> {
  return pullDisk(
    `docker://${registry.host}/${repository}:0a1b`,
    directory,
    "--src-creds",
    `${testUser.name}:${testUser.password}`,
  );
}
