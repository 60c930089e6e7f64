/** Schemas of ClusterVirtualImage and VirtualImage, field for field as their CRDs have them. */
import { object, resource, text, type JsonSchema } from "./json-schema.ts";
import { imageStatusSchema } from "./image-status-schema.ts";
import { crdPatterns } from "./patterns.ts";

type Scope = "cluster" | "namespace";

const hex = (name: string, digits: number): JsonSchema =>
  text(`${name} of the file, ${digits} hex digits.`, {
    pattern: crdPatterns.hex(digits),
    minLength: digits,
    maxLength: digits,
  });

const checksum = object(
  "Checksums over the file as it is sent or downloaded, before unpacking. All that are given must match.",
  {
    md5: hex("MD5", 32),
    sha1: hex("SHA-1", 40),
    sha256: hex("SHA-256", 64),
    sha512: hex("SHA-512", 128),
    streebog256: hex("GOST R 34.11-2012 (256 bits)", 64),
    streebog512: hex("GOST R 34.11-2012 (512 bits)", 128),
  },
);

const caBundle = (whom: string): JsonSchema =>
  text(`Certificates (PEM, in base64) that ${whom} is verified by, beside the system's.`, {
    format: "byte",
    example: "YWFhCg==",
  });

const http = object(
  "The image is downloaded by HTTP or HTTPS.",
  {
    url: text(
      "URL of a disk image (raw, qcow2, VMDK, VDI, VHD, VHDX, ISO), plain or packed by gzip, xz, zstd or bzip2.",
      {
        pattern: crdPatterns.url,
        example: "https://mirror.example.com/images/slackware-15.qcow.gz",
      },
    ),
    caBundle: caBundle("the server"),
    checksum,
  },
  ["url"],
);

const containerImage = (scope: Scope): JsonSchema =>
  object(
    "The image is taken from a container image: the first file under disk/.",
    {
      image: text("The container image: HOST/REPOSITORY with a tag or a digest.", {
        pattern: crdPatterns.image,
        example: "registry.example.com/images/slackware:15",
      }),
      caBundle: caBundle("the registry"),
      imagePullSecret: object("Credentials for the registry.", {
        name: text("Name of a Secret of type kubernetes.io/dockerconfigjson."),
        ...(scope === "cluster" ? { namespace: text("Namespace of the Secret.") } : {}),
      }),
    },
    ["image"],
  );

export const namespaceRequired =
  "namespace is required for VirtualImage, VirtualDisk and VirtualDiskSnapshot and has at most 63 characters";

const objectRef = (scope: Scope): JsonSchema =>
  object(
    "The image is made from an existing resource.",
    {
      kind: text("Kind of the resource.", {
        enum: ["ClusterVirtualImage", "VirtualImage", "VirtualDisk", "VirtualDiskSnapshot"],
      }),
      name: text("Name of the resource.", { minLength: 1 }),
      ...(scope === "cluster" ? { namespace: text("Namespace of the resource; none for a ClusterVirtualImage.") } : {}),
    },
    ["kind", "name"],
    scope === "cluster"
      ? {
          "x-kubernetes-validations": [
            {
              rule:
                "self.kind == 'ClusterVirtualImage' || (has(self.__namespace__) && " +
                "size(self.__namespace__) > 0 && size(self.__namespace__) < 64)",
              message: namespaceRequired,
            },
          ],
        }
      : {},
  );

/** The member of a data source that belongs to a type; that of an upload may be left out. */
export const memberOf = {
  HTTP: "http",
  ContainerImage: "containerImage",
  ObjectRef: "objectRef",
  Upload: "upload",
} as const;

/** What is said of a data source whose members do not fit its type. */
export function memberRule(type: keyof typeof memberOf): string {
  const others = Object.values(memberOf).filter((member) => member !== memberOf[type]);
  return (
    `type ${type} ${type === "Upload" ? "allows" : "requires"} ${memberOf[type]}, and ` +
    `${others.join(", ")} must not be set`
  );
}

const memberValidations = (Object.keys(memberOf) as (keyof typeof memberOf)[]).map((type) => {
  const others = Object.values(memberOf)
    .filter((member) => member !== memberOf[type])
    .map((member) => `!has(self.${member})`);
  const own = type === "Upload" ? [] : [`has(self.${memberOf[type]})`];
  return { rule: `self.type != '${type}' || (${[...own, ...others].join(" && ")})`, message: memberRule(type) };
});

const dataSource = (scope: Scope): JsonSchema =>
  object(
    "Where the image comes from.",
    {
      type: text(
        "HTTP: downloaded from a URL. ContainerImage: taken from a registry. ObjectRef: made from " +
          "another resource. Upload: sent by the user to the URL in status.imageUploadURLs.",
        {
          enum: Object.keys(memberOf),
        },
      ),
      http,
      containerImage: containerImage(scope),
      objectRef: objectRef(scope),
      upload: object("What is known of the file that will be uploaded.", { checksum }),
    },
    ["type"],
    { "x-kubernetes-validations": memberValidations },
  );

export const clusterVirtualImageSchema: JsonSchema = resource(
  "A disk image for all namespaces, stored as a container image. Before it is Ready its spec " +
    "may change and the import starts again; afterwards the spec is fixed.",
  {
    spec: object("What the image is made of.", { dataSource: dataSource("cluster") }, ["dataSource"]),
    status: imageStatusSchema,
  },
  ["spec"],
);

export const virtualImageSchema: JsonSchema = resource(
  "A disk image of one namespace, stored as a container image. Before it is Ready its spec " +
    "may change and the import starts again; afterwards the spec is fixed.",
  {
    spec: object(
      "What the image is made of, and where it is kept.",
      {
        dataSource: dataSource("namespace"),
        storage: text(
          "ContainerRegistry: in the store for container images. PersistentVolumeClaim: on a volume " +
            "of the cluster, which this service does not have; such an image stays Pending. " +
            "Kubernetes: the old name of PersistentVolumeClaim.",
          {
            enum: ["ContainerRegistry", "Kubernetes", "PersistentVolumeClaim"],
            default: "ContainerRegistry",
          },
        ),
        persistentVolumeClaim: object("Settings for storage on a volume.", {
          storageClassName: text("Name of the storage class."),
        }),
      },
      ["dataSource"],
    ),
    status: imageStatusSchema,
  },
  ["spec"],
);
