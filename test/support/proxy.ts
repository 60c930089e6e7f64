import { once } from "node:events";
import { createServer } from "node:http";
import { connect, type AddressInfo } from "node:net";

/** An HTTP proxy that tunnels every CONNECT. */
export interface TunnelProxy extends Disposable {
  readonly url: string;
  /** `HOST:PORT` of each tunnel, in order. */
  readonly proxied: string[];
}

export async function startTunnelProxy(): Promise<TunnelProxy> {
  const proxied: string[] = [];
  const proxy = createServer()
    .on("connect", (request, socket) => {
      proxied.push(request.url ?? "");
      const [host, port] = (request.url ?? "").split(":");
      const upstream = connect(Number(port), host, () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        upstream.pipe(socket).pipe(upstream);
      });
      for (const one of [upstream, socket])
        one.on("error", () => {
          upstream.destroy();
          socket.destroy();
        });
    })
    .listen(0, "127.0.0.1");
  await once(proxy, "listening");
  return {
    url: `http://127.0.0.1:${String((proxy.address() as AddressInfo).port)}`,
    proxied,
    [Symbol.dispose]: () => {
      proxy.close();
      proxy.closeAllConnections();
    },
  };
}
