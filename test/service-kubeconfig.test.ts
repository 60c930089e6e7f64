import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";

import { dvcr } from "./support/cli.ts";
import { temporaryDirectory } from "./support/tools.ts";

describe("dvcr kubeconfig", () => {
  it("prints what kubectl needs: server, CA, token and namespace", async () => {
    await using directory = await temporaryDirectory();
    const [ca, token] = [join(directory.path, "ca.pem"), join(directory.path, "token")];
    await writeFile(ca, "PEM");
    await writeFile(token, "s3cret\n");
    const { code, stdout, stderr } = await dvcr([
      "kubeconfig",
      "--server",
      "https://images.example.com:8443/",
      "--ca",
      ca,
      "--token-file",
      token,
      "-n",
      "team-a",
    ]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(parse(stdout)).toEqual({
      apiVersion: "v1",
      kind: "Config",
      clusters: [
        {
          name: "dvcr",
          cluster: {
            server: "https://images.example.com:8443",
            "certificate-authority-data": Buffer.from("PEM").toString("base64"),
          },
        },
      ],
      users: [{ name: "dvcr", user: { token: "s3cret" } }],
      contexts: [{ name: "dvcr", context: { cluster: "dvcr", user: "dvcr", namespace: "team-a" } }],
      "current-context": "dvcr",
    });
  });

  it("takes server and token from the environment, and nothing else is made up", async () => {
    const { stdout, stderr } = await dvcr(["kubeconfig"], {
      env: { DVCR_SERVER: "http://127.0.0.1:9", DVCR_TOKEN: "other" },
    });
    expect(parse(stdout)).toMatchObject({
      clusters: [{ cluster: { server: "http://127.0.0.1:9" } }],
      users: [{ user: { token: "other" } }],
    });
    expect(stderr).toContain("kubectl sends no token over plain HTTP");
  });

  it("refuses a server that is no URL, and a file that is not there", async () => {
    expect(await dvcr(["kubeconfig", "--server", "nonsense"])).toMatchObject({
      code: 2,
      stdout: "",
      stderr: expect.stringContaining("E_USAGE: --server") as unknown,
    });
    expect(await dvcr(["kubeconfig", "--ca", "/no/such/file"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("E_USAGE: --ca") as unknown,
    });
  });
});
