import { defineConfig } from "vitest/config";

import base, { longTests } from "./vitest.config.ts";

/** The tests that take a minute and more each: `npm run test:long`. */
export default defineConfig({ test: { ...base.test, include: longTests, exclude: [] } });
