/** Writes the reference pages that come from tables in the code. Needs a built dist (`npm run build:ts`). */
import { writeFileSync } from "node:fs";

import { cliPage } from "../dist/cli/reference-page.js";
import { configurationPage } from "../dist/config/reference-page.js";
import { errorsPage } from "../dist/errors/reference-page.js";

const write = (name, text) => writeFileSync(new URL(`../docs/${name}`, import.meta.url), text);

write("cli.md", cliPage());
write("configuration.md", configurationPage());
write("errors.md", errorsPage());
