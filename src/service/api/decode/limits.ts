/**
 * What one request may hold, in whichever form it comes: JSON, YAML, protobuf or a patch. What is parsed here is parsed
 * on the event loop, so that these numbers bound for how long one client can keep all the others waiting
 * (docs/limits.md).
 */
import { badRequest, StatusError } from "../status.ts";

/** Bytes of a body. */
export const bodyLimit = 3 * 2 ** 20;
/** Bytes of a body in YAML, which costs twenty times as much to read as JSON; clients that send more can send JSON. */
export const yamlLimit = 256 * 1024;
/** Levels of objects and lists inside each other. */
export const deepest = 64;
/** Members of objects and items of lists, counted together over a whole body. */
export const mostValues = 50_000;
/** Characters of a member's name. Annotations, the longest that Kubernetes has, take 317. */
export const longestName = 1024;

/** Items of metadata. Kubernetes knows no such limits: its objects are bounded by what etcd stores. */
export const mostItems = {
  labels: 256,
  annotations: 512,
  finalizers: 64,
  ownerReferences: 64,
  managedFields: 64,
} as const;
/** Bytes of all annotations, as in Kubernetes. */
export const annotationBytes = 256 * 1024;
/** Bytes of an object as JSON, about what etcd stores. */
export const objectLimit = 2 ** 20;

/** Terms of a selector, and values of one of its terms: each object of a list is held against all of them. */
export const mostTerms = 64;
export const mostTermValues = 1000;

/** Fields that warnings and strict refusals name, and problems of one object; the rest is left out. */
export const mostNamed = 100;

export const tooDeep = (): StatusError =>
  badRequest(`the body of the request is nested too deeply: at most ${deepest} levels are read`);

export const tooManyValues = (): StatusError =>
  new StatusError(
    413,
    "RequestEntityTooLarge",
    `Request entity too large: limit is ${mostValues} members and items; split the object or the patch`,
  );

export const nameTooLong = (): StatusError =>
  badRequest(`the body of the request has a field whose name is longer than ${longestName} characters`);

/** A member of that name would reach an object's prototype in careless hands, and no kind has one. */
export const prototypeField = (): StatusError => badRequest('unknown field "__proto__"');
