/** What form of an answer the client asks for (`Accept`). */
import { notAcceptable } from "./status.ts";

export type Form = "Object" | "Table" | "PartialObjectMetadata" | "PartialObjectMetadataList";

const served = ["application/json", "application/yaml"];

export interface Wanted {
  readonly form: Form;
  readonly yaml: boolean;
  /** The meta.k8s.io version of a Table or PartialObjectMetadata. */
  readonly metaVersion: "v1" | "v1beta1";
}

interface Clause {
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
}

function clausesOf(accept: string): Clause[] {
  return accept.split(",").map((part) => {
    const [type = "", ...rest] = part.split(";").map((text) => text.trim());
    const pairs = rest.map((text): [string, string] => [
      text.split("=")[0]!.toLowerCase(),
      text.slice(text.indexOf("=") + 1),
    ]);
    return { type: type.toLowerCase(), parameters: new Map(pairs) };
  });
}

const forms: readonly string[] = ["Table", "PartialObjectMetadata", "PartialObjectMetadataList"] satisfies Form[];

/** The first clause that this server can serve. Throws 406. */
export function negotiate(accept: string | undefined): Wanted {
  const plain: Wanted = { form: "Object", yaml: false, metaVersion: "v1" };
  if (accept === undefined || accept.trim() === "") return plain;
  for (const { type, parameters } of clausesOf(accept)) {
    const isYaml = type === "application/yaml";
    if (!isYaml && !["application/json", "application/*", "*/*"].includes(type)) continue;
    const form = parameters.get("as");
    if (form === undefined) return { ...plain, yaml: isYaml };
    const version = parameters.get("v");
    if (!forms.includes(form) || parameters.get("g") !== "meta.k8s.io" || (version !== "v1" && version !== "v1beta1"))
      continue;
    return { form: form as Form, yaml: isYaml, metaVersion: version };
  }
  throw notAcceptable(served);
}

/** The version of aggregated discovery that the client asks for first of those served; nothing for the plain lists. */
export function discoveryVersion(accept: string | undefined): "v2" | "v2beta1" | undefined {
  for (const { type, parameters } of clausesOf(accept ?? "")) {
    if (type !== "application/json") continue;
    if (parameters.get("as") === undefined) return undefined;
    const version = parameters.get("v");
    if (
      parameters.get("as") === "APIGroupDiscoveryList" &&
      parameters.get("g") === "apidiscovery.k8s.io" &&
      (version === "v2" || version === "v2beta1")
    )
      return version;
  }
  return undefined;
}
