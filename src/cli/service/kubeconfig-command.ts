import { kubeconfig } from "../../service/api/kubeconfig.ts";
import { readFlagFile, serverUrl } from "./client.ts";
import type { KubeconfigFlags } from "./flags.ts";

/**
 * `dvcr kubeconfig`: the text for standard output; `warn` is told what kubectl will make of it. Throws E_USAGE for a
 * server that is no http(s) URL, or a file that cannot be read.
 */
export async function kubeconfigText(
  { server, ca, token, tokenFile, namespace }: KubeconfigFlags,
  environmentToken: string | undefined,
  warn: (text: string) => void,
): Promise<string> {
  const url = serverUrl(server);
  const known =
    token ?? (tokenFile === undefined ? environmentToken : (await readFlagFile("--token-file", tokenFile)).trim());
  if (known !== undefined && url.protocol === "http:")
    warn(
      "kubectl sends no token over plain HTTP: give the server a certificate (tlsCertFile, " +
        "tlsKeyFile) and name its https URL",
    );
  return kubeconfig({
    server: url.href.replace(/\/$/, ""),
    namespace,
    ...(known === undefined ? {} : { token: known }),
    ...(ca === undefined ? {} : { ca: await readFlagFile("--ca", ca) }),
  });
}
