import type { ServeConfig } from "../../config/serve-config.ts";

/** The URLs that the service gives out. */
export class Addresses {
  readonly #config: ServeConfig;
  #port: number;

  constructor(config: ServeConfig) {
    this.#config = config;
    this.#port = config.listen.port;
  }

  /** Port 0 has become one. */
  listensOn(port: number): void {
    this.#port = port;
  }

  /** By the address that is listened on, as somebody on this machine or network reaches it. */
  get internal(): string {
    const { listen, tlsCertFile } = this.#config;
    const anywhere = listen.host === "0.0.0.0" ? "127.0.0.1" : listen.host === "::" ? "::1" : listen.host;
    const host = anywhere.includes(":") ? `[${anywhere}]` : anywhere;
    return `${tlsCertFile === undefined ? "http" : "https"}://${host}:${this.#port}`;
  }

  get external(): string {
    return this.#config.publicUrl ?? this.internal;
  }

  /** `HOST[:PORT]` of image names. */
  get registryHost(): string {
    return new URL(this.external).host;
  }

  uploadUrls(token: string): { readonly external: string; readonly inCluster: string } {
    return { external: `${this.external}/upload/${token}`, inCluster: `${this.internal}/upload/${token}` };
  }
}
