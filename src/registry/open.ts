import { RegistryClient, type RegistryOptions } from "./client.ts";
import { credentialSource, type CredentialOptions } from "./credentials.ts";
import type { ImageReference } from "./reference.ts";

/** How a registry is reached, whichever it is. */
export interface RegistryAccess extends Omit<RegistryOptions, "host" | "credentials"> {
  readonly credentials: CredentialOptions;
}

/** A client for the registry of `reference`, with the credentials for its repository. @throws DvcrError E_USAGE. */
export function openRegistry(reference: ImageReference, access: RegistryAccess): RegistryClient {
  const { host, repository } = reference;
  return new RegistryClient({ ...access, host, credentials: credentialSource(host, repository, access.credentials) });
}
