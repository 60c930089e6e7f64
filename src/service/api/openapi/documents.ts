/** OpenAPI documents: v3 one per group version, v2 one for all. They are the same for the life of the process. */
import { createHash } from "node:crypto";

import { serverVersion } from "../discovery.ts";
import { groupVersions, pathOf, resourceTypes, type GroupVersion } from "../resource-types.ts";
import { pathsOf } from "./paths.ts";
import { schemasOf } from "./schemas.ts";
import { toProtobuf } from "./v2-protobuf.ts";

const info = { title: "Images service", version: serverVersion.gitVersion };

interface Document {
  readonly text: string;
  readonly hash: string;
}

function documentOf(content: Record<string, unknown>): Document {
  const text = JSON.stringify(content);
  return { text, hash: createHash("sha512").update(text).digest("hex").toUpperCase() };
}

function versionDocument(groupVersion: GroupVersion): Document {
  const types = resourceTypes.filter(
    ({ group, version }) => group === groupVersion.group && version === groupVersion.version,
  );
  return documentOf({
    openapi: "3.0.0",
    info,
    paths: pathsOf(3, types),
    components: { schemas: schemasOf(3, [groupVersion]) },
  });
}

/** By `api/v1` and `apis/GROUP/VERSION`; only group versions that store something. */
const documents = new Map(
  groupVersions
    .filter(({ group, version }) => resourceTypes.some((type) => type.group === group && type.version === version))
    .map((groupVersion): [string, Document] => [pathOf(groupVersion).slice(1), versionDocument(groupVersion)]),
);

/** `/openapi/v3`: where each document is; the hash in its URL lets clients keep it. */
export function openApiIndex(): Record<string, unknown> {
  const paths = [...documents].map(([path, { hash }]) => [
    path,
    { serverRelativeURL: `/openapi/v3/${path}?hash=${hash}` },
  ]);
  return { paths: Object.fromEntries(paths) as Record<string, unknown> };
}

/** `/openapi/v3/PATH` */
export const openApiV3 = (path: string): Document | undefined => documents.get(path);

const version2 = () => ({
  swagger: "2.0",
  info,
  paths: pathsOf(2, resourceTypes),
  definitions: schemasOf(2, groupVersions),
});

let json: Document | undefined;
let protobuf: Buffer | undefined;

/** `/openapi/v2` as JSON. */
export const openApiV2 = (): Document => (json ??= documentOf(version2()));

/** `/openapi/v2` as older kubectl asks for it. */
export const openApiV2Protobuf = (): Buffer => (protobuf ??= toProtobuf(version2()));
