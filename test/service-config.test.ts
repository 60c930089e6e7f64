import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";

import { parseServeConfig } from "../src/config/serve-config.ts";
import { temporaryDirectory } from "./support/tools.ts";

describe("the configuration of the images service", () => {
  it("takes flags before variables, variables before the file, and the file before defaults", async () => {
    await using directory = await temporaryDirectory();
    const file = join(directory.path, "config.yaml");
    await writeFile(
      file,
      "maxImports: 7\nmaxUploads: 7\ncapacity: 10Gi\nlisten: 127.0.0.1:1\noutboundDenyHosts: " +
        "[a.example, b.example]\nsourceInsecureTls: true\n",
    );
    const config = parseServeConfig(
      { DVCR_SERVE_MAX_UPLOADS: "8", DVCR_SERVE_LISTEN: "127.0.0.1:2", DVCR_SERVE_CAPACITY: "" },
      ["--listen", "[::1]:3", "--config", file],
    );
    expect(config).toMatchObject({
      maxImports: 7,
      maxUploads: 8,
      capacity: 10 * 2 ** 30,
      listen: { host: "::1", port: 3 },
      outboundDenyHosts: ["a.example", "b.example"],
      sourceInsecureTls: true,
      retries: 20,
    });
    expect(config.scratchDir).toBe(join(config.dataDir, "scratch"));
  });

  it("names everything that is wrong with the file at once", async () => {
    await using directory = await temporaryDirectory();
    const file = join(directory.path, "config.json");
    await writeFile(file, JSON.stringify({ maxImport: 1, maxImports: "many", capacity: { size: 1 }, config: "other" }));
    expect(() => parseServeConfig({}, ["--config", file])).toThrow(
      expect.objectContaining({
        code: "E_CONFIG",
        message: expect.stringMatching(
          new RegExp(
            [
              "maxImport in .*not known",
              "capacity in .*a structure",
              "config in .*not known",
              'DVCR_SERVE_MAX_IMPORTS: got "many"',
            ].join(".*"),
            "s",
          ),
        ) as string,
      }),
    );
    expect(() => parseServeConfig({}, ["--config", join(directory.path, "absent")])).toThrow(/--config: got .*ENOENT/);
  });

  it("listens beyond this machine only with tokens, or where told so", () => {
    for (const address of ["0.0.0.0:80", ":80", "[::]:80", "192.0.2.1:80", "example.com:80"]) {
      expect(() => parseServeConfig({}, ["--listen", address]), address).toThrow(
        /--listen: got .*expected a loopback address/,
      );
      expect(parseServeConfig({}, ["--listen", address, "--insecure-no-auth"]).refuseLocal).toBe(false);
      expect(parseServeConfig({}, ["--listen", address, "--token-file", "x"]).refuseLocal).toBe(true);
    }
    for (const address of ["127.0.0.1:0", "127.9.9.9:80", "[::1]:80", "localhost:80"])
      expect(parseServeConfig({}, ["--listen", address]).tokenFile).toBeUndefined();
  });

  it.each([
    ["listen", "1.2.3.4"],
    ["listen", "1.2.3.4:70000"],
    ["public-url", "ftp://x"],
    ["public-url", "https://x/?token=1"],
    ["tls-cert-file", "only"],
  ])("refuses --%s %s", (flag, value) => {
    expect(() => parseServeConfig({}, [`--${flag}`, value])).toThrow(expect.objectContaining({ code: "E_CONFIG" }));
  });
});
