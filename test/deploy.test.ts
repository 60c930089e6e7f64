import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

import { importerFields, parseImporterConfig } from "../src/config/importer-config.ts";
import { parsePvcImporterConfig, pvcImporterFields } from "../src/config/pvc-importer-config.ts";
import { parseUploaderConfig, uploaderFields } from "../src/config/uploader-config.ts";

/** Names and values of a manifest's `env`, one on each line. */
function environmentOf(name: string): Record<string, string> {
  const manifest = readFileSync(new URL(`../deploy/${name}`, import.meta.url), "utf8");
  const lines = manifest.matchAll(/^ +- \{ name: ([A-Za-z_]+), value: "?([^"\n]*?)"? \}$/gm);
  return Object.fromEntries([...lines].map(([, variable = "", value = ""]) => [variable, value]));
}

it("the example pvc-importer has an environment that the process takes, by names it knows", () => {
  const environment = environmentOf("pvc-importer-pod.yaml");
  const known = Object.values(pvcImporterFields).map(({ env }) => env);
  expect(known).toEqual(expect.arrayContaining(Object.keys(environment)));
  expect(parsePvcImporterConfig(environment, ["-v=3", "-alsologtostderr"])).toMatchObject({
    endpoint: expect.stringMatching(/^docker:\/\/dvcr\.d8-virtualization\.svc\//) as string,
    imageSize: 10 * 2 ** 30,
  });
});

describe("the example pods", () => {
  it.each([
    ["importer-pod.yaml", importerFields, parseImporterConfig],
    ["uploader-pod.yaml", uploaderFields, parseUploaderConfig],
  ])("%s has an environment that the process takes, by names it knows", (name, fields, parse) => {
    const environment = environmentOf(name);
    expect(Object.keys(environment).length).toBeGreaterThan(3);
    const known = Object.values(fields).map(({ env }) => env);
    expect(known).toEqual(expect.arrayContaining(Object.keys(environment)));
    expect(parse(environment, ["-v=3"]).destination).toMatch(/^dvcr\.d8-virtualization\.svc\//);
  });
});
