import { defineConfig } from "vitest/config";

/** A minute and more each: kill -9 under load, memory with large images, every page of the console. `npm run test:long`. */
export const longTests = [
  "test/service-survival.test.ts",
  "test/registry-survival.test.ts",
  "test/import-resources.test.ts",
  "test/console-look.test.ts",
];

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts", "bench/test/*.test.mjs"],
    // These need a cluster, or build what is released: npm run test:kubernetes, npm run test:release.
    exclude: ["test/kubernetes/**", "test/release/**", ...longTests, "**/node_modules/**"],
    // Real processes, sockets and the addon: a process of its own per file, and no more than small machines carry.
    pool: "forks",
    maxWorkers: 2,
    testTimeout: 120_000,
    hookTimeout: 120_000,
    teardownTimeout: 10_000,
    // Only what a person wants to read; a failing test shows its own output.
    reporters: ["default"],
  },
});
