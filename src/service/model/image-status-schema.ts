import { object, text, type JsonSchema } from "./json-schema.ts";

const condition = object(
  "One aspect of the image's state.",
  {
    type: text("DatasourceReady or Ready."),
    status: text("True, False or Unknown.", { enum: ["True", "False", "Unknown"] }),
    reason: text("Why, in one word for programs."),
    message: text("Why, in a sentence for people."),
    lastTransitionTime: text("When status changed last.", { format: "date-time" }),
    observedGeneration: {
      type: "integer",
      format: "int64",
      description: "Generation of the spec that this was said of.",
    },
  },
  ["type", "status", "reason", "message", "lastTransitionTime"],
);

export const imageStatusSchema: JsonSchema = object("State of the image; written by the service.", {
  phase: text(
    "Pending: waits for something named in the conditions. WaitForUserUpload: waits for the " +
      "upload to begin. Provisioning: being imported. Ready: stored. Failed: see the Ready " +
      "condition. Terminating: being deleted. ImageLost: was stored and is there no more. " +
      "PVCLost: the same of a volume, which this service has none of.",
    {
      enum: ["Pending", "WaitForUserUpload", "Provisioning", "Ready", "Failed", "Terminating", "ImageLost", "PVCLost"],
    },
  ),
  progress: text("Share of the source that was read.", { example: "28.2%" }),
  downloadSpeed: object("Speed of the source, while it is read and on the average of it all.", {
    avg: text("Average.", { example: "12.3Mi/s" }),
    avgBytes: text("Average, in bytes per second."),
    current: text("In the last second.", { example: "14Mi/s" }),
    currentBytes: text("In the last second, in bytes per second."),
  }),
  size: object("Sizes of the image.", {
    stored: text("Space that it takes in the store.", { example: "285.9Mi" }),
    storedBytes: text("The same in bytes."),
    unpacked: text("Size of the disk.", { example: "2.2Gi" }),
    unpackedBytes: text("The same in bytes."),
  }),
  format: text("Format of the stored disk: raw or iso."),
  cdrom: { type: "boolean", description: "True for an image to be mounted as a CD-ROM." },
  target: object("Where the image is stored.", {
    registryURL: text("The container image, for pulling."),
    persistentVolumeClaimName: text("Name of the volume's claim; not used by this service."),
  }),
  sourceUID: text("UID of the resource that the image is made from."),
  storageClassName: text("Storage class of the volume; not used by this service."),
  uploadCommand: text("A command that uploads a file; imageUploadURLs takes its place."),
  usedInNamespaces: {
    type: "array",
    description: "Namespaces whose virtual machines use the image; not used by this service.",
    items: text("Name of a namespace."),
  },
  imageUploadURLs: object("Where to send the file of an image of type Upload. Whoever knows such a URL can upload.", {
    external: text("For clients anywhere."),
    inCluster: text("For clients beside the server."),
  }),
  digest: text("Digest of the stored manifest."),
  conditions: {
    type: "array",
    description: "DatasourceReady and Ready.",
    items: condition,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
  },
  observedGeneration: {
    type: "integer",
    format: "int64",
    description: "Generation of the spec that the status is about.",
  },
});
