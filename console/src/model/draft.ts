/** What the form for a new image holds, and the manifest that it makes. */
import type {
  ImageChecksum,
  ImageDataSource,
  ImageKind,
  ImageObject,
  ImageSpec,
} from "../../../src/service/model/image.ts";
import { toBase64, type ImageKey } from "../api/images.ts";

export type SourceChoice = ImageDataSource["type"];
export type SecretChoice = "none" | "existing" | "new";

export const checksumAlgorithms = [
  "md5",
  "sha1",
  "sha256",
  "sha512",
  "streebog256",
  "streebog512",
] as const satisfies readonly (keyof ImageChecksum)[];

export interface Draft {
  readonly kind: ImageKind;
  readonly namespace: string;
  readonly name: string;
  readonly source: SourceChoice;
  readonly url: string;
  readonly algorithm: (typeof checksumAlgorithms)[number] | "";
  readonly checksum: string;
  /** PEM. */
  readonly caBundle: string;
  readonly image: string;
  readonly secret: SecretChoice;
  readonly secretName: string;
  /** Where the secret is, for an image without a namespace. */
  readonly secretNamespace: string;
  readonly registry: string;
  readonly user: string;
  readonly password: string;
  /** Of an existing image, as referenceOf() gives it. */
  readonly from: string;
  readonly file: File | undefined;
}

export const emptyDraft: Draft = {
  kind: "ClusterVirtualImage",
  namespace: "default",
  name: "",
  source: "HTTP",
  url: "",
  algorithm: "",
  checksum: "",
  caBundle: "",
  image: "",
  secret: "none",
  secretName: "",
  secretNamespace: "default",
  registry: "",
  user: "",
  password: "",
  from: "",
  file: undefined,
};

export const draftKey = ({ kind, namespace, name }: Draft): ImageKey => ({
  kind,
  namespace: kind === "VirtualImage" ? namespace.trim() : "",
  name: name.trim(),
});

/** The namespace that the pull secret of this image is in. */
export const secretNamespaceOf = ({ kind, namespace, secretNamespace }: Draft): string =>
  (kind === "VirtualImage" ? namespace : secretNamespace).trim();

/** One text for an existing image, as the value of a choice. */
export const referenceOf = ({ kind, metadata }: ImageObject): string =>
  [kind, metadata.namespace ?? "", metadata.name].join("/");

/** The spec that the draft stands for. What is wrong with it is for the server to say. */
export function specOf(draft: Draft): ImageSpec {
  return {
    dataSource: dataSourceOf(draft),
    ...(draft.kind === "VirtualImage" ? { storage: "ContainerRegistry" as const } : {}),
  };
}

function dataSourceOf(draft: Draft): ImageDataSource {
  const { source, algorithm, checksum, caBundle } = draft;
  const digests = algorithm === "" ? {} : { checksum: { [algorithm]: checksum.trim().toLowerCase() } };
  const authority = caBundle.trim() === "" ? {} : { caBundle: toBase64(`${caBundle.trim()}\n`) };
  switch (source) {
    case "HTTP":
      return { type: "HTTP", http: { url: draft.url.trim(), ...authority, ...digests } };
    case "ContainerImage": {
      const secret = draft.secret === "none" ? {} : { imagePullSecret: pullSecretOf(draft) };
      return { type: "ContainerImage", containerImage: { image: draft.image.trim(), ...authority, ...secret } };
    }
    case "ObjectRef": {
      const [kind, namespace = "", name = ""] = draft.from.split("/");
      if (kind === "VirtualImage") return { type: "ObjectRef", objectRef: { kind, name, namespace } };
      return { type: "ObjectRef", objectRef: { kind: "ClusterVirtualImage", name } };
    }
    case "Upload":
      return { type: "Upload", ...(algorithm === "" ? {} : { upload: digests }) };
  }
}

function pullSecretOf(draft: Draft): { name: string; namespace?: string } {
  const name = draft.secretName.trim();
  return draft.kind === "VirtualImage" ? { name } : { name, namespace: secretNamespaceOf(draft) };
}

/**
 * A name made of what the image comes from: `https://h/jammy-server-cloudimg-amd64.img` gives
 * `jammy-server-cloudimg-amd64`.
 */
export function suggestedName({ source, url, image, from, file }: Draft): string {
  const origin = {
    HTTP: url,
    ContainerImage: image.replace(/[@:][^/]*$/, ""),
    ObjectRef: from,
    Upload: file?.name ?? "",
  }[source];
  const last =
    origin
      .trim()
      .replace(/[?#].*$/, "")
      .replace(/^https?:\/\/[^/]*\/?/, "")
      .split("/")
      .pop() ?? "";
  const bare =
    source === "HTTP" || source === "Upload"
      ? last.replace(/(?:\.(?:qcow2|img|raw|iso|vmdk|vdi|vhdx?|ova|tar|gz|xz|zst|bz2))+$/i, "")
      : last;
  return bare
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .slice(0, 50)
    .replace(/^-+|-+$/g, "");
}

/** The field of the form that a field of the API is entered in. */
const controls: readonly (readonly [RegExp, string])[] = [
  [/^metadata\.namespace/, "image-namespace"],
  [/^metadata/, "name"],
  [/\.http\.url/, "url"],
  [/\.checksum/, "checksum"],
  [/\.caBundle/, "ca-bundle"],
  [/\.imagePullSecret\.namespace/, "secret-namespace"],
  [/\.imagePullSecret/, "secret-name"],
  [/\.containerImage/, "image"],
  [/\.objectRef/, "from"],
];

/** `Invalid value: "x": FIELD in body should match …` without what the control beside it says. */
function withoutField(field: string, message: string): string {
  return message.replaceAll(`${field} in body `, "").replace(/Invalid value: "[^"]*": /g, "");
}

/** Messages by the id of the control they belong to. What belongs to none is in the error's message. */
export function errorsByControl(fields: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [field, message] of fields) {
    const control = controls.find(([pattern]) => pattern.test(field))?.[1];
    if (control !== undefined && !found.has(control)) found.set(control, withoutField(field, message));
  }
  return found;
}
