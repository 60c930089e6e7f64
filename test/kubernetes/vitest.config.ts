import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/kubernetes/**/*.test.ts"],
    // One cluster for all files, whose objects and node they share.
    pool: "forks",
    maxWorkers: 1,
    testTimeout: 180_000,
    hookTimeout: 180_000,
    reporters: ["default"],
  },
});
