import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { readEarly } from "../src/config/early.ts";
import { importerFields, parseImporterConfig } from "../src/config/importer-config.ts";
import { formatBytes, parseBytes } from "../src/config/kinds.ts";
import { configurationPage } from "../src/config/reference-page.ts";
import { parseUploaderConfig, uploaderFields } from "../src/config/uploader-config.ts";
import { DvcrError } from "../src/errors/dvcr-error.ts";

const destination = "dvcr.d8-virtualization.svc/cvi/disk:0a1b";
const uploader = { UPLOADER_DESTINATION_ENDPOINT: destination };
const importer = {
  IMPORTER_SOURCE: "http",
  IMPORTER_ENDPOINT: "https://example.org/disk.qcow2",
  IMPORTER_DESTINATION_ENDPOINT: destination,
};
const sha256 = "a".repeat(64);

function problemsOf(parse: () => unknown): string[] {
  try {
    parse();
  } catch (error) {
    expect(error).toBeInstanceOf(DvcrError);
    expect((error as DvcrError).code).toBe("E_CONFIG");
    return (error as DvcrError).message.split("; ");
  }
  return [];
}

describe("the environment of the importer pod", () => {
  it("is accepted as the controller sets it, empty variables counting as unset", () => {
    const config = parseImporterConfig(
      {
        ...importer,
        IMPORTER_CONTENTTYPE: "",
        IMPORTER_IMAGE_SIZE: "",
        OWNER_UID: "7c2e",
        FILESYSTEM_OVERHEAD: "",
        INSECURE_TLS: "false",
        IMPORTER_DISK_ID: "",
        http_proxy: "",
        https_proxy: "",
        no_proxy: "",
        DESTINATION_INSECURE_TLS: "true",
        IMPORTER_CHECKSUMS: `md5:${"0".repeat(32)},sha256:${sha256.toUpperCase()}`,
        IMPORTER_DESTINATION_AUTH_CONFIG: "/dvcr-auth/.dockerconfigjson",
        IMPORTER_CERT_DIR: "/certs",
        PATH: "/usr/bin",
      },
      ["-v=3"],
    );
    expect(config).toMatchObject({
      source: "http",
      ownerUid: "7c2e",
      insecureTls: false,
      httpProxy: undefined,
      destinationInsecureTls: true,
      destinationAuthConfig: "/dvcr-auth/.dockerconfigjson",
      certDir: "/certs",
      metricsPort: 8443,
      terminationLog: "/dev/termination-log",
      scratchDir: "/tmp",
      imageFormat: "raw",
      layerCompression: "gzip",
    });
    expect(config.checksums).toEqual([
      { algorithm: "md5", expected: "0".repeat(32) },
      { algorithm: "sha256", expected: sha256 },
    ]);
    expect(Object.isFrozen(config)).toBe(true);
  });

  it("reports every problem at once, by name, with what was got and expected", () => {
    const problems = problemsOf(() =>
      parseImporterConfig({
        IMPORTER_SOURCE: "ftp",
        DESTINATION_INSECURE_TLS: "maybe",
        IMPORTER_CHECKSUMS: "sha256:abc",
        DVCR_SCRATCH_LIMIT: "10 GB",
      }),
    );
    expect(problems).toEqual([
      'IMPORTER_SOURCE: got "ftp", expected http, registry, dvcr, blockDevice or filesystem',
      'IMPORTER_CHECKSUMS: got "sha256:abc", expected algo:hex[,algo:hex…] with algo one of md5, ' +
        "sha1, sha256, sha512, streebog256, streebog512",
      "IMPORTER_DESTINATION_ENDPOINT: got nothing, expected a text",
      'DESTINATION_INSECURE_TLS: got "maybe", expected true or false',
      'DVCR_SCRATCH_LIMIT: got "10 GB", expected bytes, plain or with Ki, Mi, Gi, Ti, Pi',
    ]);
  });

  it("asks for an endpoint where the source needs one, and only there", () => {
    const block = { IMPORTER_SOURCE: "blockDevice", IMPORTER_ENDPOINT: "", IMPORTER_DESTINATION_ENDPOINT: destination };
    expect(problemsOf(() => parseImporterConfig(block))).toEqual([]);
    expect(problemsOf(() => parseImporterConfig({ ...block, IMPORTER_SOURCE: "dvcr" }))).toHaveLength(1);
    expect(
      problemsOf(() => parseImporterConfig({ ...importer, IMPORTER_ENDPOINT: "file:///etc/passwd" })),
    ).toHaveLength(1);
  });

  it("takes extra headers by prefix and never repeats their value", () => {
    const config = parseImporterConfig({ ...importer, IMPORTER_EXTRA_HEADER_1: "X-Token: s3cret" });
    expect(config.headerLines).toEqual(["X-Token: s3cret"]);
    const problems = problemsOf(() =>
      parseImporterConfig({ ...importer, IMPORTER_EXTRA_HEADER_1: "s3cret without colon" }),
    );
    expect(problems).toHaveLength(1);
    expect(problems[0]).not.toContain("s3cret");
  });
});

