import { defineConfig } from "vite";

import { inRoot } from "../scripts/lib/paths.mjs";

export default defineConfig({
  root: inRoot("console"),
  // What is built holds no place of this machine, and no variable of its environment.
  envDir: false,
  logLevel: "warn",
  build: {
    outDir: inRoot("dist/console"),
    emptyOutDir: true,
    target: ["chrome123", "firefox120", "safari17.5"],
    // Inlined files would need data: in the content security policy.
    assetsInlineLimit: 0,
    // One script; the polyfill for its preloading is an inline script.
    modulePreload: false,
    reportCompressedSize: false,
  },
});
