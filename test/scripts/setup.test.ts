import { execFile } from "node:child_process";
import { cp, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

function node(args: string[], env: Record<string, string>, cwd: string): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = execFile(
      process.execPath,
      args,
      { cwd, env: { ...process.env, ...env } },
      (_error, stdout, stderr) => {
        resolve({ code: child.exitCode ?? -1, stdout, stderr });
      },
    );
  });
}

describe("set-up", () => {
  let directory: string;
  beforeEach(async () => {
    directory = await mkdtemp(join(tmpdir(), "dvcr-setup-test-"));
  });
  afterEach(() => rm(directory, { recursive: true, force: true }));

  it("prints one line with the missing packages and ends with 2 where apt may not be used", async () => {
    await writeFile(join(directory, "status"), "");
    const env = { DVCR_NO_APT: "1", DPKG_ADMINDIR: directory };
    const { code, stderr } = await node([join(root, "scripts/demo.mjs")], env, directory);
    expect(code).toBe(2);
    const lines = stderr
      .split("\n")
      .filter((line) => line.startsWith("sudo apt-get install -y --no-install-recommends "));
    expect(lines).toHaveLength(1);
    for (const name of ["g++", "cmake", "liblzma-dev", "docker-registry", "qemu-utils", "skopeo"]) {
      expect(lines[0]?.split(" ")).toContain(name);
    }
    expect(stderr).not.toMatch(/^\s+at /m);
  });

  it("names only what is missing", async () => {
    const entry = (name: string): string =>
      `Package: ${name}\nStatus: install ok installed\nVersion: 1\nArchitecture: ` +
      "amd64\nMaintainer: x <x@example.com>\nDescription: x\n\n";
    await writeFile(join(directory, "status"), entry("cmake") + entry("curl"));
    const env = { DVCR_NO_APT: "1", DPKG_ADMINDIR: directory };
    const { stderr } = await node([join(root, "scripts/setup.mjs")], env, directory);
    const line = stderr
      .split("\n")
      .find((text) => text.startsWith("sudo apt-get"))
      ?.split(" ");
    expect(line).toContain("g++");
    expect(line).not.toContain("cmake");
    expect(line).not.toContain("curl");
  });

  it("does not touch a node_modules that belongs to another checkout", async () => {
    for (const name of ["scripts", "native", "package.json"])
      await cp(join(root, name), join(directory, name), { recursive: true });
    await writeFile(join(directory, "package-lock.json"), '{"packages":{"node_modules/absent":{"version":"1.0.0"}}}');
    await symlink(join(root, "node_modules"), join(directory, "node_modules"));
    const { code, stderr } = await node(
      [join(directory, "scripts/setup.mjs"), "--for=image"],
      { DVCR_NO_APT: "1" },
      "/",
    );
    expect(code).toBe(2);
    expect(stderr).toContain("node_modules is a link");
  });

  it("refuses a purpose it does not know", async () => {
    const { code, stderr } = await node([join(root, "scripts/setup.mjs"), "--for=nothing"], {}, directory);
    expect(code).toBe(2);
    expect(stderr).toContain("demo");
  });
});
