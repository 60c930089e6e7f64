import { DvcrError, exitCode } from "../errors/dvcr-error.ts";
import { catalogue, type ErrorCode } from "../errors/catalogue.ts";
import type { RegistryClient } from "../registry/client.ts";
import { probeRegistry, type Finding } from "../registry/probe.ts";
import { formatReference, type ImageReference } from "../registry/reference.ts";
import { formatTable } from "./units.ts";

/**
 * `dvcr doctor docker://HOST/REPO`: probes a registry as an import would use it.
 *
 * @returns the text for stdout and the exit code of the error that makes a push impossible, or 0
 */
export async function runDoctor(
  { client, reference }: { readonly client: RegistryClient; readonly reference: ImageReference },
  flags: { readonly json: boolean },
  signal: AbortSignal,
): Promise<{ readonly text: string; readonly code: number }> {
  const findings: Finding[] = [];
  try {
    for await (const finding of probeRegistry(client, reference.repository, signal)) findings.push(finding);
  } finally {
    await client.close();
  }
  const failed = findings.find(({ result }) => result === "failed");
  const error = failed === undefined ? undefined : new DvcrError(failed.code as ErrorCode, failed.detail);
  const code = error === undefined ? 0 : exitCode(error);
  const name = `docker://${formatReference(reference)}`;
  if (flags.json) return { text: `${JSON.stringify({ image: name, works: code === 0, findings })}\n`, code };
  const table = formatTable(findings.map(({ check, result, detail }) => [check, `${result.padEnd(6)}  ${detail}`]));
  const verdict = error === undefined ? "Images can be pushed here.\n" : `${catalogue[error.code].fix}\n`;
  return { text: `${table}${verdict}`, code };
}
