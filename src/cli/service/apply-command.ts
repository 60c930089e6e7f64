import { readFile } from "node:fs/promises";
import { text as textOf } from "node:stream/consumers";
import { parseAllDocuments } from "yaml";

import { DvcrError } from "../../errors/dvcr-error.ts";
import type { ServiceClient } from "./client.ts";
import type { ApplyFlags, DeleteFlags } from "./flags.ts";
import { kindOf, kinds, nameOf, pathOf, type Kind } from "./kinds.ts";

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string };
}

interface Versioned {
  readonly metadata: { readonly resourceVersion: string; readonly uid: string };
}

const fieldManager = "dvcr";
/** A file of manifests is read whole. */
const mostBytes = 4 << 20;

/** `dvcr apply -f FILE`: server-side apply of every manifest in it. Prints a line for each. @throws DvcrError. */
export async function apply(client: ServiceClient, flags: ApplyFlags, print: (text: string) => void): Promise<void> {
  const text = flags.filename === "-" ? await textOf(process.stdin) : await readManifests(flags.filename);
  for (const manifest of parseManifests(text, flags.filename)) print(await applyOne(client, manifest, flags));
}

/** Applies one manifest. Resolves to the line that tells what came of it. */
export async function applyOne(
  client: ServiceClient,
  manifest: Manifest,
  { namespace, forceConflicts }: Pick<ApplyFlags, "namespace" | "forceConflicts">,
): Promise<string> {
  const kind = kindOfManifest(manifest);
  const { name, namespace: ownNamespace } = manifest.metadata;
  const path = pathOf(kind, ownNamespace ?? namespace, name);
  const before = await find(client, path);
  const query = new URLSearchParams({ fieldManager, fieldValidation: "Strict", force: String(forceConflicts) });
  const after = await client.json<Versioned>(`${path}?${query.toString()}`, {
    method: "PATCH",
    body: JSON.stringify(manifest),
    contentType: "application/apply-patch+yaml",
  });
  const outcome =
    before === undefined
      ? "created"
      : before.metadata.resourceVersion === after.metadata.resourceVersion
        ? "unchanged"
        : "configured";
  return `${nameOf(kind, name)} ${outcome}\n`;
}

/** `dvcr delete KIND NAME`; with `wait` until it is gone. */
export async function remove(
  client: ServiceClient,
  kindName: string,
  name: string,
  flags: DeleteFlags,
  pause: () => Promise<void>,
): Promise<string> {
  const kind = kindOf(kindName);
  const path = pathOf(kind, flags.namespace, name);
  const before = await client.json<Versioned>(path);
  await client.json(path, { method: "DELETE" });
  while (flags.wait && (await find(client, path))?.metadata.uid === before.metadata.uid) await pause();
  return `${nameOf(kind, name)} deleted\n`;
}

async function find(client: ServiceClient, path: string): Promise<Versioned | undefined> {
  try {
    return await client.json<Versioned>(path);
  } catch (error) {
    if (error instanceof DvcrError && error.code === "E_OBJECT_NOT_FOUND") return undefined;
    throw error;
  }
}

async function readManifests(path: string): Promise<string> {
  try {
    const bytes = await readFile(path);
    if (bytes.length > mostBytes) throw new DvcrError("E_USAGE", `${path} is too large for a file of manifests`);
    return bytes.toString("utf8");
  } catch (error) {
    if (error instanceof DvcrError) throw error;
    throw new DvcrError("E_USAGE", `${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? ""})`);
  }
}

function parseManifests(text: string, from: string): Manifest[] {
  const documents = parseAllDocuments(text);
  if ("empty" in documents) return [];
  return documents.flatMap((document) => {
    const [problem] = document.errors;
    if (problem !== undefined) throw new DvcrError("E_USAGE", `${from}: ${problem.message.split("\n")[0] ?? ""}`);
    const manifest = document.toJS() as Partial<Manifest> | null;
    if (manifest === null) return [];
    if (
      typeof manifest.apiVersion !== "string" ||
      typeof manifest.kind !== "string" ||
      typeof manifest.metadata?.name !== "string"
    ) {
      throw new DvcrError("E_USAGE", `${from}: a manifest needs apiVersion, kind and metadata.name`);
    }
    return [manifest as Manifest];
  });
}

function kindOfManifest({ kind, apiVersion }: Manifest): Kind {
  const found = kinds.find(
    (one) => one.kind === kind && apiVersion === (one.group === "" ? "v1" : one.base.replace("/apis/", "")),
  );
  if (found === undefined) throw new DvcrError("E_USAGE", `${kind} of ${apiVersion} is not served here`);
  return found;
}
