/** A tenant as the service sees one: a token, a namespace, and an address of its own. */
import { Agent, request } from "node:http";
import { connect } from "node:net";

export const group = "/apis/virtualization.deckhouse.io/v1alpha2";

export class Tenant {
  /** `address`: a loopback address that its connections come from. */
  constructor({ url, name, token, address }) {
    Object.assign(this, { url: new URL(url), name, token, address });
    this.agent = new Agent({ keepAlive: true, maxSockets: 64, localAddress: address });
    this.images = `${group}/namespaces/${name}/virtualimages`;
    this.secrets = `/api/v1/namespaces/${name}/secrets`;
  }

  /** One request; resolves to `{status, text}`. `path` may be a whole URL, as upload URLs are. */
  ask(path, { method = "GET", body, type = "application/json", headers = {}, signal } = {}) {
    const bytes = body === undefined || Buffer.isBuffer(body) ? body : Buffer.from(textOf(body));
    return new Promise((resolve, reject) => {
      const sent = this.open(path, { method, headers: { ...bodyHeaders(bytes, type), ...headers }, signal });
      sent.once("error", reject).once("response", (answer) => {
        let text = "";
        answer
          .setEncoding("utf8")
          .on("data", (part) => (text += part))
          .once("error", reject)
          .once("end", () => resolve({ status: answer.statusCode, text }));
      });
      sent.end(bytes);
    });
  }

  /** A request that is the caller's to send and to read. */
  open(path, { method = "GET", headers = {}, signal, agent = this.agent } = {}) {
    const { pathname, search } = new URL(path, this.url);
    const authorization = pathname.startsWith("/upload/") ? {} : { authorization: `Bearer ${this.token}` };
    const { hostname: host, port } = this.url;
    const localAddress = this.address;
    const options = { host, port, localAddress, path: pathname + search, method, agent, signal };
    return request({ ...options, headers: { ...authorization, ...headers } });
  }

  /** A bare connection. */
  socket() {
    const { hostname: host, port } = this.url;
    return connect({ host, port: Number(port), localAddress: this.address }).on("error", () => undefined);
  }

  create(name, dataSource, metadata = {}) {
    return this.ask(this.images, { method: "POST", body: image(name, dataSource, metadata) });
  }

  async status(name) {
    const { status, text } = await this.ask(`${this.images}/${name}`);
    return status === 200 ? JSON.parse(text).status : undefined;
  }

  remove(name) {
    return this.ask(`${this.images}/${name}`, { method: "DELETE" });
  }

  close() {
    this.agent.destroy();
  }
}

export const image = (name, dataSource, metadata = {}) => ({
  apiVersion: "virtualization.deckhouse.io/v1alpha2",
  kind: "VirtualImage",
  metadata: { name, ...metadata },
  spec: { storage: "ContainerRegistry", dataSource },
});

const textOf = (body) => (typeof body === "string" ? body : JSON.stringify(body));
const bodyHeaders = (bytes, type) =>
  bytes === undefined ? {} : { "content-type": type, "content-length": bytes.length };

/** Whatever fails, as an attacker's or a cut client's requests may. */
export const quietly = (promise) => promise.catch(() => undefined);

/** Resolves after so many milliseconds, or when `signal` is aborted. */
export function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(end, milliseconds);
    function end() {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    }
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
  });
}
