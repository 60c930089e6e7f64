import { kubeconfig } from "../../service/api/kubeconfig.ts";
import { readCa, serverUrl } from "./client.ts";
import type { KubeconfigFlags } from "./flags.ts";

/** `dvcr kubeconfig`: the text for standard output. Throws E_USAGE for a server that is no http(s) URL, or a CA file that cannot be read. */
export async function kubeconfigText({ server, ca, token, namespace }: KubeconfigFlags, environmentToken: string | undefined): Promise<string> {
  const url = serverUrl(server);
  const known = token ?? environmentToken;
  return kubeconfig({
    server: url.href.replace(/\/$/, ""),
    namespace,
    ...(known === undefined ? {} : { token: known }),
    ...(ca === undefined ? {} : { ca: await readCa(ca) }),
  });
}
