import type { Logger } from "pino";

import type { Destination } from "../destination/destination.ts";
import { openDestination } from "../destination/open.ts";
import { parseDestination } from "../destination/parse.ts";
import { defaultRetryPolicy, type RetryEvent } from "../retry/retry.ts";

/** A pod's registry is known to exist: one that does not answer yet is away for as long as its garbage collection lasts. */
const firstContactMs = defaultRetryPolicy.deadlineMs;

/** What both pod processes are told about where the image goes. */
export interface PodDestination {
  readonly destination: string;
  readonly destinationInsecureTls: boolean;
  readonly destinationAuthConfig: string | undefined;
  readonly destinationAccessKeyId: string | undefined;
  readonly destinationSecretKey: string | undefined;
  readonly destinationCaBundle?: string | undefined;
}

/** Opens the destination of a pod. The controller gives `HOST/REPO:TAG` without a scheme. @throws DvcrError E_USAGE. */
export function podDestination(config: PodDestination, onRetry?: (event: RetryEvent) => void): Destination {
  const { destination, destinationAccessKeyId: user, destinationSecretKey: password, destinationAuthConfig: authFile } = config;
  const text = /^(?:docker:\/\/|oci:)/.test(destination) ? destination : `docker://${destination}`;
  return openDestination(parseDestination(text), {
    tls: {
      verify: !config.destinationInsecureTls,
      ...(config.destinationCaBundle === undefined || config.destinationInsecureTls ? {} : { certDirectory: config.destinationCaBundle }),
    },
    credentials: {
      ...(user === undefined || password === undefined ? {} : { userPassword: `${user}:${password}` }),
      ...(authFile === undefined ? {} : { authFile }),
    },
    firstContactMs,
    ...(onRetry ? { onRetry } : {}),
  });
}

/** Logs each pause before another try. */
export function logRetries(log: Logger, peer: string): (event: RetryEvent) => void {
  return ({ error, delayMs }) => {
    log.warn({ err: error, peer, delayMs: Math.round(delayMs) }, "failed, trying again");
  };
}
