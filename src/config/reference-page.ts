import type { Field, FieldTable } from "./field.ts";
import { markdownTable } from "./markdown-table.ts";
import { importerFields } from "./importer-config.ts";
import { pvcImporterFields } from "./pvc-importer-config.ts";
import { earlyFields, imageFields, patienceFields } from "./shared-fields.ts";
import { serveFields } from "./serve-config.ts";
import { uploaderFields } from "./uploader-config.ts";

const escapeCell = (text: string): string => text.replaceAll("|", "\\|");

function defaultOf(field: Field<unknown>): string {
  if (field.required) return "required";
  if (field.fallback === undefined) return "";
  const text = field.kind.format(field.fallback);
  return text === "" ? "" : `\`${text}\``;
}

/** `withKeys`: also what a value is called in a configuration file. */
function rowsOf(table: FieldTable, withKeys: boolean): string[][] {
  return Object.entries(table).map(([key, field]) => {
    const names = [
      `\`${field.env}\``,
      ...(field.flag === undefined ? [] : [`\`${field.flag.length === 1 ? "-" : "--"}${field.flag}\``]),
    ];
    return [
      names.join("<br>"),
      escapeCell(field.kind.expected),
      defaultOf(field),
      escapeCell(field.description),
      ...(withKeys ? [`\`${key}\``] : []),
    ];
  });
}

const headings = ["Name", "Value", "Default", "Meaning"];

function section(title: string, intro: string, table: FieldTable, withKeys = false): string {
  const columns = withKeys ? [...headings, "In the file"] : headings;
  return `## ${title}\n\n${intro}\n\n${markdownTable(columns, rowsOf(table, withKeys))}`;
}

/** The fields of `table` that are not shared by both processes. */
function ownFields(table: FieldTable): FieldTable {
  const shared = new Set(Object.keys({ ...earlyFields, ...imageFields, ...patienceFields }));
  return Object.fromEntries(Object.entries(table).filter(([name]) => !shared.has(name)));
}

/** docs/configuration.md, from the tables that the processes parse by. */
export function configurationPage(): string {
  return [
    "# Configuration\n",
    "<!-- Written by scripts/gen-docs.mjs from src/config; changes here are lost. -->\n",
    "Both pod processes are configured by environment variables, which are read once at start. " +
      "The uploader, and of the",
    "importer the verbosity, can be set by flags too; a flag wins over its variable. The " +
      "images service (`dvcr serve`) also",
    "reads a configuration file. An empty variable counts as unset. All problems are reported " +
      "together as `E_CONFIG`, by name,",
    "with what was given and what was expected; secrets are never shown.\n",
    section(
      "Both processes",
      "What is reported, where, and what becomes of the image, and how long faults are waited out.",
      { ...earlyFields, ...imageFields, ...patienceFields },
    ),
    section("dvcr-uploader", "Ports, TLS and destination of the upload server.", ownFields(uploaderFields)),
    section(
      "dvcr-importer",
      "Source and destination. Every variable whose name begins with `IMPORTER_EXTRA_HEADER_` " +
        "holds one more HTTP header, `Name: value`, for http sources.",
      ownFields(importerFields),
    ),
    section(
      "dvcr-pvc-importer",
      "From a stored image to a volume. Of the variables for both processes it knows those for sources, limits, " +
        "metrics and the log.",
      ownFields(pvcImporterFields),
    ),
    section(
      "dvcr serve",
      "The images service. Flags win over variables, variables over the file that `--config` " +
        "names. After SIGHUP `capacity`, `nearlyFull`, `namespaceBytes` and `namespaceImages` are " +
        "read again.",
      serveFields,
      true,
    ),
  ].join("\n");
}
