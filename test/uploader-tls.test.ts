import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { makeCertificates, type Certificates } from "./support/certificates.ts";
import { curl, type Finished } from "./support/pod.ts";
import { startFakeUploader, type FakeUploader } from "./support/uploader.ts";

let certificates: Certificates;
let server: { cert: string; key: string };
let uploader: FakeUploader;
beforeAll(() => {
  certificates = makeCertificates();
  server = certificates.issue("uploader");
});
afterEach(() => uploader.dispose());
afterAll(() => rmSync(certificates.directory, { recursive: true }));

const startWith = async (environment: Record<string, string>): Promise<void> => {
  uploader = await startFakeUploader({}, { TLS_CERT_FILE: server.cert, TLS_KEY_FILE: server.key, ...environment });
};

function upload(...args: string[]): Promise<Finished> {
  const file = join(uploader.directory, "disk.img");
  writeFileSync(file, "x".repeat(2 ** 21));
  return curl("--cacert", certificates.ca, ...args, "-w", "%{http_code}", "-T", file, uploader.url).done;
}

const as = ({ cert, key }: { cert: string; key: string }): string[] => ["--cert", cert, "--key", key];

describe("an upload by TLS", () => {
  it("is stored", async () => {
    await startWith({});
    expect((await upload()).stdout).toMatch(/^stored .*\n200$/);
  });

  it("below the lowest version is refused in the handshake", async () => {
    await startWith({ TLS_MIN_VERSION: "VersionTLS13" });
    expect((await upload("--tls-max", "1.2")).code).toBe(35);
    expect((await upload("--tlsv1.3")).stdout).toMatch(/^stored /);
  });

  it("uses only the ciphers that are allowed", async () => {
    await startWith({ TLS_CIPHERS: "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384" });
    expect((await upload("--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES128-GCM-SHA256")).code).toBe(35);
    expect((await upload("--tls-max", "1.2", "--ciphers", "ECDHE-ECDSA-AES256-GCM-SHA384")).stdout).toMatch(/^stored /);
  });
});

describe("an upload by mutual TLS", () => {
  it("needs a certificate of the client CA", async () => {
    await startWith({ CLIENT_CA_FILE: certificates.ca });
    const without = await upload();
    expect(without.code).not.toBe(0);
    expect(without.stdout).not.toContain("stored");
    expect((await upload(...as(certificates.issue("anyone")))).stdout).toMatch(/^stored /);
  });

  it("needs the required name, as common name or as DNS name", async () => {
    await startWith({ CLIENT_CA_FILE: certificates.ca, CLIENT_NAME: "portal" });
    expect((await upload(...as(certificates.issue("stranger")))).stdout).toMatch(
      /^E_CLIENT_DENIED: .*"portal".*\n403$/,
    );
    expect((await upload(...as(certificates.issue("portal.evil.example")))).stdout).toMatch(/\n403$/);
    expect(uploader.message()).toBeUndefined();
    expect(
      (await upload(...as(certificates.issue("other", "subjectAltName=DNS:x.example,DNS:portal")))).stdout,
    ).toMatch(/^stored /);
  });

  it("accepts the required name as common name", async () => {
    await startWith({ CLIENT_CA_FILE: certificates.ca, CLIENT_NAME: "portal" });
    expect((await upload(...as(certificates.issue("portal", "basicConstraints=CA:FALSE")))).stdout).toMatch(/^stored /);
  });
});
