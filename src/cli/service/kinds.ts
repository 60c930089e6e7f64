/** The kinds of the images service by all their names, and where they are in the API. */
import { DvcrError } from "../../errors/dvcr-error.ts";

export interface Kind {
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly shortName?: string;
  /** Path of the group and version. */
  readonly base: string;
  readonly group: string;
  readonly isNamespaced: boolean;
}

const images = { base: "/apis/virtualization.deckhouse.io/v1alpha2", group: "virtualization.deckhouse.io" };
const core = { base: "/api/v1", group: "" };

export const kinds: readonly Kind[] = [
  {
    plural: "clustervirtualimages",
    singular: "clustervirtualimage",
    kind: "ClusterVirtualImage",
    shortName: "cvi",
    ...images,
    isNamespaced: false,
  },
  {
    plural: "virtualimages",
    singular: "virtualimage",
    kind: "VirtualImage",
    shortName: "vi",
    ...images,
    isNamespaced: true,
  },
  { plural: "secrets", singular: "secret", kind: "Secret", ...core, isNamespaced: true },
  { plural: "namespaces", singular: "namespace", kind: "Namespace", shortName: "ns", ...core, isNamespaced: false },
  { plural: "events", singular: "event", kind: "Event", shortName: "ev", ...core, isNamespaced: true },
];

/** @throws DvcrError E_USAGE. */
export function kindOf(name: string): Kind {
  const wanted = name.toLowerCase().split(".")[0];
  const found = kinds.find(
    ({ plural, singular, shortName }) => wanted === plural || wanted === singular || wanted === shortName,
  );
  if (found === undefined)
    throw new DvcrError(
      "E_USAGE",
      `${JSON.stringify(name)} is not a kind; there are ` +
        kinds.map(({ shortName, plural }) => shortName ?? plural).join(", "),
    );
  return found;
}

/** As kubectl names an object in what it prints. */
export function nameOf({ singular, group }: Kind, name: string): string {
  return `${singular}${group === "" ? "" : `.${group}`}/${name}`;
}

/** Path of a collection, or of one object. `namespace` "": all of them. */
export function pathOf(kind: Kind, namespace: string, name?: string): string {
  const scope = kind.isNamespaced && namespace !== "" ? `/namespaces/${encodeURIComponent(namespace)}` : "";
  return `${kind.base}${scope}/${kind.plural}${name === undefined ? "" : `/${encodeURIComponent(name)}`}`;
}
