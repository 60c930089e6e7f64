/** The users of the server: a YAML or JSON file of names, tokens and roles. */
import { readFile, stat } from "node:fs/promises";
import { isDeepStrictEqual } from "node:util";
import { Ajv } from "ajv";
import { parse } from "yaml";

import { DvcrError } from "../../errors/dvcr-error.ts";
import type { Grant, User } from "./authorize.ts";
import { tokenDigest } from "./token-digest.ts";

interface TokenFile {
  readonly users: readonly {
    readonly name: string;
    readonly token?: string;
    readonly tokenSHA256?: string;
    readonly roles: readonly Grant[];
  }[];
}

const schema = {
  type: "object",
  required: ["users"],
  additionalProperties: false,
  properties: {
    users: {
      type: "array",
      items: {
        type: "object",
        required: ["name", "roles"],
        additionalProperties: false,
        oneOf: [{ required: ["token"] }, { required: ["tokenSHA256"] }],
        properties: {
          name: { type: "string", minLength: 1, maxLength: 253 },
          token: { type: "string", minLength: 16, maxLength: 1024 },
          tokenSHA256: { type: "string", pattern: "^[0-9a-fA-F]{64}$" },
          roles: {
            type: "array",
            items: {
              type: "object",
              required: ["role"],
              additionalProperties: false,
              properties: {
                role: { enum: ["view", "edit", "admin"] },
                namespaces: { type: "array", items: { type: "string", minLength: 1 } },
              },
            },
          },
        },
      },
    },
  },
} as const;

const isTokenFile = new Ajv({ allErrors: true, strict: false }).compile<TokenFile>(schema);
/**
 * The file is looked at again this often at most (milliseconds), so that a token can be withdrawn without a restart.
 */
const lookAgainAfter = 2000;

/**
 * Users by their tokens. Only digests are held and compared, so that neither a look-up's time nor the process's memory
 * tells a token.
 */
export class TokenFileUsers {
  readonly #path: string;
  readonly #onProblem: (problem: DvcrError) => void;
  #users: ReadonlyMap<string, User>;
  #present: ReadonlySet<User>;
  #read: string;
  #looked = performance.now();

  private constructor(
    path: string,
    first: { users: ReadonlyMap<string, User>; read: string },
    onProblem: (problem: DvcrError) => void,
  ) {
    this.#path = path;
    this.#users = first.users;
    this.#present = new Set(first.users.values());
    this.#read = first.read;
    this.#onProblem = onProblem;
  }

  /** `onProblem`: told when a changed file cannot be used; the users from before stay. @throws DvcrError E_CONFIG. */
  static async open(path: string, onProblem: (problem: DvcrError) => void): Promise<TokenFileUsers> {
    return new TokenFileUsers(path, await readUsers(path), onProblem);
  }

  async find(token: string): Promise<User | undefined> {
    await this.#refresh();
    return this.#users.get(tokenDigest(token));
  }

  /** Whether this user, found before, has the same token and rights still. */
  async has(user: User): Promise<boolean> {
    await this.#refresh();
    return this.#present.has(user);
  }

  /** SHA-256 of the tokens of whom `may` accepts, in hexadecimal digits. */
  digests(may: (user: User) => boolean): readonly string[] {
    // A changed file counts from the next call on.
    void this.#refresh();
    return [...this.#users].filter(([, user]) => may(user)).map(([digest]) => digest);
  }

  async #refresh(): Promise<void> {
    if (performance.now() - this.#looked < lookAgainAfter) return;
    this.#looked = performance.now();
    try {
      if ((await stampOf(this.#path)) === this.#read) return;
      const { users, read } = await readUsers(this.#path);
      // Who has not changed stays the same object, by which has() knows them.
      for (const [digest, user] of users) {
        const known = this.#users.get(digest);
        if (isDeepStrictEqual(known, user)) users.set(digest, known!);
      }
      this.#read = read;
      this.#users = users;
      this.#present = new Set(users.values());
    } catch (error) {
      this.#onProblem(error as DvcrError);
    }
  }
}

async function stampOf(path: string): Promise<string> {
  const { mtimeMs, size, ino } = await stat(path).catch((error: unknown) => {
    throw unusable(path, (error as NodeJS.ErrnoException).code ?? "unreadable");
  });
  return `${String(mtimeMs)} ${String(size)} ${String(ino)}`;
}

async function readUsers(path: string): Promise<{ users: Map<string, User>; read: string }> {
  const read = await stampOf(path);
  let content: unknown;
  try {
    content = parse(await readFile(path, "utf8"));
  } catch {
    // The parser's own words quote the file, tokens and all.
    throw unusable(path, "it cannot be read as YAML or JSON");
  }
  if (!isTokenFile(content)) {
    const [first] = isTokenFile.errors ?? [];
    throw unusable(path, `${first?.instancePath ?? ""} ${first?.message ?? "is wrong"}`.trim());
  }
  const users = new Map<string, User>();
  for (const { name, token, tokenSHA256, roles } of content.users) {
    const digest = token === undefined ? (tokenSHA256 ?? "").toLowerCase() : tokenDigest(token);
    if (users.has(digest))
      throw unusable(
        path,
        `users ${JSON.stringify(users.get(digest)!.name)} and ${JSON.stringify(name)} have the same token`,
      );
    users.set(digest, { name, groups: ["system:authenticated"], grants: roles });
  }
  return { users, read };
}

function unusable(path: string, reason: string): DvcrError {
  return new DvcrError("E_CONFIG", `the file of tokens ${path}: ${reason}`);
}
