/** What an executable says in a checkout that is not built. Loaded only where its program could not be. */
import { existsSync } from "node:fs";

const isThere = (path) => existsSync(new URL(`../${path}`, import.meta.url));

/** Says what to run and ends the process with 2; throws `error` where the build is there, or nothing can be built. */
export function explain(error) {
  const isBuilt = ["dist/cli/main.js", "build/native/dvcr.node", "node_modules"].every(isThere);
  if (isBuilt || !isThere("scripts/setup.mjs")) throw error;
  process.stderr.write("dvcr is not built yet: run `npm run setup`\n");
  process.exit(2);
}
