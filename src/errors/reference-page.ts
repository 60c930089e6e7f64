import { catalogue, type ErrorEntry, type ErrorKind } from "./catalogue.ts";

const KINDS: Readonly<Record<ErrorKind, { readonly title: string; readonly intro: string }>> = {
  refused: {
    title: "Refused",
    intro: "The input or the setup is at fault; trying again as it is cannot help. `dvcr` exits with 3.",
  },
  retry: {
    title: "Failed on the way",
    intro: "Trying again may help, and the tools do so by themselves where nothing is lost. `dvcr` exits with 1.",
  },
  usage: {
    title: "Wrong usage",
    intro: "Options or variables are wrong; all problems are named together. `dvcr` exits with 2.",
  },
};

/** docs/errors.md, from the catalogue. */
export function errorsPage(): string {
  return [
    "# Errors\n",
    "<!-- Written by scripts/gen-docs.mjs from src/errors/catalogue.ts; changes here are lost. -->\n",
    "Every error is one line, `E_CODE: what happened. What to do`. The code is stable: scripts " +
      "may rely on it. The status is the",
    "one of an upload's answer. The pod processes write the line into their termination " +
      "message and follow its rules: a refusal",
    "ends the pod with exit code 0 and `error-message`. Flags are those of [`dvcr`](cli.md), " +
      "the variables next to them those of the",
    "[pods](configuration.md); where the images service has the same, its variable begins with `DVCR_SERVE_`.\n",
    ...Object.entries(KINDS).map(([kind, { title, intro }]) => section(kind as ErrorKind, title, intro)),
  ].join("\n");
}

function section(kind: ErrorKind, title: string, intro: string): string {
  const rows = Object.entries(catalogue as Readonly<Record<string, ErrorEntry>>)
    .filter(([, entry]) => entry.kind === kind)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([code, entry]) => `| \`${code}\` | ${entry.status} | ${entry.title} | ${entry.fix} |`);
  return (
    `## ${title}\n\n${intro}\n\n| Code | Status | What it means | What to do |\n| --- | --- | ` +
    `--- | --- |\n${rows.join("\n")}\n`
  );
}
