/** Writes docs/configuration.md from the configuration's tables. Needs a built dist (`npm run build:ts`). */
import { writeFileSync } from "node:fs";

import { configurationPage } from "../dist/config/reference-page.js";

writeFileSync(new URL("../docs/configuration.md", import.meta.url), configurationPage());
