/** From the service's configuration to what its parts want. */
import type { ServeConfig } from "../../config/serve-config.ts";
import { OutboundPolicy } from "../../outbound/policy.ts";
import type { ExecutorSettings } from "../executor/local/settings.ts";
import type { AdmissionLimits } from "../reconcile/admission.ts";
import type { QuotaLimits } from "../reconcile/quota.ts";

/** Which addresses sources may have; nothing where there is no rule. @throws DvcrError E_CONFIG. */
export function outboundOf(config: ServeConfig): OutboundPolicy | undefined {
  const rules = {
    allowHosts: config.outboundAllowHosts,
    denyHosts: config.outboundDenyHosts,
    allowAddresses: config.outboundAllowAddresses,
    denyAddresses: config.outboundDenyAddresses,
    refuseLocal: config.refuseLocal,
  };
  const isOpen =
    !rules.refuseLocal && [rules.allowHosts, rules.denyHosts, rules.denyAddresses].every((list) => list.length === 0);
  return isOpen ? undefined : new OutboundPolicy(rules);
}

export function executorSettings(config: ServeConfig): ExecutorSettings {
  const outbound = outboundOf(config);
  return {
    // A format is declared for one source, not for all; times of creation would make equal images differ.
    image: { ...config, sourceFormat: undefined, sourceDateEpoch: undefined },
    maxImports: config.maxImports,
    maxUploads: config.maxUploads,
    retries: config.retries,
    retrySeconds: config.retrySeconds,
    firstByteSeconds: config.firstByteSeconds,
    allowPrivateRedirects: config.allowPrivateRedirects,
    minSourceSpeed: config.minSourceSpeed,
    sourceInsecureTls: config.sourceInsecureTls,
    proxies: config,
    ...(outbound === undefined ? {} : { outbound }),
    maxUploadSize: config.maxUploadSize,
    uploadIdleTimeout: config.uploadIdleTimeout,
    uploadResumeTimeout: config.uploadResumeTimeout,
    uploadSilence: config.uploadSilence,
  };
}

export function admissionLimits(
  config: Pick<ServeConfig, "nearlyFull" | "namespaceBytes" | "namespaceImages">,
): AdmissionLimits & QuotaLimits {
  return {
    nearlyFull: config.nearlyFull / 100,
    namespaceBytes: config.namespaceBytes ?? Infinity,
    namespaceImages: config.namespaceImages ?? Infinity,
  };
}
