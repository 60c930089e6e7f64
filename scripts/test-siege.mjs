/**
 * The service under siege for five minutes: every attack that we know of, from three tenants, while a fourth works.
 *
 *   npm run test:siege [-- --seconds 300] [--attack NAME]...
 *
 * Ends with 1 where anything of the honest tenant's did not become Ready, or the service took a gibibyte or more.
 */
import { parseArgs } from "node:util";

import { fail, Stop } from "./lib/process.mjs";
import { Workshop } from "./lib/workshop.mjs";
import { attacks } from "./siege/attacks.mjs";
import { siege } from "./siege/siege.mjs";

const mebibyte = 1 << 20;
const mostMemory = 1024 * mebibyte;

async function main() {
  const { values } = parseArgs({
    options: { seconds: { type: "string", default: "300" }, attack: { type: "string", multiple: true } },
  });
  const only = values.attack ?? Object.keys(attacks);
  for (const name of only)
    if (!Object.hasOwn(attacks, name))
      throw new Stop(`no attack is called "${name}"; there are:\n  ${Object.keys(attacks).join("\n  ")}`, 2);
  const workshop = await Workshop.open(new AbortController().signal);
  try {
    const result = await siege(workshop, { seconds: Number(values.seconds), only });
    process.stdout.write(report(result));
    if (result.problems.length > 0) throw new Stop(`the honest tenant met:\n  ${result.problems.join("\n  ")}`);
    if (result.peak >= mostMemory) throw new Stop("the service took a gibibyte or more");
  } finally {
    await workshop.close();
  }
}

/** What one siege showed, in lines. */
function report({ imports, uploads, lists, events, peak, healthz, probeThread }) {
  const sorted = lists.toSorted((one, other) => one - other);
  const at = (share) => `${Math.round(sorted[Math.floor((sorted.length - 1) * share)] ?? 0)} ms`;
  return [
    `the honest tenant: ${imports} imports and ${uploads} uploads Ready, ${events} events, ${lists.length} lists: ` +
      `median ${at(0.5)}, 99th percentile ${at(0.99)}, slowest ${at(1)}`,
    `slowest /healthz ${Math.round(healthz)} ms, by the probes' thread ${Math.round(probeThread ?? NaN)} ms`,
    `memory of the service: ${Math.round(peak / mebibyte)} MiB at its peak`,
    "",
  ].join("\n");
}

await main().catch(fail);
// After a failure attacks are still under way.
process.exit();