describe("flags and environment of the uploader", () => {
  it("has the ports and limits of the contract by default", () => {
    expect(parseUploaderConfig(uploader)).toMatchObject({
      listenAddress: "0.0.0.0",
      listenPort: 8444,
      healthzPort: 8080,
      metricsPort: 8443,
      tlsMinVersion: "TLSv1.2",
      uploadIdleTimeout: 120,
      maxVirtualSize: 64 * 2 ** 40,
      checksums: [],
    });
  });

  it.each([[["-v=3"]], [["-v", "3"]], [["--v=3"]], [["--v", "3"]]])("understands the verbosity as %j", (argv) => {
    expect(parseUploaderConfig({ ...uploader, DVCR_VERBOSITY: "9" }, argv).verbosity).toBe(3);
  });

  it("lets a flag win over its variable", () => {
    const config = parseUploaderConfig({ ...uploader, LISTEN_PORT: "1", DESTINATION_INSECURE_TLS: "false" }, [
      "--listen-port=9000",
      "--destination-insecure-tls",
      "--checksums",
      `sha256:${sha256}`,
    ]);
    expect(config).toMatchObject({
      listenPort: 9000,
      destinationInsecureTls: true,
      checksums: [{ algorithm: "sha256", expected: sha256 }],
    });
  });

  it("reports wrong flags by name and shows neither stray words nor secrets", () => {
    const problems = problemsOf(() =>
      parseUploaderConfig({ ...uploader, UPLOADER_DESTINATION_ACCESS_KEY_ID: "me" }, [
        "--pasword",
        "hunter2",
        "--listen-port=99999",
        "--v",
      ]),
    );
    expect(problems).toEqual([
      "flag --pasword: not known, expected one of those in --help",
      "argument 2: got a word, expected only flags",
      "flag --v: got no value, expected a level from 0 to 10",
      '--listen-port: got "99999", expected a port from 0 to 65535',
      "UPLOADER_DESTINATION_ACCESS_KEY_ID and UPLOADER_DESTINATION_SECRET_KEY: got one of them, expected both or none",
    ]);
  });

  it("wants certificate and key, CA and name to come together", () => {
    expect(problemsOf(() => parseUploaderConfig({ ...uploader, TLS_CERT_FILE: "/c", CLIENT_NAME: "x" }))).toHaveLength(
      2,
    );
    expect(problemsOf(() => parseUploaderConfig({ ...uploader, CLIENT_CA_FILE: "/c" }))).toHaveLength(1);
  });

  it("understands TLS settings by the names of Go and of OpenSSL", () => {
    const parse = (TLS_MIN_VERSION: string, TLS_CIPHERS: string) =>
      parseUploaderConfig({ ...uploader, TLS_MIN_VERSION, TLS_CIPHERS });
    expect(
      parse("VersionTLS13", "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256"),
    ).toMatchObject({
      tlsMinVersion: "TLSv1.3",
      tlsCiphers: "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305",
    });
    expect(parse("1.2", "TLS_RSA_WITH_AES_128_CBC_SHA,TLS_AES_256_GCM_SHA384").tlsCiphers).toBe(
      "AES128-SHA:TLS_AES_256_GCM_SHA384",
    );
    expect(problemsOf(() => parse("VersionTLS10", "ROT13"))).toHaveLength(2);
  });
});

describe("what must be known before the configuration is checked", () => {
  it("is read even where the rest is wrong, with defaults in place of what is unreadable", () => {
    expect(readEarly({ OWNER_UID: "u", DVCR_METRICS_PORT: "x", DVCR_TERMINATION_LOG: "/t" })).toEqual({
      ownerUid: "u",
      metricsPort: 8443,
      terminationLog: "/t",
      verbosity: 3,
    });
  });
});

describe("sizes", () => {
  it.each([
    ["0", 0],
    ["512", 512],
    ["64Ki", 65_536],
    ["1.5Gi", 1.5 * 2 ** 30],
    ["64TiB", 64 * 2 ** 40],
  ])("%s is %d bytes", (text, bytes) => {
    expect(parseBytes(text)).toBe(bytes);
  });

  it.each(["", "-1", "1e3", "1 Gi", "10G", "0x10", "0.3Ki", "99999999Pi"])("%j is no size", (text) => {
    expect(parseBytes(text)).toBeUndefined();
  });

  it("are written in the largest unit without a fraction", () => {
    expect([0, 1000, 65_536, 64 * 2 ** 40].map(formatBytes)).toEqual(["0", "1000", "64Ki", "64Ti"]);
  });
});

describe("the reference page", () => {
  it("is what the schema gives (node scripts/gen-docs.mjs writes it)", () => {
    expect(readFileSync(new URL("../docs/configuration.md", import.meta.url), "utf8")).toBe(configurationPage());
  });

  it("describes every name once per process", () => {
    for (const table of [importerFields, uploaderFields]) {
      const fields = Object.values(table);
      expect(new Set(fields.map((field) => field.env)).size).toBe(fields.length);
      for (const field of fields) expect(field.description).toMatch(/^\S.*\.$/);
    }
  });
});
