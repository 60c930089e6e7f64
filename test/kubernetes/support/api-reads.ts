/** Reads and deletes, right or mistaken in one point, and the paths about the server itself. */
import {
  group,
  cvis,
  secrets,
  liveName,
  dry,
  send,
  noFault,
  alwaysStatus,
  probePath,
  type Row,
} from "./api-requests.ts";

export const deletes: readonly Row[] = [
  send("DELETE", `${cvis}/${liveName}?${dry}`),
  send("DELETE", `${cvis}/none`),
  send("DELETE", `${cvis}/none/status`),
  ...["Background", "Foreground", "Orphan", "Sideways"].map((policy) =>
    send("DELETE", `${cvis}/${liveName}?${dry}&propagationPolicy=${policy}`),
  ),
  send("DELETE", `${cvis}/${liveName}?${dry}`, { propagationPolicy: "Sideways", dryRun: ["All"] }),
  send("DELETE", `${cvis}/${liveName}?${dry}`, {
    propagationPolicy: "Orphan",
    orphanDependents: true,
    dryRun: ["All"],
  }),
  send("DELETE", `${cvis}/${liveName}?${dry}`, { orphanDependents: true, dryRun: ["All"] }),
  send("DELETE", `${cvis}/${liveName}`, { preconditions: { uid: "other" }, dryRun: ["All"] }),
  send("DELETE", `${cvis}/${liveName}`, { preconditions: { resourceVersion: "1" }, dryRun: ["All"] }),
  send("DELETE", `${cvis}/${liveName}`, { dryRun: ["Some"] }),
  send("DELETE", `${cvis}/${liveName}`, { gracePeriodSeconds: -1, dryRun: ["All"] }),
  send("DELETE", `${cvis}/${liveName}`, { kind: "Pod", apiVersion: "v1", dryRun: ["All"] }),
  send("DELETE", `${cvis}/${liveName}`, "{"),
  send("DELETE", `${cvis}?${dry}&labelSelector=none%3Dhere`),
  send("DELETE", `${cvis}?${dry}&labelSelector=%3D%3D`),
  send("DELETE", "/api/v1/namespaces?labelSelector=none%3Dhere"),
];

export const reads: readonly Row[] = [
  send("GET", `${cvis}/${liveName}`),
  send("GET", `${cvis}/${liveName}/status`),
  send("GET", `${cvis}/${liveName}/scale`),
  send("GET", `${cvis}/none`),
  send("GET", `${cvis}/${liveName}?resourceVersion=0`),
  send("GET", `${cvis}/${liveName}?resourceVersion=x`, undefined, noFault),
  send("GET", `${cvis}/${liveName}/`),
  send("GET", cvis),
  send("GET", `${cvis}/`),
  send("GET", `${group}/virtualimages`),
  send("GET", `${group}/namespaces/nowhere/virtualimages`),
  send("GET", `${group}/namespaces/default/clustervirtualimages`, undefined, alwaysStatus),
  send("GET", `${cvis}?limit=1`),
  send("GET", `${cvis}?limit=-1`),
  send("GET", `${cvis}?limit=x`),
  send("GET", `${cvis}?continue=nonsense`),
  send("GET", `${cvis}?labelSelector=a%3Db,c%20in%20(d,e),!f`),
  send("GET", `${cvis}?labelSelector=a%20in%20(`),
  send("GET", `${cvis}?labelSelector=%3D%3D`),
  send("GET", `${cvis}?fieldSelector=metadata.name%3Dlive`),
  send("GET", `${cvis}?fieldSelector=status.phase%3DReady`),
  send("GET", `${cvis}?fieldSelector=spec.nothing%3Dx`),
  send("GET", `${cvis}?fieldSelector=metadata.name`),
  send("GET", `${cvis}?resourceVersion=x`),
  send("GET", `${cvis}?resourceVersionMatch=NotOlderThan`),
  send("GET", `${cvis}?resourceVersion=0&resourceVersionMatch=Exact`),
  send("GET", `${cvis}?resourceVersion=1&resourceVersionMatch=Nearly`),
  send("GET", `${cvis}?sendInitialEvents=true`),
  send("GET", `${cvis}?watch=true&sendInitialEvents=true&timeoutSeconds=1`),
  send("GET", `${cvis}?watch=true&timeoutSeconds=1`),
  send("GET", `${cvis}?watch=true&resourceVersion=x&timeoutSeconds=1`, undefined, noFault),
  send("GET", `${cvis}?timeoutSeconds=x`),
  send("GET", `${secrets}/none`),
  send("GET", `${secrets}?fieldSelector=type%3Dx`),
  send("GET", `${group}/nothing`, undefined, alwaysStatus),
  send("GET", "/apis/nothing.example.com/v1", undefined, alwaysStatus),
  send("GET", "/apis/virtualization.deckhouse.io/v9", undefined, alwaysStatus),
  send("GET", "/api/v9"),
  send("GET", "/nothing"),
  ...["application/xml", "text/html", "*/*", "application/yaml", "application/json;as=Table;v=v1;g=meta.k8s.io"].map(
    (accept): Row => ({ what: `GET as ${accept}`, request: { method: "GET", path: `${cvis}/${liveName}`, accept } }),
  ),
  {
    what: "GET as PartialObjectMetadata of one",
    request: {
      method: "GET",
      path: `${cvis}/${liveName}`,
      accept: "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    },
  },
];

/** Paths that say what the server is, with and without a slash at their end. */
export const abouts: readonly Row[] = [
  "/version",
  "/api",
  "/apis",
  group,
  "/api/v1",
  "/readyz",
  "/livez",
  "/healthz",
  "/openapi/v2",
  "/openapi/v3",
].flatMap((path) => {
  const differs = path.startsWith("/openapi") ? alwaysStatus : ["/livez", "/healthz"].includes(path) ? probePath : {};
  return [send("GET", path), send("GET", `${path}/`, undefined, differs)];
});
