/** Who may do what. Every front door (API, uploads, console) asks here before it touches an object. */

/** `view` reads, `edit` also changes images and their secrets, `admin` may everything, cleaning up included. */
export type Role = "view" | "edit" | "admin";

export interface Grant {
  readonly role: Role;
  /** Missing: everywhere, cluster-wide resources included. */
  readonly namespaces?: readonly string[];
}

/** Whom the authentication hook found behind a request. */
export interface User {
  readonly name: string;
  readonly groups: readonly string[];
  readonly grants?: readonly Grant[];
}

/** What is asked for, in the words of Kubernetes' RBAC. */
export interface Access {
  /** get, list, watch, create, update, patch, delete, deletecollection */
  readonly verb: string;
  /** Plural name, as in paths; `gc` and `metrics` are the server's own. */
  readonly resource: string;
  /** API group; missing for the core group. */
  readonly group?: string;
  readonly subresource?: string;
  /** Missing or empty for cluster-wide resources, and for all namespaces. */
  readonly namespace?: string;
  readonly name?: string;
  /** Asked only what would come of it. */
  readonly dryRun?: boolean;
}

export type Authorize = (user: User, access: Access) => boolean;

/** Members of this group may do everything. */
export const adminGroup = "system:masters";

/** Whom every request comes from while nobody is asked for credentials. */
export const localAdmin: User = { name: "system:anonymous-admin", groups: [adminGroup] };

const readVerbs = new Set(["get", "list", "watch"]);
/** What nobody but an admin sees or changes. */
const adminResources = new Set(["gc"]);
/** What holds credentials: reading it takes the right to change it. */
const secretResources = new Set(["secrets"]);
/** Written by the server alone, or with the first object inside of it. */
const serversResources = new Set(["events", "metrics", "namespaces"]);
/** For everybody to choose from. */
const commonResources = new Set(["clustervirtualimages", "namespaces"]);

const rank: Readonly<Record<Role, number>> = { view: 1, edit: 2, admin: 3 };

/** The least role that it takes. */
function roleFor({ verb, resource, subresource }: Access): Role {
  const isRead = readVerbs.has(verb);
  if (adminResources.has(resource) || (subresource === "status" && !isRead)) return "admin";
  if (isRead) return secretResources.has(resource) ? "edit" : "view";
  return serversResources.has(resource) ? "admin" : "edit";
}

/**
 * True when one of the user's grants covers it. Images of the cluster can be seen by everybody who may see anything.
 */
export const authorize: Authorize = (user, access) => {
  if (user.groups.includes(adminGroup)) return true;
  const { resource, namespace = "" } = access;
  const needed = roleFor(access);
  const isCommon = needed === "view" && commonResources.has(resource);
  return (user.grants ?? []).some(
    ({ role, namespaces }) =>
      rank[role] >= rank[needed] &&
      (namespaces === undefined || isCommon || (namespace !== "" && namespaces.includes(namespace))),
  );
};

declare module "fastify" {
  interface FastifyRequest {
    /** Set by the authentication hook before any handler runs; missing: nobody was authenticated. */
    user?: User;
  }
}
