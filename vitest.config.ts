import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/**/*.test.ts", "bench/test/*.test.mjs"],
    // These need a cluster, or build what is released: npm run test:kubernetes, npm run test:release.
    exclude: ["test/kubernetes/**", "test/release/**", "**/node_modules/**"],
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
