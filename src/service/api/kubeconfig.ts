/** The configuration that kubectl needs to reach this server. */
import { stringify } from "yaml";

export interface KubeconfigOptions {
  /** `https://HOST:PORT` */
  readonly server: string;
  readonly token?: string;
  /** PEM certificates that the server is verified by; missing: the system's. */
  readonly ca?: Buffer;
  /** Default "dvcr"; of the cluster, the user and the context. */
  readonly name?: string;
}

/** As YAML. */
export function kubeconfig({ server, token, ca, name = "dvcr" }: KubeconfigOptions): string {
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name, cluster: { server, ...(ca === undefined ? {} : { "certificate-authority-data": ca.toString("base64") }) } }],
    users: [{ name, user: token === undefined ? {} : { token } }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    "current-context": name,
  });
}
