/** Help and flags of the commands that work on the data directory of `dvcr serve`. */
import type { Field } from "./field.ts";
import { flag } from "./kinds.ts";
import { serveFields } from "./serve-config.ts";

type Flag = Pick<Field<unknown>, "flag" | "kind" | "description">;

export const gcUsage = `Usage: dvcr gc check|run [--yes] [--force] [--data-dir DIR] [--config FILE]

  check  count images and resources, show the space used, list the images whose resources were deleted
  run    remove those images, and the blobs that no image needs; asks first, unless --yes is given

Images of which the database has never known a resource are listed too, and kept. A run that would remove more than
DVCR_SERVE_GC_MAX_SHARE percent of all images (50 by default) is refused. --force lifts both limits.

A server that uses the data directory does the work; where none runs, this process does. Every flag of
dvcr serve is accepted.

`;

/** The flags of `dvcr gc`; those of `dvcr serve` that are of use there included. */
export const gcFlags: readonly Flag[] = [
  { flag: "yes", kind: flag, description: "Remove without asking (gc run)." },
  { flag: "force", kind: flag, description: "Remove images whose resources were never known, and any share (gc run)." },
  serveFields.dataDir,
  serveFields.config,
];

export const restoreUsage = `Usage: dvcr restore check|run [--data-dir DIR] [--config FILE]

  check  show what run would do; nothing is changed
  run    recreate the resources that the stored images had: name, namespace and uid, size and format

No server may be using the data directory. Every flag of dvcr serve is accepted: with --registry, the images there are
read. A database that is damaged, and a log without its database, are kept under another name (resources.db.lost-1).
Resources that are Ready with an image that is not there become ImageLost. Where secrets.key is lost, pull secrets are
dropped: nothing opens them any more. What the database alone knew is not recreated: labels, annotations, sources,
images that were not stored yet.

`;

/** The flags of `dvcr restore`. */
export const restoreFlags: readonly Flag[] = [serveFields.dataDir, serveFields.config];
