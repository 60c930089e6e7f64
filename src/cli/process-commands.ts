import { Option, type Command } from "commander";

import type { Field } from "../config/field.ts";
import { flagsHelp, helpText } from "../config/help-text.ts";
import { gcFlags, gcUsage, restoreFlags, restoreUsage } from "../config/data-flags.ts";
import { importerFields } from "../config/importer-config.ts";
import { pvcImporterFields } from "../config/pvc-importer-config.ts";
import { serveFields } from "../config/serve-config.ts";
import { uploaderFields } from "../config/uploader-config.ts";

type Flag = Pick<Field<unknown>, "flag" | "kind" | "description">;

interface ProcessCommand {
  readonly name: string;
  readonly description: string;
  /** What --help prints. */
  readonly help: string;
  readonly flags: readonly Flag[];
  readonly subcommands?: Readonly<Record<string, string>>;
}

/**
 * Commands that parse their own flags by a table of src/config. Help and completion are made of the same tables here.
 */
const commands: readonly ProcessCommand[] = [
  {
    name: "gc",
    description: "List the stored images that have lost their resources (gc check), or remove them (gc run).",
    help: gcUsage + flagsHelp(gcFlags),
    flags: gcFlags,
    subcommands: { check: "count and list", run: "remove" },
  },
  {
    name: "restore",
    description: "Recreate the resources of stored images after the service's database was lost.",
    help: restoreUsage + flagsHelp(restoreFlags),
    flags: restoreFlags,
    subcommands: { check: "show what run would do", run: "recreate" },
  },
  {
    name: "serve",
    description: "Run the images service: kubectl, uploads, web console.",
    help: helpText("dvcr serve", serveFields),
    flags: Object.values(serveFields),
  },
  {
    name: "uploader",
    description: "Run the upload server of a pod (docs/configuration.md).",
    help: helpText("dvcr-uploader", uploaderFields),
    flags: Object.values(uploaderFields),
  },
  {
    name: "importer",
    description: "Run the importer of a pod, configured by its environment (docs/configuration.md).",
    help: helpText("dvcr-importer", importerFields),
    flags: Object.values(importerFields),
  },
  {
    name: "pvc-importer",
    description: "Fill a volume of a pod with a stored image, configured by its environment (docs/configuration.md).",
    help: helpText("dvcr-pvc-importer", pvcImporterFields),
    flags: Object.values(pvcImporterFields),
  },
];

/**
 * Adds the commands that are processes of their own: for `dvcr help NAME` and for completion; they never run from here.
 */
export function addProcessCommands(program: Command): void {
  for (const { name, description, help, flags, subcommands = {} } of commands) {
    const command = addFlags(program.command(name).description(description), flags);
    command.helpInformation = () => help;
    for (const [sub, text] of Object.entries(subcommands)) {
      const part = addFlags(command.command(sub).description(text), flags);
      part.helpInformation = () => help;
    }
  }
}

function addFlags(command: Command, flags: readonly Flag[]): Command {
  for (const { flag, kind, description } of flags) {
    if (flag === undefined) continue;
    const dashed = flag.length === 1 ? `-${flag}` : `--${flag}`;
    command.addOption(new Option(kind.isSwitch ? dashed : `${dashed} <value>`, description));
  }
  return command;
}
