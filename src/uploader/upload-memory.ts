/**
 * The bytes that begun uploads hold while their imports do not take them: one total for the process, made by it and
 * passed to each of its uploads, and a share of it for each owner, so that one of them leaves room for the others.
 */
import { DvcrError } from "../errors/dvcr-error.ts";

const mebibyte = 2 ** 20;

/** Bytes that all uploads may hold, beyond which none begins. */
const defaultTotal = 256 * mebibyte;
/** Bytes that those of one owner may hold, beyond which none of its begins. */
const defaultShare = 64 * mebibyte;

/** What the uploads of one owner hold. */
export interface HeldBytes {
  /** @throws DvcrError E_UPLOAD_MEMORY where another upload would find no room. */
  admit(): void;
  /** True while an upload may hold more than its next chunk. */
  hasRoom(): boolean;
  /** Counts bytes that are held from now on, or, below zero, no more. */
  count(bytes: number): void;
}

export class UploadMemory {
  readonly #total: number;
  readonly #share: number;
  readonly #owners = new Map<string, number>();
  #held = 0;

  /** `total` and `share` in bytes. */
  constructor(total: number = defaultTotal, share: number = Math.min(total, defaultShare)) {
    this.#total = total;
    this.#share = share;
  }

  /** Bytes that are held now. */
  get held(): number {
    return this.#held;
  }

  /** For the uploads of `owner`, a namespace. */
  of(owner: string): HeldBytes {
    const mine = (): number => this.#owners.get(owner) ?? 0;
    const isWithin = (): boolean => this.#held < this.#total && mine() < this.#share;
    return {
      hasRoom: isWithin,
      admit: () => {
        if (isWithin()) return;
        throw new DvcrError(
          "E_UPLOAD_MEMORY",
          `uploads that have begun hold ${mine()} bytes for this namespace and ${this.#held} in all`,
        );
      },
      count: (bytes) => {
        this.#held += bytes;
        const left = mine() + bytes;
        if (left === 0) this.#owners.delete(owner);
        else this.#owners.set(owner, left);
      },
    };
  }
}
