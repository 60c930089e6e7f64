import { describe, expect, it } from "vitest";
import type { ImageObject, SecretObject } from "../src/service/model/image.ts";
import { imageNameOf, repositoryOf } from "../src/service/model/names.ts";
import { crdPatterns, isBase64, isImageReference, isSourceUrl } from "../src/service/model/patterns.ts";
import { formatPercent, formatRunningPercent, formatSize, formatSpeed } from "../src/service/model/quantities.ts";
import { structured, unknownFields } from "../src/service/model/structure.ts";
import { validateImage, validateSecret } from "../src/service/model/validate.ts";

const metadata = {
  name: "ubuntu",
  uid: "0a1b",
  resourceVersion: "1",
  generation: 1,
  creationTimestamp: "2026-11-21T00:00:00Z",
};
const cluster = (dataSource: unknown, more = {}): ImageObject =>
  ({
    apiVersion: "virtualization.deckhouse.io/v1alpha2",
    kind: "ClusterVirtualImage",
    metadata,
    spec: { dataSource, ...more },
  }) as ImageObject;
const namespaced = (dataSource: unknown, more = {}): ImageObject => ({
  ...cluster(dataSource, more),
  kind: "VirtualImage",
  metadata: { ...metadata, namespace: "team-a" },
});
const url = "https://mirror.example.com/images/slackware-15.qcow.gz";
const lines = (image: ImageObject): string[] =>
  validateImage(image).map(({ field, message }) => `${field}: ${message}`);

/** Texts that look a little like what the pattern wants: pieces of `alphabet`, the same in every run. */
function* generated(alphabet: readonly string[], count: number, most: number): Generator<string> {
  let state = 12345;
  const next = (below: number): number => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return (state >>> 8) % below;
  };
  for (let i = 0; i < count; i += 1)
    yield Array.from({ length: next(most) }, () => alphabet[next(alphabet.length)]!).join("");
}

describe("the CRD's patterns", () => {
  const hex32 = "0123456789abcdefABCDEF0123456789";

  it("of URLs: the linear check says what the pattern says", () => {
    const pattern = new RegExp(crdPatterns.url);
    const alphabet = [
      "http",
      "https",
      "s",
      "://",
      ":",
      "/",
      "a",
      "Z",
      "9",
      "%",
      "%4f",
      "~",
      "#",
      "?",
      "&",
      "=",
      " ",
      "\n",
      "`",
      "{",
      "é",
      "!",
      "$",
      "_",
      "^",
      "\\",
      "(",
      "*",
    ];
    let matched = 0;
    for (const tail of generated(alphabet, 20_000, 9)) {
      for (const text of [tail, `http://${tail}`, `https://host/${tail}`]) {
        expect(isSourceUrl(text), JSON.stringify(text)).toBe(pattern.test(text));
        matched += pattern.test(text) ? 1 : 0;
      }
    }
    expect(matched).toBeGreaterThan(1000);
    for (let code = 0; code < 256; code += 1) {
      const text = `http://${String.fromCharCode(code)}`;
      expect(isSourceUrl(text), JSON.stringify(text)).toBe(pattern.test(text));
    }
  });

  it("of images: the linear check says what the pattern says", () => {
    const pattern = new RegExp(crdPatterns.image.replaceAll("(?P<", "(?<"));
    const alphabet = [
      "localhost",
      "host",
      ".",
      ":",
      "/",
      "@",
      "5000",
      "a",
      "B",
      "_",
      "-",
      "sha256",
      "sha256:",
      hex32,
      "g",
      "+",
      "tag",
      "\n",
      " ",
      "[",
      "~",
    ];
    let matched = 0;
    for (const tail of generated(alphabet, 40_000, 9)) {
      for (const text of [tail, `registry.example.com/${tail}`, `a/b:tag@${tail}`, `a@sha256+${tail}:${hex32}`]) {
        expect(isImageReference(text), JSON.stringify(text)).toBe(pattern.test(text));
        matched += pattern.test(text) ? 1 : 0;
      }
    }
    expect(matched).toBeGreaterThan(1000);
  });

  it("hold against texts made to be slow", () => {
    expect(isImageReference(`a@${"a.".repeat(200_000)}`)).toBe(false);
    expect(isImageReference(`a@${"A".repeat(400_000)}:${hex32}x`)).toBe(false);
    expect(isImageReference(`a@${"A".repeat(400_000)}:${hex32}`)).toBe(true);
    expect(isSourceUrl(`http://${"%41".repeat(200_000)}~`)).toBe(false);
    expect(isBase64("A".repeat(400_000))).toBe(true);
  });
});

