import type { Logger } from "pino";

import type { Destination } from "../destination/destination.ts";
import { openDestination } from "../destination/open.ts";
import { parseDestination, type DestinationName } from "../destination/parse.ts";
import { logRetries, logUploads } from "../log/events.ts";
import type { RegistryAccess } from "../registry/open.ts";
import { defaultRetryPolicy, type RetryPolicy } from "../retry/retry.ts";

/** What both pod processes are told about where the image goes. */
export interface PodDestination {
  readonly destination: string;
  readonly destinationInsecureTls: boolean;
  readonly destinationAuthConfig: string | undefined;
  readonly destinationAccessKeyId: string | undefined;
  readonly destinationSecretKey: string | undefined;
  readonly destinationCaBundle: string | undefined;
  readonly retrySeconds: number;
  readonly allowPrivateRedirects: boolean;
  readonly stopSeconds: number;
}

/** Opens the destination of a pod. The controller gives `HOST/REPO:TAG` without a scheme. @throws DvcrError E_USAGE. */
export function podDestination(config: PodDestination, log: Logger): Destination {
  return openDestination(podDestinationName(config), {
    ...podDestinationAccess(config, log, "registry"),
    upload: podUploads(config, log),
  });
}

/** The destination as it was named. @throws DvcrError E_USAGE. */
export function podDestinationName({ destination }: PodDestination): DestinationName {
  return parseDestination(/^(?:docker:\/\/|oci:)/.test(destination) ? destination : `docker://${destination}`);
}

/** How a pod reaches its destination's registry; `peer` is what logs call it. */
export function podDestinationAccess(config: PodDestination, log: Logger, peer: string): RegistryAccess {
  const { destinationAccessKeyId: user, destinationSecretKey: password, destinationAuthConfig: authFile } = config;
  return {
    tls: {
      verify: !config.destinationInsecureTls,
      ...(config.destinationCaBundle === undefined || config.destinationInsecureTls
        ? {}
        : { certDirectory: config.destinationCaBundle }),
    },
    credentials: {
      ...(user === undefined || password === undefined ? {} : { userPassword: `${user}:${password}` }),
      ...(authFile === undefined ? {} : { authFile }),
    },
    onRetry: logRetries(log, peer),
    retry: podRetryPolicy(config),
    allowPrivateRedirects: config.allowPrivateRedirects,
    // The name comes from the controller and is right: a registry that is not there is being started anew.
    firstContactMs: config.retrySeconds * 1000,
  };
}

/** What a pod's uploads do when they are dropped or lost. */
export function podUploads(config: Pick<PodDestination, "stopSeconds">, log: Logger) {
  return { abortGraceMs: config.stopSeconds * 1000, ...logUploads(log) };
}

/** The usual pauses, for as long as a process is configured to wait. */
export function podRetryPolicy(config: Pick<PodDestination, "retrySeconds">): RetryPolicy {
  return { ...defaultRetryPolicy, deadlineMs: config.retrySeconds * 1000 };
}
