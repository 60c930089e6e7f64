import { stringify } from "yaml";

import { formatTable } from "../units.ts";
import type { ServiceClient } from "./client.ts";
import type { ServiceFlags } from "./flags.ts";
import { kindOf, pathOf } from "./kinds.ts";

interface Described {
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly uid: string;
    readonly creationTimestamp: string;
    readonly labels?: Record<string, string>;
    readonly annotations?: Record<string, string>;
  };
  readonly spec?: object;
  readonly status?: object;
}

interface KubeEvent {
  readonly type: string;
  readonly reason: string;
  readonly message: string;
  readonly lastTimestamp?: string | null;
  readonly count?: number;
}

/** `dvcr describe KIND NAME`: all of an object, and its events. Resolves to the text. @throws DvcrError. */
export async function describe(
  client: ServiceClient,
  kindName: string,
  name: string,
  flags: ServiceFlags,
): Promise<string> {
  const kind = kindOf(kindName);
  const { metadata, spec, status, kind: exactKind } = await client.json<Described>(pathOf(kind, flags.namespace, name));
  const selector = new URLSearchParams({ fieldSelector: `involvedObject.uid=${metadata.uid}` });
  const { items } = await client.json<{ readonly items: readonly KubeEvent[] }>(
    `${pathOf(kindOf("events"), metadata.namespace ?? "default")}?${selector.toString()}`,
  );
  const head = formatTable([
    ["Name:", metadata.name],
    ...(metadata.namespace === undefined ? [] : [["Namespace:", metadata.namespace] as const]),
    ["Kind:", exactKind],
    ["Created:", metadata.creationTimestamp],
    ...Object.entries({ ...metadata.labels }).map(([key, value]) => ["Label:", `${key}=${value}`] as const),
  ]);
  const section = (title: string, content: object | undefined): string =>
    content === undefined ? "" : `${title}:\n${stringify(content).replace(/^/gm, "  ").trimEnd()}\n`;
  const lines = items.map(
    ({ type, reason, lastTimestamp, message }) => `  ${type}  ${reason}  ${lastTimestamp ?? ""}  ${message}\n`,
  );
  const events = items.length === 0 ? "Events:  <none>\n" : `Events:\n${lines.join("")}`;
  return head + section("Spec", spec) + section("Status", status) + events;
}
