import type { Logger } from "pino";

import { parseHeaderLine } from "../config/header-line.ts";
import type { CliEnvironment } from "../config/cli-environment.ts";
import type { Destination } from "../destination/destination.ts";
import { openDestination } from "../destination/open.ts";
import { parseDestination } from "../destination/parse.ts";
import { makeSource, type SourceDescription } from "../endpoints/sources.ts";
import { DvcrError } from "../errors/dvcr-error.ts";
import { logRetries, logUploads } from "../log/events.ts";
import type { CredentialOptions } from "../registry/credentials.ts";
import { runCredentialHelper } from "../registry/credential-helper.ts";
import { openRegistry, type RegistryAccess } from "../registry/open.ts";
import { parseDockerReference } from "../registry/reference.ts";
import type { TlsOptions } from "../outbound/tls.ts";
import { defaultRetryPolicy, type RetryPolicy } from "../retry/retry.ts";
import { parsePlatform } from "../source/registry/image.ts";
import type { Source } from "../source/source.ts";
import type {
  CopyFlags,
  DestinationFlags,
  DoctorFlags,
  ImportFlags,
  RetryFlags,
  SourceAccessFlags,
  SourceFlags,
} from "./import-flags.ts";

export interface EndpointContext {
  readonly logger: Logger;
  readonly environment: CliEnvironment;
}

/** The source that a command line names. Throws DvcrError E_USAGE. */
export function cliSource(text: string, flags: SourceFlags, context: EndpointContext): Source {
  return makeSource(describeSource(text, flags, context), {
    tls: sourceTls(flags),
    proxies: context.environment,
    retry: retryPolicy(flags),
    firstByteMs: flags.firstByteTimeout * 1000,
    allowPrivateRedirects: flags.allowPrivateRedirects,
    limits: { maxVirtualSize: flags.maxVirtualSize, maxScratch: 0, maxDecoderMemory: flags.maxDecoderMemory },
    log: context.logger,
  });
}

function describeSource(text: string, flags: SourceFlags, context: EndpointContext): SourceDescription {
  if (text === "-") return { kind: "stdin" };
  if (/^https?:\/\//i.test(text))
    return {
      kind: "http",
      url: text,
      headers: Object.fromEntries(flags.srcHeader.map(splitHeader)),
      ...(flags.srcCreds === undefined ? {} : { credentials: splitCredentials(flags.srcCreds, "--src-creds") }),
    };
  if (text.startsWith("docker://"))
    return {
      kind: "registry",
      image: text,
      credentials: sourceCredentials(flags, context),
      ...(flags.platform === undefined ? {} : { platform: parsePlatform(flags.platform) }),
    };
  const layout = /^oci:([^:]+)(?::(.*))?$/.exec(text);
  if (layout !== null)
    return {
      kind: "layout",
      directory: layout[1] ?? "",
      tag: layout[2] ?? "",
      ...(flags.platform === undefined ? {} : { platform: parsePlatform(flags.platform) }),
    };
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1];
  if (scheme !== undefined)
    throw new DvcrError(
      "E_USAGE",
      `the source scheme "${scheme}" is unknown: it must be a file, -, http://, https://, docker:// or oci:`,
    );
  return { kind: "file", path: text };
}

/** The destination that a command line names. Throws DvcrError E_USAGE. */
export function cliDestination(text: string, flags: ImportFlags, context: EndpointContext): Destination {
  return openDestination(parseDestination(text), {
    ...destinationAccess(flags, context),
    upload: logUploads(context.logger),
  });
}

/** Both ends of `dvcr copy`, which the caller closes. Throws DvcrError E_USAGE. */
export function cliCopyEnds(from: string, to: string, flags: CopyFlags, context: EndpointContext) {
  const source = parseDockerReference(from, "the source");
  const destination = parseDestination(to);
  if (destination.kind !== "docker")
    throw new DvcrError("E_USAGE", "a copy's destination must be docker://HOST/REPO:TAG");
  return {
    source: { reference: source, client: openRegistry(source, sourceAccess(flags, context)) },
    destination: {
      reference: destination.reference,
      client: openRegistry(destination.reference, destinationAccess(flags, context)),
    },
    upload: logUploads(context.logger),
  };
}

/** The repository that `dvcr doctor` probes, with a client that the caller closes. Throws DvcrError E_USAGE. */
export function cliProbed(text: string, flags: DoctorFlags, context: EndpointContext) {
  const reference = parseDockerReference(text, "the repository");
  // A person waits for the answer: what does not work now is what is to be told.
  const access = destinationAccess({ ...flags, retryTime: 0 }, context);
  return { reference, client: openRegistry(reference, access) };
}

function destinationAccess(flags: DestinationFlags & RetryFlags, context: EndpointContext): RegistryAccess {
  return {
    tls: {
      verify: flags.destTlsVerify,
      ...(flags.destCertDir === undefined ? {} : { certDirectory: flags.destCertDir }),
    },
    credentials: {
      ...(flags.destCreds === undefined ? {} : { userPassword: flags.destCreds }),
      ...(flags.authfile === undefined ? {} : { authFile: flags.authfile }),
      defaultAuthFiles: context.environment.authFiles,
      helper: runCredentialHelper,
    },
    proxies: context.environment,
    onRetry: logRetries(context.logger, "registry"),
    forPush: true,
    allowPrivateRedirects: flags.allowPrivateRedirects,
    retry: retryPolicy(flags),
  };
}

function sourceAccess(flags: SourceAccessFlags, context: EndpointContext): RegistryAccess {
  return {
    tls: sourceTls(flags),
    credentials: sourceCredentials(flags, context),
    proxies: context.environment,
    onRetry: logRetries(context.logger, "source"),
    allowPrivateRedirects: flags.allowPrivateRedirects,
    retry: retryPolicy(flags),
  };
}

function sourceCredentials(flags: SourceAccessFlags, context: EndpointContext): CredentialOptions {
  return {
    ...(flags.srcCreds === undefined ? {} : { userPassword: flags.srcCreds }),
    ...(flags.srcAuthfile === undefined ? {} : { authFile: flags.srcAuthfile }),
    defaultAuthFiles: context.environment.authFiles,
    helper: runCredentialHelper,
  };
}

function sourceTls(flags: SourceAccessFlags): TlsOptions {
  return { verify: flags.srcTlsVerify, ...(flags.srcCertDir === undefined ? {} : { certDirectory: flags.srcCertDir }) };
}

function retryPolicy(flags: RetryFlags): RetryPolicy {
  return { ...defaultRetryPolicy, deadlineMs: flags.retryTime * 1000 };
}

function splitCredentials(text: string, flag: string) {
  const colon = text.indexOf(":");
  if (colon < 1) throw new DvcrError("E_USAGE", `${flag}: expected USER:PASSWORD`);
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

function splitHeader(text: string): readonly [string, string] {
  const field = parseHeaderLine(text);
  if (!field) throw new DvcrError("E_USAGE", "--src-header: expected `Name: value`");
  return field;
}
