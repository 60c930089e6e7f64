/** The query of a request, as ListOptions, CreateOptions, UpdateOptions, PatchOptions and DeleteOptions have it. */
import { badRequest, invalidOptions, type InvalidProblem } from "./status.ts";

export type Query = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface WriteOptions {
  readonly dryRun: boolean;
  readonly fieldValidation: "Ignore" | "Warn" | "Strict";
  readonly fieldManager: string;
  readonly force: boolean;
}

export interface ReadOptions {
  readonly labelSelector: string;
  readonly fieldSelector: string;
  readonly limit: number;
  readonly continue: string;
  readonly resourceVersion: string;
  readonly resourceVersionMatch: string;
  readonly watch: boolean;
  readonly allowWatchBookmarks: boolean;
  readonly sendInitialEvents: boolean;
  /** Seconds; 0: as the server likes. */
  readonly timeoutSeconds: number;
  /** Of a Table's rows. */
  readonly includeObject: "None" | "Metadata" | "Object";
}

/** The one value of a parameter, "" where there is none. */
export function parameter(query: Query, name: string): string {
  const value = Object.hasOwn(query, name) ? query[name] : undefined;
  return (typeof value === "string" ? value : value?.[0]) ?? "";
}

const flag = (query: Query, name: string): boolean =>
  ["1", "t", "T", "true", "TRUE", "True"].includes(parameter(query, name));

function count(query: Query, name: string): number {
  const text = parameter(query, name);
  if (text === "") return 0;
  if (!/^-?\d{1,15}$/.test(text)) throw badRequest(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  return Math.max(0, Number(text));
}

/** Throws 400 for a version that is not one of ours. */
export function checkVersion(version: string): void {
  if (version !== "" && !/^\d{1,18}$/.test(version))
    throw badRequest(
      `resourceVersion: Invalid value: ${JSON.stringify(version)}: strconv.ParseUint: parsing ` +
        `${JSON.stringify(version)}: invalid syntax`,
    );
}

/** Throws 400 and 422. */
export function readOptions(query: Query): ReadOptions {
  const options: ReadOptions = {
    labelSelector: parameter(query, "labelSelector"),
    fieldSelector: parameter(query, "fieldSelector"),
    limit: count(query, "limit"),
    continue: parameter(query, "continue"),
    resourceVersion: parameter(query, "resourceVersion"),
    resourceVersionMatch: parameter(query, "resourceVersionMatch"),
    watch: flag(query, "watch"),
    allowWatchBookmarks: flag(query, "allowWatchBookmarks"),
    sendInitialEvents: flag(query, "sendInitialEvents"),
    timeoutSeconds: count(query, "timeoutSeconds"),
    includeObject: includeObject(parameter(query, "includeObject")),
  };
  checkVersion(options.resourceVersion);
  const problems = listProblems(options, parameter(query, "sendInitialEvents") !== "");
  if (problems.length > 0) throw invalidOptions("ListOptions", problems);
  return options;
}

function includeObject(value: string): ReadOptions["includeObject"] {
  if (value === "") return "Metadata";
  if (value === "None" || value === "Metadata" || value === "Object") return value;
  throw badRequest(`unrecognized includeObject value: ${JSON.stringify(value)}`);
}

function listProblems(options: ReadOptions, hasInitialEvents: boolean): InvalidProblem[] {
  const { resourceVersionMatch: match, watch } = options;
  const forbid = (field: string, why: string): InvalidProblem => ({
    field,
    reason: "FieldValueForbidden",
    message: `Forbidden: ${why}`,
  });
  if (hasInitialEvents) {
    if (!watch) return [forbid("sendInitialEvents", "sendInitialEvents is forbidden for list")];
    if (match !== "NotOlderThan")
      return [
        forbid("resourceVersionMatch", "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"),
      ];
    return [];
  }
  if (match === "") return [];
  if (watch)
    return [
      forbid(
        "resourceVersionMatch",
        "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
      ),
    ];
  if (options.resourceVersion === "")
    return [forbid("resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided")];
  if (options.continue !== "")
    return [forbid("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")];
  if (match !== "Exact" && match !== "NotOlderThan") {
    return [
      {
        field: "resourceVersionMatch",
        reason: "FieldValueNotSupported",
        message: `Unsupported value: ${JSON.stringify(match)}: supported values: "Exact", "NotOlderThan"`,
      },
    ];
  }
  if (match === "Exact" && options.resourceVersion === "0")
    return [forbid("resourceVersionMatch", 'resourceVersionMatch "Exact" is forbidden for resourceVersion "0"')];
  return [];
}

const longestManager = 128;

/** Throws 422. `kind` names the options in the message: CreateOptions, UpdateOptions, PatchOptions, DeleteOptions. */
export function writeOptions(kind: string, query: Query, userAgent: string | undefined, isApply = false): WriteOptions {
  const problems: InvalidProblem[] = [];
  const unsupported = (field: string, value: string, values: readonly string[]) =>
    problems.push({
      field,
      reason: "FieldValueNotSupported",
      message:
        `Unsupported value: ${JSON.stringify(value)}: supported values: ` +
        values.map((one) => JSON.stringify(one)).join(", "),
    });
  const dryRun = parameter(query, "dryRun");
  if (dryRun !== "" && dryRun !== "All") unsupported("dryRun", dryRun, ["All"]);
  const validation = parameter(query, "fieldValidation") || "Warn";
  if (!["Ignore", "Warn", "Strict"].includes(validation))
    unsupported("fieldValidation", validation, ["", "Ignore", "Strict", "Warn"]);
  const manager = parameter(query, "fieldManager");
  if (manager.length > longestManager)
    problems.push({
      field: "fieldManager",
      reason: "FieldValueTooLong",
      message: `Too long: may not be more than ${longestManager} bytes`,
    });
  // eslint-disable-next-line no-control-regex
  if (/[\u0000-\u001f\u007f]/.test(manager))
    problems.push({
      field: "fieldManager",
      reason: "FieldValueInvalid",
      message: `Invalid value: ${JSON.stringify(manager)}: should only contain printable characters`,
    });
  const isForced = parameter(query, "force");
  if (kind === "PatchOptions" && !isApply && isForced !== "")
    problems.push({
      field: "force",
      reason: "FieldValueForbidden",
      message: "Forbidden: may not be specified for non-apply patch",
    });
  if (isApply && manager === "")
    problems.push({
      field: "fieldManager",
      reason: "FieldValueRequired",
      message: "Required value: is required for apply patch",
    });
  if (problems.length > 0) throw invalidOptions(kind, problems);
  return {
    dryRun: dryRun === "All",
    fieldValidation: validation as WriteOptions["fieldValidation"],
    // As the API server does: what stands before the version in the User-Agent.
    fieldManager: manager || ((userAgent ?? "").split("/")[0]! || "unknown").slice(0, longestManager),
    force: flag(query, "force"),
  };
}
