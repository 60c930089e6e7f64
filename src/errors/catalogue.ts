/**
 * Every error a user can meet: stable code, what class it is of, its HTTP status in an upload's answer, and what to
 * do. docs/errors.md is held to this table by a test.
 */
import { contentErrors } from "./catalogue/content.ts";
import { diskErrors } from "./catalogue/disk.ts";
import { imageErrors } from "./catalogue/image.ts";
import { registryErrors } from "./catalogue/registry.ts";
import { serviceErrors } from "./catalogue/service.ts";
import { sourceErrors } from "./catalogue/source.ts";
import { uploadErrors } from "./catalogue/upload.ts";
import type { ErrorEntry } from "./catalogue/entry.ts";

export type { ErrorEntry, ErrorKind } from "./catalogue/entry.ts";

export const catalogue = {
  ...imageErrors,
  ...contentErrors,
  ...sourceErrors,
  ...registryErrors,
  ...uploadErrors,
  ...diskErrors,
  ...serviceErrors,
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof catalogue;

/** True when `code` stands in the catalogue. */
export function isErrorCode(code: string): code is ErrorCode {
  return Object.hasOwn(catalogue, code);
}
