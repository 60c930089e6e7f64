/**
 * Encryption at rest for what holds passwords: AES-256-GCM with a key beside the database, readable by its owner only.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { chmodSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DvcrError } from "../../errors/dvcr-error.ts";
import { replaceFile } from "../../destination/oci-index.ts";

export const keyFile = "secrets.key";
const algorithm = "aes-256-gcm";
const keyBytes = 32;
/** NIST SP 800-38D, 8.2.2: random nonces of 96 bits. */
const nonceBytes = 12;
const tagBytes = 16;

export class Sealing {
  readonly #key: Buffer;

  private constructor(key: Buffer) {
    this.#key = key;
  }

  /**
   * Reads the key of the data directory, or makes one where none `isNeeded`.
   *
   * @throws DvcrError E_STORE_IO for one that is damaged, E_STORE_LOST for one that is missing.
   */
  static async open(directory: string, { isNeeded }: { readonly isNeeded: boolean }): Promise<Sealing> {
    const path = join(directory, keyFile);
    let key: Buffer;
    try {
      key = readFileSync(path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT")
        throw new DvcrError("E_STORE_IO", `${path}: ${(error as Error).message}`, { cause: error });
      if (isNeeded)
        throw new DvcrError("E_STORE_LOST", `${path} is missing, and the database holds secrets that only it opens`, {
          fix: "Put it back from a backup, or run `dvcr restore run`, which drops those secrets.",
        });
      key = randomBytes(keyBytes);
      await replaceFile(path, key, 0o600);
    }
    if (key.length !== keyBytes) throw new DvcrError("E_STORE_IO", `${path} is not a key of ${keyBytes} bytes`);
    chmodSync(path, 0o600);
    return new Sealing(key);
  }

  /** `context` must be the same when it is opened: a sealed text moved to another row does not open there. */
  seal(text: string, context: string): Uint8Array {
    const nonce = randomBytes(nonceBytes);
    const cipher = createCipheriv(algorithm, this.#key, nonce).setAAD(Buffer.from(context));
    const sealed = Buffer.concat([cipher.update(text, "utf8"), cipher.final()]);
    return Buffer.concat([nonce, cipher.getAuthTag(), sealed]);
  }

  /** @throws DvcrError E_STORE_IO where key or context is another one, or the data was changed. */
  unseal(bytes: Uint8Array, context: string): string {
    try {
      const decipher = createDecipheriv(algorithm, this.#key, bytes.subarray(0, nonceBytes)).setAAD(
        Buffer.from(context),
      );
      decipher.setAuthTag(bytes.subarray(nonceBytes, nonceBytes + tagBytes));
      return Buffer.concat([decipher.update(bytes.subarray(nonceBytes + tagBytes)), decipher.final()]).toString("utf8");
    } catch (error) {
      throw new DvcrError("E_STORE_IO", `${context} cannot be decrypted with the key of this data directory`, {
        cause: error,
      });
    }
  }
}
