/** A registry on a file system of 24 MiB. Mounting it needs root: without, this fails and says so. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { RegistryDestination } from "../src/destination/docker.ts";
import { startRegistry } from "./support/registry.ts";
import { sampleImage, writeAll } from "./support/sample-image.ts";
import { tool } from "./support/tools.ts";

test("a registry whose disk is full ends the push with E_REGISTRY_FULL and keeps nothing of it", async () => {
  const storage = await mkdtemp(join(tmpdir(), "dvcr-full-"));
  await tool("mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", storage).catch((error: unknown) => {
    throw new Error(`this test mounts a tmpfs, which needs root (CAP_SYS_ADMIN): ${String(error)}`);
  });
  try {
    await using registry = await startRegistry({ storage });
    const { signal } = new AbortController();
    const anonymous = () => Promise.resolve(undefined);
    const to = new RegistryDestination(
      { host: registry.host, repository: "r", tag: "v1" },
      { tls: { verify: false }, credentials: anonymous },
    );
    const { layer } = await sampleImage("oci", 40 * 1024 * 1024);
    const upload = await to.beginLayer(signal);
    const error: unknown = await writeAll(upload, layer).catch((reason: unknown) => reason);
    await upload.abort();
    await to.close();
    expect(error).toMatchObject({ code: "E_REGISTRY_FULL" });
    expect(String(error)).toMatch(/POST.*Err:28\D/);
    expect(await registry.tags("r")).toEqual([]);
  } finally {
    await tool("umount", "-l", storage);
    await rm(storage, { recursive: true });
  }
});
