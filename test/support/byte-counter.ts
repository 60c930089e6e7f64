import { createServer, connect, type AddressInfo, type Socket } from "node:net";

/** A TCP proxy that counts what clients send, and tells when so many bytes of one connection have passed. */
export interface ByteCounter extends AsyncDisposable {
  readonly port: number;
  /** Bytes of all connections from clients, heads included. */
  readonly received: () => number;
  /** Calls `tell` once the next `bytes` bytes have come. */
  after(bytes: number, tell: () => void): void;
  /** Resets every connection. */
  cut(): void;
}

export async function startByteCounter(port: number): Promise<ByteCounter> {
  let received = 0;
  let due: { readonly at: number; readonly tell: () => void } | undefined;
  const clients = new Set<Socket>();
  const server = createServer((client) => {
    clients.add(client.once("close", () => clients.delete(client)));
    const upstream = connect(port, "127.0.0.1");
    client.on("data", (chunk) => {
      received += chunk.length;
      if (due !== undefined && received >= due.at) {
        const { tell } = due;
        due = undefined;
        tell();
      }
    });
    // An end that is no orderly one is passed on as what it is.
    client.on("error", () => upstream.destroy()).on("close", () => upstream.destroy());
    upstream.on("error", () => client.destroy()).on("close", () => client.destroy());
    client.pipe(upstream);
    upstream.pipe(client);
  });
  await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    received: () => received,
    after: (bytes, tell) => {
      due = { at: received + bytes, tell };
    },
    cut: () => {
      for (const client of clients) client.resetAndDestroy();
    },
    [Symbol.asyncDispose]: () => new Promise((resolve) => void server.close(() => resolve())),
  };
}
