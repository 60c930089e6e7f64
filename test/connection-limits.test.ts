import { once } from "node:events";
import { createServer, get, type Server } from "node:http";
import { connect, type AddressInfo, type Socket } from "node:net";
import { afterEach, describe, expect, it } from "vitest";

import { limitConnections, type ConnectionLimits } from "../src/uploader/connections.ts";

let server: Server;
const sockets: Socket[] = [];

async function serve(limits: Partial<ConnectionLimits>): Promise<number> {
  server = createServer((_request, response) => response.end("ok"));
  limitConnections(server, { all: 8, perAddress: 8, silence: 60_000, ...limits });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** A connection that says no more than `text`, from an address of this machine. */
async function open(port: number, text = "", localAddress = "127.0.0.1"): Promise<Socket> {
  const socket = connect({ port, host: "127.0.0.1", localAddress }).on("error", () => undefined);
  sockets.push(socket);
  await once(socket, "connect");
  if (text !== "") socket.write(text);
  return socket;
}

const statusOf = (port: number, localAddress: string): Promise<number | string> =>
  new Promise((resolve) => {
    get({ port, host: "127.0.0.1", localAddress, agent: false }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    }).on("error", (error) => {
      resolve(error.message);
    });
  });
const isClosed = async (socket: Socket): Promise<boolean> => {
  if (!socket.destroyed) await once(socket.resume(), "close");
  return true;
};

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
  server.closeAllConnections();
  server.close();
});

describe("connections", () => {
  it("of one address are held to its share, and leave room for others", async () => {
    const port = await serve({ perAddress: 3 });
    const held = [await open(port, "GET / HTTP/1.1\r\n"), await open(port), await open(port)];
    expect(await isClosed(await open(port))).toBe(true);
    expect(await statusOf(port, "127.0.0.2")).toBe(200);
    expect(held.map(({ destroyed }) => destroyed)).toEqual([false, false, false]);
    held[0]!.destroy();
    await expect.poll(() => statusOf(port, "127.0.0.1")).toBe(200);
  });

  it("of a reverse proxy have no share", async () => {
    const port = await serve({ perAddress: 1, isShared: (address) => address === "127.0.0.1" });
    await open(port);
    expect(await statusOf(port, "127.0.0.1")).toBe(200);
  });

  it("that have not asked for anything give way, the oldest first, where all places are taken", async () => {
    const port = await serve({ all: 3 });
    const asked = await open(port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await once(asked, "data");
    const [half, silent] = [await open(port, "GET / HTTP/1.1\r\nHost:"), await open(port)];
    expect(await statusOf(port, "127.0.0.2")).toBe(200);
    expect(await isClosed(half)).toBe(true);
    expect([asked.destroyed, silent.destroyed]).toEqual([false, false]);
  });

  it("that all have asked for something are not cut for a new one", async () => {
    const port = await serve({ all: 1 });
    const asked = await open(port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await once(asked, "data");
    expect(await isClosed(await open(port))).toBe(true);
    expect(asked.destroyed).toBe(false);
  });

  it("that send nothing are closed, others stay", async () => {
    const port = await serve({ silence: 50 });
    const half = await open(port, "GET / HTTP/1.1\r\n");
    expect(await isClosed(await open(port))).toBe(true);
    expect(half.destroyed).toBe(false);
  });
});
