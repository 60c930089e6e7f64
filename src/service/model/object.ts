/** The shape that every stored resource shares (Kubernetes API conventions, "Objects" and "Metadata"). */

/** Plural names, as in paths. */
export type ResourceName = "clustervirtualimages" | "virtualimages" | "secrets" | "namespaces" | "events";

export interface ObjectMeta {
  readonly name: string;
  /** Missing for cluster-wide resources. */
  readonly namespace?: string;
  readonly uid: string;
  /** Opaque to clients; grows with every change of the whole store. */
  readonly resourceVersion: string;
  /** Grows with every change of `spec`. */
  readonly generation: number;
  /** RFC 3339, whole seconds, UTC. */
  readonly creationTimestamp: string;
  /** Set when deletion was asked for and finalizers still hold the object. */
  readonly deletionTimestamp?: string;
  readonly finalizers?: readonly string[];
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly managedFields?: readonly ManagedFields[];
}

export interface ManagedFields {
  readonly manager: string;
  readonly operation: "Apply" | "Update";
  readonly apiVersion: string;
  readonly time: string;
  readonly fieldsType: "FieldsV1";
  readonly fieldsV1: Readonly<Record<string, unknown>>;
  readonly subresource?: string;
}

export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
}

/** What a client may send where the server fills in the rest. */
export type Draft<T extends KubeObject> = Omit<T, "metadata"> & {
  readonly metadata: Pick<ObjectMeta, "name"> &
    Partial<Omit<ObjectMeta, "uid" | "generation" | "creationTimestamp" | "resourceVersion">>;
};

/** Names one object. */
export interface ObjectKey {
  readonly resource: ResourceName;
  /** "" for cluster-wide resources. */
  readonly namespace: string;
  readonly name: string;
}
