/** docker's credential helpers: programs on the PATH that keep passwords in the system's own store. */
import { execFile } from "node:child_process";

import { DvcrError } from "../errors/dvcr-error.ts";
import type { Credentials } from "./credentials.ts";

/** A store may ask its user to unlock it. */
const helperTimeoutMs = 60_000;
const maxAnswerBytes = 64 * 1024;
/** What helpers answer for a server they know nothing of. */
const notFound = /credentials not found in native keychain/i;
/** Stands for the user where the secret is an identity token. */
const tokenUser = "<token>";

/**
 * Asks `docker-credential-NAME get` for the credentials of `server`; nothing where it has none.
 *
 * @throws DvcrError E_USAGE where it cannot be run or fails. What it printed is not repeated: it may hold a secret.
 */
export async function runCredentialHelper(name: string, server: string): Promise<Credentials | undefined> {
  const program = `docker-credential-${name}`;
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name))
    throw new DvcrError(
      "E_USAGE",
      "the configuration names a credential helper whose name has other characters than letters, digits, . _ and -",
    );
  const { failure, stdout } = await run(program, server);
  if (failure !== undefined) {
    if (notFound.test(stdout)) return undefined;
    throw new DvcrError("E_USAGE", `the credential helper ${program} failed for ${server} (${failure})`);
  }
  const answer = parse(stdout);
  if (answer === undefined)
    throw new DvcrError("E_USAGE", `the credential helper ${program} gave no credentials for ${server}`);
  const { username, secret } = answer;
  return username === tokenUser ? { identityToken: secret } : { username, password: secret };
}

/** Runs `program get` with `server` on its standard input. `failure`: its exit code, or why it could not be run. */
function run(program: string, server: string): Promise<{ failure: string | undefined; stdout: string }> {
  return new Promise((resolve) => {
    const child = execFile(
      program,
      ["get"],
      { timeout: helperTimeoutMs, maxBuffer: maxAnswerBytes },
      (error, stdout) => {
        resolve({ failure: error === null ? undefined : String(error.code ?? error.signal ?? "no answer"), stdout });
      },
    );
    // One that reads nothing may be gone by now.
    child.stdin?.on("error", () => undefined).end(server);
  });
}

function parse(stdout: string): { username: string; secret: string } | undefined {
  let answer: { Username?: unknown; Secret?: unknown } | null;
  try {
    answer = JSON.parse(stdout) as typeof answer;
  } catch {
    return undefined;
  }
  const { Username: username, Secret: secret } = answer ?? {};
  return typeof username === "string" && username !== "" && typeof secret === "string"
    ? { username, secret }
    : undefined;
}
