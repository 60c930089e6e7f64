import { render } from "preact";

import { App } from "./app.tsx";
import { followLinks } from "./router.ts";
import { followTheme } from "./theme.ts";
import { guardUploads } from "./uploads/uploads.ts";

followTheme();
followLinks();
guardUploads();
keepDroppedFilesOut();
render(<App />, document.getElementById("app")!);

/** A file that is dropped beside its place would otherwise be opened in the place of this page. */
function keepDroppedFilesOut(): void {
  for (const type of ["dragover", "drop"]) addEventListener(type, (event) => event.preventDefault());
}
