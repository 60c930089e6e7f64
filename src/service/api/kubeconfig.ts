/** The configuration that kubectl needs to reach this server. */
import { stringify } from "yaml";

export interface KubeconfigOptions {
  /** `https://HOST:PORT` */
  readonly server: string;
  readonly token?: string;
  /** PEM certificates that the server is verified by; missing: the system's. */
  readonly ca?: string;
  /** Namespace that kubectl works in. Default "default". */
  readonly namespace?: string;
  /** Default "dvcr"; of the cluster, the user and the context. */
  readonly name?: string;
}

/** As YAML. */
export function kubeconfig({ server, token, ca, namespace = "default", name = "dvcr" }: KubeconfigOptions): string {
  return stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [
      {
        name,
        cluster: {
          server,
          ...(ca === undefined ? {} : { "certificate-authority-data": Buffer.from(ca, "utf8").toString("base64") }),
        },
      },
    ],
    users: [{ name, user: token === undefined ? {} : { token } }],
    contexts: [{ name, context: { cluster: name, user: name, namespace } }],
    "current-context": name,
  });
}
