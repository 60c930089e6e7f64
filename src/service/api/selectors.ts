/** Label and field selectors (Kubernetes: labels.Parse, fields.ParseSelector). */
import type { KubeObject, ResourceName } from "../model/object.ts";
import { mostTerms, mostTermValues } from "./decode/limits.ts";
import { at } from "./json.ts";
import { badRequest } from "./status.ts";

export type Selector = (object: KubeObject) => boolean;

interface Requirement {
  readonly key: string;
  readonly operator: "in" | "notin" | "exists" | "missing";
  readonly values: ReadonlySet<string>;
}

const labelName = /^(?:[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?\/)?[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const labelValue = /^(?:[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$/;

export const isLabelName = (text: string): boolean => labelName.test(text);
export const isLabelValue = (text: string): boolean => labelValue.test(text);

/** Splits at commas outside of parentheses. */
function parts(text: string): string[] {
  const found: string[] = [];
  let depth = 0;
  let from = 0;
  for (let i = 0; i < text.length; i += 1) {
    if (text[i] === "(") depth += 1;
    else if (text[i] === ")") depth -= 1;
    else if (text[i] === "," && depth === 0) {
      found.push(text.slice(from, i));
      from = i + 1;
    }
  }
  return [...found, text.slice(from)];
}

function requirementOf(part: string): Requirement {
  const text = part.trim();
  const set = /^(\S+)\s+(in|notin)\s*\(([^()]*)\)$/.exec(text);
  if (set !== null)
    return {
      key: set[1]!,
      operator: set[2] as "in" | "notin",
      values: new Set(set[3]!.split(",").map((value) => value.trim())),
    };
  const equal = /^([^\s=!]+)\s*(==|=|!=)\s*(\S*)$/.exec(text);
  if (equal !== null)
    return { key: equal[1]!, operator: equal[2] === "!=" ? "notin" : "in", values: new Set([equal[3]!]) };
  if (text.startsWith("!")) return { key: text.slice(1).trim(), operator: "missing", values: new Set() };
  return { key: text, operator: "exists", values: new Set() };
}

/** Throws 400 for more terms than are held against each object. */
function checkedTerms(terms: readonly string[]): readonly string[] {
  if (terms.length > mostTerms) throw badRequest(`a selector has at most ${mostTerms} terms`);
  return terms;
}

/** Nothing for an empty selector. Throws 400. */
export function labelSelector(text: string): Selector | undefined {
  if (text.trim() === "") return undefined;
  const requirements = checkedTerms(parts(text)).map(requirementOf);
  for (const { key, values } of requirements) {
    if (!isLabelName(key))
      throw badRequest(
        `unable to parse requirement: <nil>: Invalid value: ${JSON.stringify(key)}: a label's name ` +
          "must consist of alphanumeric characters, '-', '_' or '.'",
      );
    const wrong = [...values].find((value) => !isLabelValue(value));
    if (values.size > mostTermValues) throw badRequest(`a selector compares with at most ${mostTermValues} values`);
    if (wrong !== undefined)
      throw badRequest(
        `unable to parse requirement: values[0][${key}]: Invalid value: ${JSON.stringify(wrong)}: ` +
          "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or " +
          "'.'",
      );
  }
  return ({ metadata }) => requirements.every((requirement) => meets(requirement, metadata.labels ?? {}));
}

function meets({ key, operator, values }: Requirement, labels: Readonly<Record<string, string>>): boolean {
  const value = Object.hasOwn(labels, key) ? labels[key] : undefined;
  if (operator === "exists") return value !== undefined;
  if (operator === "missing") return value === undefined;
  if (operator === "in") return value !== undefined && values.has(value);
  return value === undefined || !values.has(value);
}

const everywhere = ["metadata.name", "metadata.namespace"];
const selectable: Readonly<Record<ResourceName, readonly string[]>> = {
  clustervirtualimages: ["metadata.name", "status.phase"],
  virtualimages: [...everywhere, "status.phase"],
  namespaces: ["metadata.name", "status.phase"],
  secrets: [...everywhere, "type"],
  events: [
    ...everywhere,
    ...["kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath"].map(
      (name) => `involvedObject.${name}`,
    ),
    ...["reason", "reportingComponent", "source", "type"],
  ],
};

/** Nothing for an empty selector. Throws 400 for a field that cannot be selected by. */
export function fieldSelector(text: string, resource: ResourceName): Selector | undefined {
  if (text.trim() === "") return undefined;
  const terms = checkedTerms(text.split(",").filter((term) => term !== "")).map((term) => {
    const match = /^([^=!]+)(==|=|!=)(.*)$/.exec(term);
    if (match === null) throw badRequest(`invalid selector: '${text}'; can't understand '${term}'`);
    const [, field, operator, value] = match as unknown as [string, string, string, string];
    if (!selectable[resource].includes(field)) throw badRequest(`field label not supported: ${field}`);
    return {
      path: field === "source" ? ["source", "component"] : field.split("."),
      isEqual: operator !== "!=",
      value,
    };
  });
  return (object) => terms.every(({ path, isEqual, value }) => (shown(at(object, ...path)) === value) === isEqual);
}

function shown(value: unknown): string {
  if (typeof value === "string") return value;
  return typeof value === "number" || typeof value === "boolean" ? String(value) : "";
}

/** Both selectors of a request as one; nothing where all objects match. */
export function selectorOf(
  options: { readonly labelSelector: string; readonly fieldSelector: string },
  resource: ResourceName,
): Selector | undefined {
  const [label, field] = [labelSelector(options.labelSelector), fieldSelector(options.fieldSelector, resource)];
  return label === undefined || field === undefined ? (label ?? field) : (object) => label(object) && field(object);
}

/** The name that a field selector narrows the request to, for authorization. */
export function selectedName(text: string): string {
  return /(?:^|,)metadata\.name==?([^,]+)/.exec(text)?.[1] ?? "";
}