describe("validation of an image", () => {
  it.each([
    ["HTTP", { type: "HTTP", http: { url } }],
    [
      "HTTP with everything",
      {
        type: "HTTP",
        http: {
          url,
          caBundle: "YWFhCg==",
          checksum: {
            md5: "f3b59bed9f91e32fac1210184fcff6f5",
            sha256: "0".repeat(64),
            sha1: "A".repeat(40),
            sha512: "b".repeat(128),
            streebog256: "c".repeat(64),
            streebog512: "d".repeat(128),
          },
        },
      },
    ],
    [
      "ContainerImage",
      {
        type: "ContainerImage",
        containerImage: {
          image: "registry.example.com/images/slackware:15",
          imagePullSecret: { name: "pull", namespace: "default" },
        },
      },
    ],
    ["ObjectRef to a cluster image", { type: "ObjectRef", objectRef: { kind: "ClusterVirtualImage", name: "other" } }],
    [
      "ObjectRef to an image",
      { type: "ObjectRef", objectRef: { kind: "VirtualImage", name: "other", namespace: "team-a" } },
    ],
    ["Upload", { type: "Upload" }],
    ["Upload with a checksum", { type: "Upload", upload: { checksum: { sha256: "0".repeat(64) } } }],
  ])("accepts %s", (_, dataSource) => {
    expect(lines(cluster(dataSource))).toEqual([]);
  });

  it.each([
    ["no type", {}, ["spec.dataSource.type: Required value"]],
    [
      "another type",
      { type: "FTP" },
      [
        'spec.dataSource.type: Unsupported value: "FTP": supported values: "HTTP", ' +
          '"ContainerImage", "ObjectRef", "Upload"',
      ],
    ],
    [
      "a malformed URL",
      { type: "HTTP", http: { url: "ftp://x" } },
      [
        `spec.dataSource.http.url: Invalid value: "ftp://x": spec.dataSource.http.url in body ` +
          `should match '${crdPatterns.url}'`,
      ],
    ],
    [
      "a URL that is a number",
      { type: "HTTP", http: { url: 5 } },
      [
        'spec.dataSource.http.url: Invalid value: "integer": spec.dataSource.http.url in body must ' +
          'be of type string: "integer"',
      ],
    ],
    ["no URL", { type: "HTTP", http: {} }, ["spec.dataSource.http.url: Required value"]],
    [
      "a short md5",
      { type: "HTTP", http: { url, checksum: { md5: "f3" } } },
      [
        'spec.dataSource.http.checksum.md5: Invalid value: "f3": spec.dataSource.http.checksum.md5 ' +
          "in body should be at least 32 chars long",
        `spec.dataSource.http.checksum.md5: Invalid value: "f3": spec.dataSource.http.checksum.md5 ` +
          "in body should match '^[0-9a-fA-F]{32}$'",
      ],
    ],
    [
      "a long sha256",
      { type: "HTTP", http: { url, checksum: { sha256: "0".repeat(65) } } },
      [
        "spec.dataSource.http.checksum.sha256: Too long: may not be more than 64 bytes",
        `spec.dataSource.http.checksum.sha256: Invalid value: "${"0".repeat(65)}": ` +
          "spec.dataSource.http.checksum.sha256 in body should match '^[0-9a-fA-F]{64}$'",
      ],
    ],
    [
      "a caBundle that is no base64",
      { type: "HTTP", http: { url, caBundle: "!" } },
      ['spec.dataSource.http.caBundle: Invalid value: "!": spec.dataSource.http.caBundle in body must be of type byte'],
    ],
    [
      "a malformed image",
      { type: "ContainerImage", containerImage: { image: "UPPER/x" } },
      [expect.stringMatching(/^spec\.dataSource\.containerImage\.image: Invalid value: "UPPER\/x": .* should match '/)],
    ],
    [
      "an unknown kind",
      { type: "ObjectRef", objectRef: { kind: "Pod", name: "x" } },
      [expect.stringMatching(/^spec\.dataSource\.objectRef\.kind: Unsupported value: "Pod": supported values: /)],
    ],
    [
      "no name",
      { type: "ObjectRef", objectRef: { kind: "ClusterVirtualImage" } },
      ["spec.dataSource.objectRef.name: Required value"],
    ],
    [
      "no namespace",
      { type: "ObjectRef", objectRef: { kind: "VirtualImage", name: "x" } },
      [
        expect.stringMatching(
          /^spec\.dataSource\.objectRef: Invalid value: "object": namespace is required for VirtualImage/,
        ),
      ],
    ],
    [
      "no member",
      { type: "HTTP" },
      [
        'spec.dataSource: Invalid value: "object": type HTTP requires http, and containerImage, ' +
          "objectRef, upload must not be set",
      ],
    ],
    [
      "another type's member",
      { type: "Upload", http: { url } },
      [
        'spec.dataSource: Invalid value: "object": type Upload allows upload, and http, ' +
          "containerImage, objectRef must not be set",
      ],
    ],
    [
      "two members",
      { type: "HTTP", http: { url }, upload: {} },
      [
        'spec.dataSource: Invalid value: "object": type HTTP requires http, and containerImage, ' +
          "objectRef, upload must not be set",
      ],
    ],
  ])("refuses %s", (_, dataSource, expected) => {
    expect(lines(cluster(dataSource))).toEqual(expected);
  });

  it("knows where a VirtualImage differs", () => {
    expect(lines(namespaced({ type: "ObjectRef", objectRef: { kind: "VirtualImage", name: "x" } }))).toEqual([]);
    expect(
      lines(
        namespaced(
          { type: "Upload" },
          { storage: "PersistentVolumeClaim", persistentVolumeClaim: { storageClassName: "fast" } },
        ),
      ),
    ).toEqual([]);
    expect(lines(namespaced({ type: "Upload" }, { storage: "Floppy" }))).toEqual([
      'spec.storage: Unsupported value: "Floppy": supported values: "ContainerRegistry", ' +
        '"Kubernetes", "PersistentVolumeClaim"',
    ]);
    expect(
      unknownFields("ClusterVirtualImage", cluster({ type: "Upload", extra: 1 }, { storage: "ContainerRegistry" })),
    ).toEqual(["spec.dataSource.extra", "spec.storage"]);
    expect(structured("VirtualImage", namespaced({ type: "Upload", extra: 1 })).spec).toEqual({
      dataSource: { type: "Upload" },
      storage: "ContainerRegistry",
    });
  });

  it("refuses names that Kubernetes refuses, and an object without spec", () => {
    expect(lines({ ...cluster({ type: "Upload" }), metadata: { ...metadata, name: "Not_A_Name" } })).toEqual([
      expect.stringMatching(/^metadata\.name: Invalid value: "Not_A_Name": a lowercase RFC 1123 subdomain/),
    ]);
    expect(lines({ ...cluster({ type: "Upload" }), spec: undefined } as unknown as ImageObject)).toEqual([
      "spec: Required value",
    ]);
  });
});

describe("validation of a Secret", () => {
  const secret = (data: Record<string, string>, type = "kubernetes.io/dockerconfigjson"): SecretObject => ({
    apiVersion: "v1",
    kind: "Secret",
    type,
    metadata: { ...metadata, namespace: "default" },
    data,
  });
  const encoded = (text: string): string => Buffer.from(text).toString("base64");

  it("accepts a docker config.json and refuses everything else without showing it", () => {
    expect(validateSecret(secret({ ".dockerconfigjson": encoded('{"auths":{}}') }))).toEqual([]);
    expect(validateSecret(secret({}))).toEqual([
      { field: "data[.dockerconfigjson]", reason: "FieldValueRequired", message: "Required value" },
    ]);
    const wrong = validateSecret(secret({ ".dockerconfigjson": encoded("hunter2") }));
    expect(wrong).toHaveLength(1);
    expect(JSON.stringify(wrong)).not.toContain("hunter2");
    expect(validateSecret(secret({}, "Opaque"))).toEqual([
      {
        field: "type",
        reason: "FieldValueNotSupported",
        message: 'Unsupported value: "Opaque": supported values: "kubernetes.io/dockerconfigjson"',
      },
    ]);
  });
});

describe("names", () => {
  it("are those of the platform", () => {
    expect(imageNameOf(cluster({}))).toEqual({ repository: "cvi/ubuntu", tag: "0a1b" });
    expect(imageNameOf(namespaced({}))).toEqual({ repository: "vi/team-a/ubuntu", tag: "0a1b" });
  });

  it("that are too long are cut and told apart by a hash", () => {
    const long = (name: string): string =>
      repositoryOf({ kind: "ClusterVirtualImage", metadata: { ...metadata, name } });
    const one = long("a".repeat(253));
    expect(one).toMatch(/^cvi\/a+-[0-9a-f]{16}$/);
    expect("dvcr.d8-virtualization.svc/".length + one.length).toBe(255);
    expect(long("a".repeat(252))).not.toBe(one);
    expect(long("a".repeat(224))).toBe(`cvi/${"a".repeat(224)}`);
    expect(long("a".repeat(225))).toMatch(/^cvi\/a{207}-[0-9a-f]{16}$/);
  });
});

describe("quantities", () => {
  it.each([
    [0, "0B"],
    [9, "9B"],
    [512, "512B"],
    [1023, "1023B"],
    [1024, "1Ki"],
    [1536, "1.5Ki"],
    [299_783_168, "285.9Mi"],
    [10 * 2 ** 20, "10Mi"],
    [1024 * 1024 - 1, "1Mi"],
    [2 ** 60 * 3, "3Ei"],
  ])("%d bytes are %s", (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });

  it("speeds and percentages read as the platform's", () => {
    expect(formatSpeed(12.3 * 2 ** 20)).toBe("12.3Mi/s");
    expect([0, 0.01, 28.2, 99.94, 100].map(formatPercent)).toEqual(["0%", "0.0%", "28.2%", "99.9%", "100%"]);
    expect([0, 0.01, 28.27, 99.99, 100].map(formatRunningPercent)).toEqual(["0%", "0.0%", "28.2%", "99.9%", "99.9%"]);
  });
});
