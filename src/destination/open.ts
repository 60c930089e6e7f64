import type { CredentialOptions } from "../registry/credentials.ts";
import { credentialSource } from "../registry/credentials.ts";
import type { Destination } from "./destination.ts";
import { RegistryDestination, type RegistryDestinationOptions } from "./docker.ts";
import { OciLayoutDestination } from "./oci.ts";
import type { DestinationName } from "./parse.ts";

export interface DestinationOptions extends Omit<RegistryDestinationOptions, "credentials"> {
  readonly credentials: CredentialOptions;
}

/** The destination behind a parsed name; nothing is contacted or created yet. @throws DvcrError E_USAGE. */
export function openDestination(name: DestinationName, options: DestinationOptions): Destination {
  if (name.kind === "oci") return new OciLayoutDestination(name.directory, name.tag);
  const { host, repository } = name.reference;
  return new RegistryDestination(name.reference, {
    ...options,
    credentials: credentialSource(host, repository, options.credentials),
  });
}
