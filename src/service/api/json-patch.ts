/** JSON patch (RFC 6902) with JSON pointers (RFC 6901) that reach what JSON has and nothing else. */
import { deepest, tooDeep } from "./decode/limits.ts";
import { isFields, sameJson, type Fields } from "./json.ts";
import { badRequest, StatusError } from "./status.ts";

/** As in the API server. */
const mostOperations = 10_000;
/**
 * Values that all operations together may copy, shift or compare: each is a few bytes of the patch and may cost the
 * whole object.
 */
const mostWork = 200_000;

interface Operation {
  readonly op: string;
  readonly path: string;
  readonly from?: string;
  readonly value?: unknown;
}

/** An operation that this object does not allow; its text goes nowhere. */
class NotPossible extends Error {}

const tooMuch = (message: string): StatusError => new StatusError(413, "RequestEntityTooLarge", message);

/**
 * The patched object; `target` stays as it is. Throws 400 for what is no patch, 413 beyond its limits, 422 where an
 * operation cannot be done.
 */
export function jsonPatch(target: Fields, operations: unknown): Fields {
  const checked = operationsIn(operations);
  const patched = new Patched(structuredClone(target));
  try {
    for (const operation of checked) patched.apply(operation);
  } catch (error) {
    if (!(error instanceof NotPossible)) throw error;
    throw new StatusError(422, "Invalid", "the server rejected our request due to an error in our request", {});
  }
  if (!isFields(patched.root)) throw badRequest("the JSON patch leaves something that is not an object");
  return patched.root;
}

function operationsIn(operations: unknown): readonly Operation[] {
  if (
    !Array.isArray(operations) ||
    !operations.every((one) => isFields(one) && typeof one["op"] === "string" && typeof one["path"] === "string")
  )
    throw badRequest("a JSON patch is a list of operations with op and path");
  if (operations.length > mostOperations)
    throw tooMuch(
      `The allowed maximum operations in a JSON patch is ${mostOperations}, got ${String(operations.length)}`,
    );
  const pointers = (operations as Operation[]).flatMap(({ op, path, from }) =>
    op === "copy" || op === "move" ? [path, from] : [path],
  );
  if (!pointers.every((pointer) => pointer === "" || (typeof pointer === "string" && pointer.startsWith("/"))))
    throw badRequest("a path of a JSON patch begins with a slash");
  return operations as Operation[];
}

class Patched {
  root: unknown;
  #work = 0;

  constructor(root: Fields) {
    this.root = root;
  }

  apply({ op, path, from = "", value }: Operation): void {
    switch (op) {
      case "add":
        this.#add(path, this.#copyOf(value));
        break;
      case "replace":
        this.#replace(path, this.#copyOf(value));
        break;
      case "remove":
        this.#remove(path);
        break;
      case "test":
        this.#test(path, value);
        break;
      case "copy":
        this.#add(path, this.#copyOf(this.#valueAt(tokensOf(from))));
        break;
      case "move":
        this.#move(from, path);
        break;
      default:
        throw new NotPossible();
    }
  }

  #test(path: string, value: unknown): void {
    const found = this.#valueAt(tokensOf(path));
    this.#spend(isFields(found) ? Object.keys(found).length : 1);
    if (!sameJson(found, value)) throw new NotPossible();
  }

  #move(from: string, path: string): void {
    if (path === from) {
      this.#valueAt(tokensOf(from));
      return;
    }
    // Nothing can be moved into itself.
    if (path.startsWith(`${from}/`)) throw new NotPossible();
    this.#add(path, this.#remove(from));
  }

  #add(path: string, value: unknown): void {
    const tokens = tokensOf(path);
    const name = tokens.pop();
    if (name === undefined) {
      this.root = value;
      return;
    }
    const parent = this.#valueAt(tokens);
    if (Array.isArray(parent)) {
      const index = name === "-" ? parent.length : indexIn(name, parent.length + 1);
      this.#spend(1 + (parent.length - index) / 16);
      parent.splice(index, 0, value);
    } else if (isFields(parent)) setMember(parent, name, value);
    else throw new NotPossible();
  }

  #replace(path: string, value: unknown): void {
    const tokens = tokensOf(path);
    const name = tokens.pop();
    if (name === undefined) {
      this.root = value;
      return;
    }
    const parent = this.#valueAt(tokens);
    childOf(parent, name);
    if (Array.isArray(parent)) parent[indexIn(name, parent.length)] = value;
    else setMember(parent as Fields, name, value);
  }

  #remove(path: string): unknown {
    const tokens = tokensOf(path);
    const name = tokens.pop();
    if (name === undefined) throw new NotPossible();
    const parent = this.#valueAt(tokens);
    const removed = childOf(parent, name);
    if (Array.isArray(parent)) {
      const index = indexIn(name, parent.length);
      this.#spend(1 + (parent.length - index) / 16);
      parent.splice(index, 1);
    } else Reflect.deleteProperty(parent as Fields, name);
    return removed;
  }

  #valueAt(tokens: readonly string[]): unknown {
    this.#spend(1 + tokens.length);
    return tokens.reduce(childOf, this.root);
  }

  /**
   * A value of the patch is not shared with the object: a later operation may change it, and the patch may be done
   * over.
   */
  #copyOf(value: unknown): unknown {
    if (value === undefined) throw new NotPossible();
    this.#count(value);
    return structuredClone(value);
  }

  #count(value: unknown, depth = 0): void {
    if (depth > deepest) throw tooDeep();
    this.#spend(typeof value === "string" ? 1 + value.length / 64 : 1);
    if (Array.isArray(value)) for (const item of value) this.#count(item, depth + 1);
    else if (isFields(value)) for (const member of Object.values(value)) this.#count(member, depth + 1);
  }

  #spend(work: number): void {
    this.#work += work;
    if (this.#work > mostWork)
      throw tooMuch("the JSON patch copies and compares too much: send the values themselves, or several patches");
  }
}

/** `/metadata/labels/a~1b` as `metadata`, `labels`, `a/b`. */
function tokensOf(pointer: string): string[] {
  if (/~(?![01])/.test(pointer)) throw new NotPossible();
  const tokens = pointer.split("/").slice(1);
  if (tokens.length > deepest) throw new NotPossible();
  return tokens.map((token) => token.replaceAll("~1", "/").replaceAll("~0", "~"));
}

/** RFC 6901, section 4: digits without leading zeros; below `end`. */
function indexIn(token: string, end: number): number {
  if (!/^(?:0|[1-9]\d{0,8})$/.test(token) || Number(token) >= end) throw new NotPossible();
  return Number(token);
}

/** A member that the object itself has, or an item that the list has. */
function childOf(parent: unknown, name: string): unknown {
  if (Array.isArray(parent)) return parent[indexIn(name, parent.length)] as unknown;
  if (!isFields(parent) || !Object.hasOwn(parent, name)) throw new NotPossible();
  return parent[name];
}

function setMember(parent: Fields, name: string, value: unknown): void {
  if (name === "__proto__") throw new NotPossible();
  parent[name] = value;
}
