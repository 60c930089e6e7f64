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

const fields = {
  httpProxy: optional("http_proxy", text, { secret: true, description: "Proxy for http:// sources and for registries without TLS." }),
  httpProxyUpper: optional("HTTP_PROXY", text, { secret: true, description: "The same." }),
  httpsProxy: optional("https_proxy", text, { secret: true, description: "Proxy for https:// sources and for registries." }),
  httpsProxyUpper: optional("HTTPS_PROXY", text, { secret: true, description: "The same." }),
  noProxy: optional("no_proxy", text, { description: "Hosts reached without a proxy." }),
  noProxyUpper: optional("NO_PROXY", text, { description: "The same." }),
  sourceDateEpoch: optional("SOURCE_DATE_EPOCH", integer(0, 253_402_300_799, "seconds since 1970"), { description: "Creation time the image carries." }),
  server: withDefault("DVCR_SERVER", text, "http://127.0.0.1:8480", { description: "Default of --server." }),
  token: optional("DVCR_TOKEN", text, { secret: true, description: "Token for the images service." }),
  caFile: optional("DVCR_CA", path, { description: "Default of --ca." }),
  temporary: optional("TMPDIR", path, { description: "Default of --scratch-dir." }),
};

/** Parses it once. Throws DvcrError E_CONFIG. */
export function readCliEnvironment(environment: Environment): CliEnvironment {
  const problems: Problem[] = [];
  const values = parseFields(fields, environment, [], problems);
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
