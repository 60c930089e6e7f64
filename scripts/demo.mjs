/**
 * `npm run demo`: sets up what is missing, then shows the images service from a real disk to a proof: one upload, one
 * import over HTTP, by kubectl where it is installed.
 *
 *   node scripts/demo.mjs [--keep]
 *
 * --keep leaves the service running at the end, until Ctrl-C.
 */
import { parseArgs } from "node:util";

import { tellStory } from "./demo/story.mjs";
import { fail } from "./lib/process.mjs";
import { setup } from "./setup.mjs";

async function main() {
  const { values } = parseArgs({ options: { keep: { type: "boolean" } } });
  await setup({ purpose: "demo" });
  await tellStory({ keep: values.keep });
}

await main().catch(fail);
