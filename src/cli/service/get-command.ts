import { stringify } from "yaml";

import { DvcrError } from "../../errors/dvcr-error.ts";
import type { ServiceClient } from "./client.ts";
import type { GetFlags } from "./flags.ts";
import { kindOf, nameOf, pathOf, type Kind } from "./kinds.ts";
import { tableAccept, TablePrinter, type Table } from "./table.ts";

type Print = (text: string) => void;

interface Listed {
  readonly items?: readonly { readonly metadata: { readonly name: string } }[];
  readonly metadata?: { readonly name?: string; readonly resourceVersion?: string };
}

const outputs = ["wide", "json", "yaml", "name"];

/** `dvcr get KIND [NAME]`: what kubectl prints for it. @throws DvcrError. */
export async function get(
  client: ServiceClient,
  kindName: string,
  name: string | undefined,
  flags: GetFlags,
  print: Print,
  printError: Print,
): Promise<void> {
  const { output } = flags;
  if (output !== undefined && !outputs.includes(output))
    throw new DvcrError("E_USAGE", `--output: got ${JSON.stringify(output)}, expected one of ${outputs.join(", ")}`);
  if (flags.watch && output !== undefined && output !== "wide")
    throw new DvcrError("E_USAGE", "--watch prints tables only");
  const kind = kindOf(kindName);
  const namespace = flags.allNamespaces ? "" : flags.namespace;
  const path = pathOf(kind, namespace, name);
  if (output === "json" || output === "yaml" || output === "name") {
    print(formatted(await client.json<Listed>(path), kind, output));
    return;
  }
  const printer = new TablePrinter({
    isWide: output === "wide",
    withNamespace: flags.allNamespaces && kind.isNamespaced,
  });
  const table = await client.json<Table & Listed>(path, { accept: tableAccept });
  const text = printer.lines(table);
  if (text === "" && !flags.watch)
    printError(`No resources found${kind.isNamespaced && namespace !== "" ? ` in ${namespace} namespace` : ""}.\n`);
  print(text);
  if (flags.watch)
    await follow(client, { kind, namespace, name, since: table.metadata?.resourceVersion ?? "" }, printer, print);
}

async function follow(
  client: ServiceClient,
  {
    kind,
    namespace,
    name,
    since,
  }: { readonly kind: Kind; readonly namespace: string; readonly name: string | undefined; readonly since: string },
  printer: TablePrinter,
  print: Print,
): Promise<void> {
  const query = new URLSearchParams({
    watch: "true",
    resourceVersion: since,
    ...(name === undefined ? {} : { fieldSelector: `metadata.name=${name}` }),
  });
  for await (const event of client.watch<{ readonly type: string; readonly object: Table }>(
    `${pathOf(kind, namespace)}?${query.toString()}`,
    { accept: tableAccept },
  )) {
    if (event.type === "ERROR") throw new DvcrError("E_VERSION_EXPIRED", "the watch has ended");
    if (event.type !== "BOOKMARK") print(printer.lines(event.object));
  }
}

function formatted(found: Listed, kind: Kind, output: "json" | "yaml" | "name"): string {
  if (output === "json") return `${JSON.stringify(found, undefined, 4)}\n`;
  if (output === "yaml") return stringify(found);
  const names = found.items?.map(({ metadata }) => metadata.name) ?? [found.metadata?.name ?? ""];
  return names.map((one) => `${nameOf(kind, one)}\n`).join("");
}
