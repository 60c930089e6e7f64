import { Command, type Option } from "commander";

import { cliFields } from "../config/cli-environment.ts";
import type { Field } from "../config/field.ts";
import { markdownTable } from "../config/markdown-table.ts";
import { addImageCommands } from "./image-commands.ts";
import { UsageProblems } from "./usage.ts";

/** What comes before the tables: how the common things are done. */
const INTRODUCTION = `# Command line

<!-- Written by scripts/gen-docs.mjs from src/cli; changes here are lost. -->

All options of \`dvcr import\`, \`dvcr inspect\` and \`dvcr copy\`. A source is a file, a block device,
an \`http(s)://\` URL, \`docker://HOST/REPO:TAG\`, or \`-\` for standard input; a destination is
\`docker://HOST/REPO:TAG\` or \`oci:DIR:TAG\`. The other commands are described where they belong: \`dvcr serve\`,
\`gc\`, \`get\`, \`apply\`, \`upload\` and their like with [the images service](service.md), the pod
processes in [Configuration](configuration.md).

Exit codes: 0 done; 1 failed, trying again may help; 2 wrong usage; 3 the input is refused, trying again cannot help
([Errors](errors.md)).

## Examples

A registry with a private CA, as \`ca.crt\` in \`./registry-ca\`, and a password, in a file that \`skopeo login\` or
\`podman login\` writes. Without \`--authfile\` the files named [below](#environment) are searched;
\`docker login\` writes there:

\`\`\`sh
skopeo login --cert-dir ./registry-ca --authfile ./auth.json registry.example.com
dvcr import --dest-cert-dir ./registry-ca --authfile ./auth.json debian-12.qcow2 \\
  docker://registry.example.com/disks/debian:12
\`\`\`

\`--dest-creds USER:PASSWORD\` works too, but others on the machine see it in the list of processes. For a
\`docker://\` source the same are \`--src-cert-dir\`, \`--src-authfile\` and \`--src-creds\`.

A checksum, over the file as it is published, before it is unpacked:

\`\`\`sh
sum=$(curl -sS https://example.com/SHA512SUMS | awk '$2 == "debian-12.qcow2" { print $1 }')
dvcr import --checksum "sha512:$sum" \\
  https://example.com/debian-12.qcow2 oci:images:debian-12
\`\`\`

A source whose server has a CA of its own and wants a token:

\`\`\`sh
dvcr import --src-cert-dir ./intranet-ca --src-header "Authorization: Bearer $TOKEN" \\
  https://images.intranet/debian-12.qcow2 oci:images:debian-12
\`\`\`

What a URL holds, from its first bytes, and the copy of a stored image to another registry:

\`\`\`sh
dvcr inspect --json https://example.com/debian-12.qcow2
dvcr copy docker://registry.example.com/disks/debian:12 docker://other.example.com/disks/debian:12
\`\`\`
`;

const escapeCell = (text: string): string => text.replaceAll(/[|*<]/g, "\\$&");

/** What holds without the option; a switch or a list that is not given is nothing. */
function defaultOf({ defaultValue, defaultValueDescription }: Option): string {
  const value = defaultValueDescription ?? (defaultValue as string | number | boolean | readonly unknown[] | undefined);
  if (value === undefined || value === false || (Array.isArray(value) && value.length === 0)) return "";
  return `\`${String(value)}\``;
}

function commandSection(command: Command): string {
  const rows = command.options.map((option) => {
    const choices = option.argChoices === undefined ? "" : `; one of ${option.argChoices.join(", ")}`;
    return [`\`${option.flags.replaceAll("|", "\\|")}\``, defaultOf(option), escapeCell(option.description + choices)];
  });
  const usage = `dvcr ${command.name()} ${command.usage().replace("[options] ", "")}`;
  const table = markdownTable(["Option", "Default", "Meaning"], rows);
  return `\n## \`${usage}\`\n\n${command.description()}\n\n${table}`;
}

function environmentSection(): string {
  const fields = Object.values<Field<unknown>>(cliFields);
  const rows = fields.map(({ env, description }) => [`\`${env}\``, escapeCell(description)]);
  return (
    "\n## Environment\n\nCredentials are looked for in `REGISTRY_AUTH_FILE`, " +
    "`$XDG_RUNTIME_DIR/containers/auth.json`, `containers/auth.json` in\n" +
    "`$XDG_CONFIG_HOME` or `~/.config`, and `config.json` in `$DOCKER_CONFIG` or `~/.docker`.\n\n" +
    markdownTable(["Name", "Meaning"], rows)
  );
}

/** docs/cli.md, from the commands as they are parsed. */
export function cliPage(): string {
  const commands = addImageCommands(new Command("dvcr"), "/tmp", new UsageProblems());
  const { importing, exporting, inspecting, copying, probing } = commands;
  const sections = [importing, exporting, inspecting, copying, probing].map(commandSection);
  return INTRODUCTION + sections.join("") + environmentSection();
}
