import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { expect, it } from "vitest";
import { request } from "undici";

import { outboundDispatcher } from "../src/outbound/dispatcher.ts";

it.each(["Content-Length", "no length"])(
  "a server that closes while the reader is behind neither ends the process nor loses a byte (%s)",
  async (framing) => {
    const content = Buffer.alloc(64 << 10, 0x61);
    const server = createServer((socket) => {
      socket
        .on("error", () => undefined)
        .once("data", () => {
          const length = framing === "Content-Length" ? `Content-Length: ${String(content.length)}\r\n` : "";
          socket.end(Buffer.concat([Buffer.from(`HTTP/1.0 200 OK\r\n${length}\r\n`), content]));
        });
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    for (let round = 0; round < 20; round += 1) {
      const dispatcher = await outboundDispatcher({ tls: { verify: true } });
      const { body } = await request(`http://127.0.0.1:${String(port)}/`, { dispatcher });
      // Nobody reads; the end of the connection comes meanwhile.
      for (let waited = 0; waited < 50; waited += 1) await turn();
      expect((await body.bytes()).length).toBe(content.length);
      await dispatcher.close();
    }
    server.close();
  },
);
