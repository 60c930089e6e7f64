import type { DvcrError } from "../errors/dvcr-error.ts";
import { logRetries } from "../log/events.ts";
import type { Logger } from "../log/logger.ts";
import type { ProxySettings } from "../outbound/dispatcher.ts";
import type { OutboundPolicy } from "../outbound/policy.ts";
import type { TlsOptions } from "../outbound/tls.ts";
import type { ImportLimits } from "../pipeline/import-image.ts";
import { listLayer } from "../pipeline/inspection.ts";
import type { CredentialOptions } from "../registry/credentials.ts";
import type { RetryEvent, RetryPolicy } from "../retry/retry.ts";
import { fileSource } from "../source/file.ts";
import { httpSource } from "../source/http/http-source.ts";
import { sourceError } from "../source/registry/errors.ts";
import type { Platform } from "../source/registry/image.ts";
import { layoutSource, registrySource } from "../source/registry/registry-source.ts";
import type { Source } from "../source/source.ts";
import { streamSource } from "../source/stream.ts";

/** Where an image comes from: one shape for the command line, the importer and the service. */
export type SourceDescription =
  | { readonly kind: "stdin" }
  /** A file or a block device. */
  | { readonly kind: "file"; readonly path: string }
  | {
      readonly kind: "http";
      readonly url: string;
      readonly headers?: Readonly<Record<string, string>>;
      readonly credentials?: { readonly username: string; readonly password: string };
    }
  | {
      readonly kind: "registry";
      /** `docker://HOST/REPO[:TAG|@DIGEST]`. */
      readonly image: string;
      /** Which image of an index. Default linux/amd64. */
      readonly platform?: Platform;
      readonly credentials: CredentialOptions;
    }
  /** An image of an OCI layout; its only one where the tag is "". */
  | { readonly kind: "layout"; readonly directory: string; readonly tag: string; readonly platform?: Platform };

/** How whatever is described may be reached. */
export interface SourceAccess {
  readonly tls: TlsOptions;
  readonly proxies: ProxySettings;
  /** Missing: every address may be reached. */
  readonly outbound?: OutboundPolicy;
  readonly retry: RetryPolicy;
  /** How long a web server may take from a request to the first byte of its answer. Default a minute. */
  readonly firstByteMs?: number;
  /** As RegistryOptions has it. */
  readonly allowPrivateRedirects?: boolean;
  /** As RegistryOptions has it. */
  readonly firstContactMs?: number;
  /** Bounds of what looking through the layers of a container image may take. */
  readonly limits: ImportLimits;
  readonly log: Logger;
  /** Called before each retry, with what failed. */
  readonly onRetry?: (error: DvcrError) => void;
}

/** The one place that makes sources. @throws DvcrError E_USAGE for an address that is none. */
export function makeSource(description: SourceDescription, access: SourceAccess): Source {
  const { tls, proxies, outbound, retry, limits, log } = access;
  const logRetry = logRetries(log, "source");
  const reach = {
    tls,
    proxies,
    ...(outbound === undefined ? {} : { outbound }),
    onRetry: (event: RetryEvent) => {
      logRetry(event);
      access.onRetry?.(sourceError(event.error));
    },
  };
  switch (description.kind) {
    case "stdin":
      return streamSource(process.stdin, "standard input");
    case "file":
      return fileSource(description.path);
    case "http": {
      const { url, headers = {}, credentials } = description;
      return httpSource(url, {
        ...reach,
        headers,
        ...(credentials === undefined ? {} : { credentials }),
        policy: retry,
        ...(access.firstByteMs === undefined ? {} : { limits: { firstByteMs: access.firstByteMs } }),
        onNotice: (text) => {
          log.warn(text);
        },
      });
    }
    case "layout": {
      const { directory, tag, platform } = description;
      return layoutSource(directory, tag, {
        ...(platform === undefined ? {} : { platform }),
        listLayer: (layer) => listLayer(layer, limits),
      });
    }
    case "registry": {
      const { image, platform, credentials } = description;
      return registrySource(image, {
        ...reach,
        credentials,
        ...(platform === undefined ? {} : { platform }),
        retry,
        ...(access.firstContactMs === undefined ? {} : { firstContactMs: access.firstContactMs }),
        ...(access.allowPrivateRedirects === undefined ? {} : { allowPrivateRedirects: access.allowPrivateRedirects }),
        listLayer: (layer) => listLayer(layer, limits),
      });
    }
  }
}
