// Checks that lower folders never import higher ones and that no imports form a circle; part of `npm run lint`.
import { fileURLToPath } from "node:url";

import { importProblems } from "./floors.mjs";

const project = process.argv[2] ?? fileURLToPath(new URL("..", import.meta.url));
const problems = importProblems(project);
for (const problem of problems) console.error(problem);
process.exitCode = problems.length > 0 ? 1 : 0;
