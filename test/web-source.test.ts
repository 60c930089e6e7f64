/** What an import says of a web server that is silent, or sends a page in place of the file. */
import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { ImageObject } from "../src/service/model/image.ts";
import { dvcr } from "./support/cli.ts";
import { Origin } from "./support/origin.ts";
import { startExecutable } from "./support/executable.ts";
import { eventually } from "./support/pod.ts";
import { ServeProcess } from "./support/service-serve.ts";
import { temporaryDirectory } from "./support/tools.ts";

const images = "/apis/virtualization.deckhouse.io/v1alpha2/clustervirtualimages";
/** As `dvcr serve` names it. */
const silence = /answered nothing for 1 seconds/;

let work: Awaited<ReturnType<typeof temporaryDirectory>>;
beforeAll(async () => {
  work = await temporaryDirectory();
});
afterAll(() => work[Symbol.asyncDispose]());
const layout = (name: string): string => `oci:${join(work.path, name)}:1`;

describe("a web server that takes the request and is silent", () => {
  const server = createServer((socket) => socket.on("error", () => undefined));
  let url: string;
  beforeAll(async () => {
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    url = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/disk.img`;
  });
  afterAll(() => server.close());

  it("is given up by the command line after --first-byte-timeout", async () => {
    const { code, stderr } = await dvcr(["import", "--first-byte-timeout", "1", url, layout("cli")]);
    expect([code, stderr]).toEqual([1, expect.stringMatching(silence)]);
    expect(stderr).toContain("--first-byte-timeout");
  });

  it("is given up by the importer after DVCR_FIRST_BYTE_TIMEOUT", async () => {
    const importer = startExecutable("dvcr-importer", work.path, {
      IMPORTER_SOURCE: "http",
      IMPORTER_ENDPOINT: url,
      IMPORTER_DESTINATION_ENDPOINT: layout("pod"),
      DVCR_FIRST_BYTE_TIMEOUT: "1",
      DVCR_RETRIES: "0",
    });
    expect(await importer.exit).not.toBe(0);
    expect(JSON.stringify(importer.message())).toMatch(silence);
  });

  it("is given up by the service after firstByteSeconds", async () => {
    const config = join(work.path, "serve.yaml");
    await writeFile(config, "firstByteSeconds: 1\nretries: 0\n");
    await using service = await ServeProcess.start("--config", config);
    await service.json(images, "POST", {
      apiVersion: "virtualization.deckhouse.io/v1alpha2",
      kind: "ClusterVirtualImage",
      metadata: { name: "silent" },
      spec: { dataSource: { type: "HTTP", http: { url } } },
    });
    const image = await eventually(async () => {
      const { status } = await service.json<ImageObject>(`${images}/silent`);
      return status?.phase === "Failed" ? status : undefined;
    });
    expect(JSON.stringify(image.conditions)).toMatch(silence);
  });
});

describe("a page in place of the file", () => {
  it.each([
    ["an HTML page", "<!DOCTYPE html><html><body>Sign in</body></html>\n", "login"],
    ["a Git LFS pointer", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n", "git lfs pull"],
  ])("%s is refused with who sent it and why", async (name, text, hint) => {
    await using server = await Origin.start(Buffer.from(text), ({ url }) =>
      url.startsWith("/disk") ? { status: 302, headers: { location: "/sign-in?token=secret-1" } } : {},
    );
    const { code, stderr } = await dvcr(["import", `${server.url}/disk.img?key=secret-2`, layout("page")]);
    expect([code, stderr]).toEqual([3, expect.stringContaining("E_NOT_A_DISK")]);
    expect(stderr).toContain(name);
    expect(stderr).toContain(hint);
    expect(stderr).toContain(`${server.url}/sign-in sent it`);
    expect(stderr).not.toContain("secret-");
  });
});
