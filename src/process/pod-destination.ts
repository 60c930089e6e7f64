import type { Logger } from "pino";

import type { Destination } from "../destination/destination.ts";
import { openDestination } from "../destination/open.ts";
import { parseDestination } from "../destination/parse.ts";
import { logRetries, logUploads } from "../log/events.ts";
import { defaultRetryPolicy, type RetryPolicy } from "../retry/retry.ts";

/** What both pod processes are told about where the image goes. */
export interface PodDestination {
  readonly destination: string;
  readonly destinationInsecureTls: boolean;
  readonly destinationAuthConfig: string | undefined;
  readonly destinationAccessKeyId: string | undefined;
  readonly destinationSecretKey: string | undefined;
  readonly destinationCaBundle?: string | undefined;
  readonly retrySeconds: number;
  readonly stopSeconds: number;
}

/** Opens the destination of a pod. The controller gives `HOST/REPO:TAG` without a scheme. @throws DvcrError E_USAGE. */
export function podDestination(config: PodDestination, log: Logger): Destination {
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
    onRetry: logRetries(log, "registry"),
    retry: podRetryPolicy(config),
    // The name comes from the controller and is right: a registry that is not there is being started anew.
    firstContactMs: config.retrySeconds * 1000,
    upload: { abortGraceMs: config.stopSeconds * 1000, ...logUploads(log) },
  });
}

/** The usual pauses, for as long as a process is configured to wait. */
export function podRetryPolicy(config: Pick<PodDestination, "retrySeconds">): RetryPolicy {
  return { ...defaultRetryPolicy, deadlineMs: config.retrySeconds * 1000 };
}
