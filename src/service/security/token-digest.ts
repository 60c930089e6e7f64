import { createHash } from "node:crypto";

/** What a token is held and compared by: its SHA-256, in hexadecimal digits. */
export const tokenDigest = (token: string): string => createHash("sha256").update(token).digest("hex");
