import type { FastifyReply, FastifyRequest } from "fastify";

import { DvcrError } from "../../errors/dvcr-error.ts";
import { localAdmin, type User } from "./authorize.ts";
import type { TokenFileUsers } from "./token-file.ts";

export interface Authenticator {
  /** False: everybody may everything, and the server listens on loopback only. */
  readonly isOn: boolean;
  /** @throws DvcrError E_UNAUTHENTICATED. */
  userOf(authorization: string | undefined): Promise<User>;
  /** Whether whoever userOf() gave may still come, with the same rights. */
  isCurrent(user: User): Promise<boolean>;
  /** SHA-256 of the tokens of whom `may` accepts; undefined where nobody needs one. */
  digests(may: (user: User) => boolean): readonly string[] | undefined;
}

/** Bearer tokens as kubectl and the console send them, and the same as a password, as container tools do. */
export function tokenAuthenticator(users: TokenFileUsers): Authenticator {
  return {
    isOn: true,
    userOf: async (authorization) => {
      const [, scheme = "", value = ""] = /^(Bearer|Basic) +(\S+)$/i.exec(authorization ?? "") ?? [];
      const token =
        scheme.toLowerCase() === "basic"
          ? Buffer.from(value, "base64")
              .toString("utf8")
              .replace(/^[^:]*:/, "")
          : value;
      const user = token === "" ? undefined : await users.find(token);
      if (user === undefined) throw new DvcrError("E_UNAUTHENTICATED", "Unauthorized");
      return user;
    },
    isCurrent: (user) => users.has(user),
    digests: (may) => users.digests(may),
  };
}

/** Without authentication. */
export const everybody: Authenticator = {
  isOn: false,
  userOf: () => Promise.resolve(localAdmin),
  isCurrent: () => Promise.resolve(true),
  digests: () => undefined,
};

/** An onRequest hook that sets `request.user` or answers 401. `challenge`: what WWW-Authenticate asks for. */
export function requireUser(authenticator: Authenticator, challenge: "Bearer" | "Basic") {
  return async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    try {
      request.user = await authenticator.userOf(request.headers.authorization);
    } catch (error) {
      void reply.header("www-authenticate", `${challenge} realm="dvcr"`);
      throw error;
    }
  };
}

/** The user of a request behind requireUser(). */
export function userOf(request: FastifyRequest): User {
  if (request.user === undefined) throw new DvcrError("E_UNAUTHENTICATED", "Unauthorized");
  return request.user;
}
