// Checks that no user-facing text has a word that docs/style.md lists; part of `npm run lint`.
import { fileURLToPath } from "node:url";

import { styleProblems } from "./style.mjs";

const problems = styleProblems(process.argv[2] ?? fileURLToPath(new URL("..", import.meta.url)));
for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
