// Checks that no user-facing text and no page has a word that docs/style.md lists, and no line 120 columns; part of
// `npm run lint`.
import { fileURLToPath } from "node:url";

import { lineProblems, pageProblems, styleProblems } from "./style.mjs";

const project = process.argv[2] ?? fileURLToPath(new URL("..", import.meta.url));
const problems = [...styleProblems(project), ...pageProblems(project), ...lineProblems(project)];
for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
