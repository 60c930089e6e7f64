import { tmpdir } from "node:os";

import { defaultAuthFiles } from "../registry/credentials.ts";
import { optional, withDefault } from "./field.ts";
import { integer, path, text } from "./kinds.ts";
import { failOnProblems, parseFields, type Environment, type Problem } from "./parse.ts";

/** What the command line tool reads from its environment. */
export interface CliEnvironment {
  readonly httpProxy: string | undefined;
  readonly httpsProxy: string | undefined;
  readonly noProxy: string | undefined;
  readonly sourceDateEpoch: number | undefined;
  readonly scratchDir: string;
  /** docker config.json files, in the order they are searched. */
  readonly authFiles: readonly string[];
  /** Base URL of the images service. */
  readonly server: string;
  readonly token: string | undefined;
  readonly caFile: string | undefined;
}

/** By their variables. */
export const cliFields = {
  httpProxy: optional("http_proxy", text, {
    secret: true,
    description: "Proxy for http:// sources and for registries without TLS.",
  }),
  httpProxyUpper: optional("HTTP_PROXY", text, { secret: true, description: "The same; http_proxy wins." }),
  httpsProxy: optional("https_proxy", text, {
    secret: true,
    description: "Proxy for https:// sources and for registries.",
  }),
  httpsProxyUpper: optional("HTTPS_PROXY", text, { secret: true, description: "The same; https_proxy wins." }),
  noProxy: optional("no_proxy", text, { description: "Hosts reached without a proxy, separated by commas." }),
  noProxyUpper: optional("NO_PROXY", text, { description: "The same; no_proxy wins." }),
  sourceDateEpoch: optional("SOURCE_DATE_EPOCH", integer(0, 253_402_300_799, "seconds since 1970"), {
    description: "Creation time that the image carries, in seconds since 1970; without it 1970-01-01T00:00:00Z.",
  }),
  server: withDefault("DVCR_SERVER", text, "http://127.0.0.1:8480", {
    description: "Default of --server: the images service.",
  }),
  token: optional("DVCR_TOKEN", text, { secret: true, description: "Token for the images service." }),
  caFile: optional("DVCR_CA", path, { description: "Default of --ca, for the images service." }),
  temporary: optional("TMPDIR", path, { description: "Default of --scratch-dir." }),
};

/** Parses it once. Throws DvcrError E_CONFIG. */
export function readCliEnvironment(environment: Environment): CliEnvironment {
  const problems: Problem[] = [];
  const values = parseFields(cliFields, environment, [], problems);
  failOnProblems(problems);
  return {
    httpProxy: values.httpProxy ?? values.httpProxyUpper,
    httpsProxy: values.httpsProxy ?? values.httpsProxyUpper,
    noProxy: values.noProxy ?? values.noProxyUpper,
    sourceDateEpoch: values.sourceDateEpoch,
    scratchDir: values.temporary ?? tmpdir(),
    authFiles: defaultAuthFiles(environment),
    server: values.server,
    token: values.token,
    caFile: values.caFile,
  };
}
