import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { OutboundPolicy, type OutboundRules } from "../src/outbound/policy.ts";
import { openRegistry } from "../src/registry/open.ts";
import { parseReference } from "../src/registry/reference.ts";
import { httpSource } from "../src/source/http/http-source.ts";

const open: OutboundRules = {
  allowHosts: [],
  denyHosts: [],
  allowAddresses: [],
  denyAddresses: [],
  refuseLocal: false,
};
const policy = (rules: Partial<OutboundRules>) => new OutboundPolicy({ ...open, ...rules });
const allows = (rules: Partial<OutboundRules>, host: string): boolean => {
  try {
    policy(rules).checkHost(host);
    return true;
  } catch (error) {
    expect(error).toMatchObject({ code: "E_TARGET_REFUSED" });
    return false;
  }
};

describe("hosts as they are written", () => {
  const local = { refuseLocal: true };
  it.each([
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "169.254.169.254",
    "100.100.100.200",
    "192.0.0.192",
    "224.0.0.1",
    "[::1]",
    "::",
    "[fe80::1]",
    "fe80::1%eth0",
    "fd00:ec2::254",
    "[::ffff:127.0.0.1]",
    "::ffff:a9fe:a9fe",
    "[::127.0.0.1]",
    "::a9fe:a9fe",
    "64:ff9b::7f00:1",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::169.254.169.254",
    "64:ff9b:1:a9fe:a9:fe00::",
    "::ffff:0:127.0.0.1",
    "2002:7f00:1::1",
    "2002:a9fe:a9fe::",
    "2001:0:7f00:1::1",
    "2001:0:808:808::80ff:fffe",
    "2001:db8::5efe:127.0.0.1",
    "2001:db8::200:5efe:a9fe:a9fe",
    "::ffff:168.63.129.16",
    "168.63.129.16",
    "100.96.0.96",
    "169.254.170.2",
    "169.254.0.23",
    "169.254.42.42",
    "192.0.0.170",
    "240.0.0.1",
    "255.255.255.255",
    "fd00:ec2::23",
    "fd20:ce::254",
    "fd00:c1::a9fe:a9fe",
    "fd00:42::42",
    "fd00:a9fe:a9fe::1",
    "fe80::a9fe:a9fe",
    "metadata.google.internal",
    "METADATA.google.internal.",
    "metadata",
    "metadata.goog",
    "metadata.tencentyun.com",
    "metadata.azure.internal",
    "api.metadata.cloud.ibm.com",
    "instance-data.ec2.internal",
    "localhost",
    "any.localhost",
    "localhost.localdomain",
  ])("%s is this machine, its link or a metadata service", (host) => {
    expect(allows(local, host)).toBe(false);
    expect(allows(open, host)).toBe(true);
  });

  it.each([
    "10.0.0.1",
    "192.168.1.1",
    "8.8.8.8",
    "2001:db8::1",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
    "64:ff9b:1::808:808",
    "fd00:1::1",
    "168.63.129.17",
    "metadata.example.com",
    "example.com",
  ])("%s is elsewhere", (host) => {
    expect(allows(local, host)).toBe(true);
  });

  it("an address that is allowed by name of its network is reached all the same", () => {
    expect(allows({ ...local, allowAddresses: ["127.0.0.0/8"] }, "127.0.0.1")).toBe(true);
    expect(allows({ ...local, allowAddresses: ["127.0.0.2"] }, "127.0.0.1")).toBe(false);
    expect(allows({ ...local, allowAddresses: ["127.0.0.0/8"] }, "localhost")).toBe(true);
    expect(allows({ ...local, allowAddresses: ["127.0.0.0/8"] }, "metadata.google.internal")).toBe(false);
    expect(allows({ ...local, allowHosts: ["metadata.google.internal"] }, "metadata.google.internal")).toBe(true);
  });

  it("lists of names know exact ones and all below one", () => {
    const rules = { allowHosts: ["mirror.example", "*.example.com"], denyHosts: ["bad.example.com"] };
    expect(["mirror.example", "MIRROR.example.", "a.b.example.com"].map((host) => allows(rules, host))).toEqual([
      true,
      true,
      true,
    ]);
    expect(
      ["example.com", "notexample.com", "bad.example.com", "x.mirror.example", "8.8.8.8"].map((host) =>
        allows(rules, host),
      ),
    ).toEqual([false, false, false, false, false]);
  });

  it.each(["10.0.0.0/33", "10.0.0", "::1/129", "10.0.0.0/x", "host"])("%s is no network", (network) => {
    expect(() => policy({ denyAddresses: [network] })).toThrow(expect.objectContaining({ code: "E_CONFIG" }));
  });
});

describe("addresses as they are connected to", () => {
  let server: Server;
  let port = 0;
  let requests = 0;
  const { signal } = new AbortController();

  beforeAll(async () => {
    server = createServer((request, response) => {
      requests += 1;
      if (request.url === "/elsewhere")
        response.writeHead(302, { location: `http://127.0.0.1:${String(port)}/disk` }).end();
      else response.end("x".repeat(1024));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    port = (server.address() as AddressInfo).port;
  });

  afterAll(() => server.close());

  async function read(url: string, rules: Partial<OutboundRules>): Promise<void> {
    const source = httpSource(url, { tls: { verify: true }, proxies: {}, headers: {}, outbound: policy(rules) });
    await (await source.open(signal)).close();
  }

  it("a name that resolves to this machine is refused before anything is sent", async () => {
    requests = 0;
    await expect(read(`http://localhost:${String(port)}/disk`, { refuseLocal: true })).rejects.toMatchObject({
      code: "E_TARGET_REFUSED",
    });
    expect(requests).toBe(0);
    await read(`http://localhost:${String(port)}/disk`, {});
    expect(requests).toBeGreaterThan(0);
  });

  it("every redirect is judged", async () => {
    const url = `http://localhost:${String(port)}/elsewhere`;
    await expect(read(url, { denyHosts: ["127.0.0.1"] })).rejects.toMatchObject({ code: "E_TARGET_REFUSED" });
    await read(url, {});
  });

  it("so is a registry, by name and by address", async () => {
    for (const [host, rules] of [
      ["localhost", { refuseLocal: true }],
      ["127.0.0.1", { refuseLocal: true }],
      ["localhost", { denyHosts: ["localhost"] }],
    ] as const) {
      const reference = parseReference(`${host}:${String(port)}/a/b:c`);
      const client = openRegistry(reference, { tls: { verify: false }, credentials: {}, outbound: policy(rules) });
      const answer = client.sendOnce({ method: "GET", target: "/v2/a/b/manifests/c", scopes: [], ok: [200] }, signal);
      await expect(answer).rejects.toMatchObject({ code: "E_TARGET_REFUSED" });
      await client.close();
    }
  });
});
