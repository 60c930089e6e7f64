/** Errors as the Kubernetes API tells them: Status objects with its reasons, causes and wording. */
import type { FieldProblem } from "../model/validate.ts";
import type { ResourceType } from "./resource-types.ts";

export interface StatusCause {
  readonly reason?: string;
  readonly message: string;
  readonly field?: string;
}

export interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly StatusCause[];
  readonly retryAfterSeconds?: number;
}

/** Something that is answered by a Status. */
export class StatusError extends Error {
  readonly status: number;
  readonly reason: string;
  readonly details: StatusDetails | undefined;

  constructor(status: number, reason: string, message: string, details?: StatusDetails) {
    super(message);
    this.name = "StatusError";
    this.status = status;
    this.reason = reason;
    this.details = details;
  }

  body(): Record<string, unknown> {
    return {
      kind: "Status",
      apiVersion: "v1",
      metadata: {},
      status: "Failure",
      message: this.message,
      ...(this.reason === "" ? {} : { reason: this.reason }),
      ...(this.details === undefined ? {} : { details: this.details }),
      code: this.status,
    };
  }
}

/** `secrets`, `virtualimages.virtualization.deckhouse.io` */
export const qualified = (name: string, group: string): string => (group === "" ? name : `${name}.${group}`);

/** The details that name one object by its resource. */
const ofResource = ({ resource, group }: ResourceType, name: string): StatusDetails => ({
  ...(name === "" ? {} : { name }),
  ...(group === "" ? {} : { group }),
  kind: resource,
});

export const badRequest = (message: string): StatusError => new StatusError(400, "BadRequest", message);

export const notFound = (type: ResourceType, name: string): StatusError =>
  new StatusError(
    404,
    "NotFound",
    `${qualified(type.resource, type.group)} "${name}" not found`,
    ofResource(type, name),
  );

export const noSuchPath = (): StatusError =>
  new StatusError(404, "NotFound", "the server could not find the requested resource", {});

export const alreadyExists = (type: ResourceType, name: string): StatusError =>
  new StatusError(
    409,
    "AlreadyExists",
    `${qualified(type.resource, type.group)} "${name}" already exists`,
    ofResource(type, name),
  );

/** `why` is the reason alone. */
export const conflict = (type: ResourceType, name: string, why: string): StatusError =>
  new StatusError(
    409,
    "Conflict",
    `Operation cannot be fulfilled on ${qualified(type.resource, type.group)} "${name}": ${why}`,
    ofResource(type, name),
  );

export const changedMeanwhile = (type: ResourceType, name: string): StatusError =>
  conflict(type, name, "the object has been modified; please apply your changes to the latest version and try again");

export const unauthorized = (): StatusError => new StatusError(401, "Unauthorized", "Unauthorized");

export const forbidden = (
  type: Pick<ResourceType, "resource" | "group">,
  name: string,
  why: string,
  causes?: readonly StatusCause[],
): StatusError =>
  new StatusError(
    403,
    "Forbidden",
    `${qualified(type.resource, type.group)}${name === "" ? "" : ` "${name}"`} is forbidden: ${why}`,
    {
      ...(name === "" ? {} : { name }),
      ...(type.group === "" ? {} : { group: type.group }),
      kind: type.resource,
      ...(causes === undefined ? {} : { causes }),
    },
  );

export const methodNotAllowed = (): StatusError =>
  new StatusError(405, "MethodNotAllowed", "the server does not allow this method on the requested resource", {});

export const notAcceptable = (accepted: readonly string[]): StatusError =>
  new StatusError(406, "NotAcceptable", `only the following media types are accepted: ${accepted.join(", ")}`);

export const unsupportedMediaType = (accepted: readonly string[]): StatusError =>
  new StatusError(
    415,
    "UnsupportedMediaType",
    `the body of the request was in an unknown format - accepted media types include: ${accepted.join(", ")}`,
  );

export const tooLarge = (limit: number): StatusError =>
  new StatusError(413, "RequestEntityTooLarge", `Request entity too large: limit is ${limit}`);

export const expired = (message: string): StatusError => new StatusError(410, "Expired", message);

/** A version that this server has not reached. */
export const futureVersion = (asked: string, current: string): StatusError =>
  new StatusError(504, "Timeout", `Timeout: Too large resource version: ${asked}, current: ${current}`, {
    causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
    retryAfterSeconds: 1,
  });

export interface InvalidProblem {
  readonly field: string;
  readonly reason: FieldProblem["reason"] | "FieldValueForbidden" | "FieldValueDuplicate" | "FieldValueTooMany";
  readonly message: string;
}

/** Problems that a refusal names; an object of thousands would be answered by more than was sent. */
const mostProblems = 100;

/** What stands in an Invalid for `kind` (empty where the request itself is at fault). */
export function invalid(kind: string, group: string, name: string, found: readonly InvalidProblem[]): StatusError {
  const problems = found.slice(0, mostProblems);
  const texts = problems.map(({ field, message }) => `${field}: ${message}`);
  const all = texts.length === 1 ? texts[0]! : `[${texts.join(", ")}]`;
  return new StatusError(422, "Invalid", `${qualified(kind, group)} "${name}" is invalid: ${all}`, {
    ...(name === "" ? {} : { name }),
    ...(group === "" ? {} : { group }),
    ...(kind === "" ? {} : { kind }),
    causes: problems.map(({ field, reason, message }) => ({ reason, message, field })),
  });
}

export const invalidObject = (type: ResourceType, name: string, problems: readonly InvalidProblem[]): StatusError =>
  invalid(type.kind, type.group, name, problems);

export const forbiddenField = (field: string, why: string): InvalidProblem => ({
  field,
  reason: "FieldValueForbidden",
  message: `Forbidden: ${why}`,
});

export const invalidField = (field: string, value: unknown, why: string): InvalidProblem => ({
  field,
  reason: "FieldValueInvalid",
  message: `Invalid value: ${JSON.stringify(value)}: ${why}`,
});

/** Problems with the query of a request, as of `PatchOptions` and its like. */
export const invalidOptions = (options: string, problems: readonly InvalidProblem[]): StatusError =>
  invalid(options, "meta.k8s.io", "", problems);
