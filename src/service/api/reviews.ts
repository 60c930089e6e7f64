/** What `kubectl auth can-i` and `kubectl auth whoami` ask. */
import type { Authorize, User } from "../security/authorize.ts";
import { fieldsOf, textOf, type Fields } from "./json.ts";
import { resourceTypes, type ReviewType } from "./resource-types.ts";

/** The review with its answer. */
export function reviewed(type: ReviewType, sent: Fields, user: User, authorize: Authorize): Fields {
  const apiVersion = `${type.group}/${type.version}`;
  const review = { kind: type.kind, apiVersion, metadata: { creationTimestamp: null } };
  if (type.kind === "SelfSubjectReview")
    return { ...review, status: { userInfo: { username: user.name, groups: user.groups } } };
  const spec = fieldsOf(sent, "spec");
  if (type.kind === "SelfSubjectRulesReview")
    return { ...review, spec, status: rulesOf(user, textOf(spec["namespace"]), authorize) };
  return { ...review, spec, status: { allowed: isAllowed(fieldsOf(spec, "resourceAttributes"), user, authorize) } };
}

function isAllowed(attributes: Fields, user: User, authorize: Authorize): boolean {
  const text = (name: string): string => textOf(attributes[name]);
  // Paths outside of resources are open to whoever is known.
  if (text("verb") === "" || text("resource") === "") return Object.keys(attributes).length === 0;
  return authorize(user, {
    verb: text("verb"),
    resource: text("resource"),
    group: text("group"),
    namespace: text("namespace"),
    ...(text("name") === "" ? {} : { name: text("name") }),
    ...(text("subresource") === "" ? {} : { subresource: text("subresource") }),
  });
}

function rulesOf(user: User, namespace: string, authorize: Authorize): Fields {
  const resourceRules = resourceTypes.flatMap(({ resource, group, verbs, namespaced }) => {
    const allowed = verbs.filter((verb) =>
      authorize(user, { verb, resource, group, namespace: namespaced ? namespace : "" }),
    );
    return allowed.length === 0 ? [] : [{ verbs: allowed, apiGroups: [group], resources: [resource] }];
  });
  const paths = ["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", "/version"];
  return { resourceRules, nonResourceRules: [{ verbs: ["get"], nonResourceURLs: paths }], incomplete: false };
}
