/** Who may do what. Every front door (API, uploads, console) asks here before it touches an object. */

/** Whom the authentication hook found behind a request. */
export interface User {
  readonly name: string;
  readonly groups: readonly string[];
}

/** What is asked for, in the words of Kubernetes' RBAC. */
export interface Access {
  /** get, list, watch, create, update, patch, delete, deletecollection */
  readonly verb: string;
  /** Plural name, as in paths. */
  readonly resource: string;
  /** API group; missing for the core group. */
  readonly group?: string;
  readonly subresource?: string;
  /** Missing or empty for cluster-wide resources, and for all namespaces. */
  readonly namespace?: string;
  readonly name?: string;
}

export type Authorize = (user: User, access: Access) => boolean;

/** Members of this group may do everything. */
export const adminGroup = "system:masters";

/** Whom every request comes from while nobody is asked for credentials. */
export const localAdmin: User = { name: "system:anonymous-admin", groups: [adminGroup] };

/** Administrators may do everything, others nothing. */
export const authorize: Authorize = (user) => user.groups.includes(adminGroup);

declare module "fastify" {
  interface FastifyRequest {
    /** Set by the authentication hook before any handler runs; missing: nobody was authenticated. */
    user?: User;
  }
}
