import { capture, findCommand, run, Stop } from "../lib/process.mjs";
import { inRoot } from "../lib/paths.mjs";

/** The first kubectl that validates by OpenAPI v3, as the service offers it. */
const firstValidating = 27;

/**
 * kubectl against the service at `url`, or `bin/dvcr` where there is none. `name` is what a person would type.
 *
 * @returns {{ name, apply(manifest): Promise<void>, get(name): Promise<object>, table(): Promise<string> }}
 */
export async function openClient(url, workshop) {
  const kubectl = process.env["KUBECTL"] ?? findCommand("kubectl");
  return kubectl === undefined ? ownClient(url, workshop) : await kubectlClient(kubectl, url, workshop);
}

async function kubectlClient(kubectl, url, workshop) {
  const kubeconfig = workshop.path("kubeconfig");
  await run("sh", ["-c", '"$0" kubeconfig --server "$1" >"$2"', inRoot("bin/dvcr"), url, kubeconfig], {
    signal: workshop.signal,
  });
  const { stdout } = await capture(kubectl, ["version", "--client", "-o", "json"]);
  const minor = Number.parseInt(JSON.parse(stdout || "{}").clientVersion?.minor ?? "0", 10);
  const validate = minor < firstValidating ? ["--validate=false"] : [];
  const ask = (...args) => output(kubectl, ["--kubeconfig", kubeconfig, ...args]);
  return {
    name: "kubectl",
    kubeconfig,
    apply: (manifest) =>
      run(kubectl, ["--kubeconfig", kubeconfig, "apply", ...validate, "-f", "-"], {
        input: JSON.stringify(manifest),
        log: workshop.log,
        signal: workshop.signal,
      }),
    get: async (name) => JSON.parse(await ask("get", "cvi", name, "-o", "json")),
    table: () => ask("get", "cvi", "-o", "wide"),
  };
}

function ownClient(url, workshop) {
  const dvcr = inRoot("bin/dvcr");
  const ask = (...args) => output(dvcr, [...args, "--server", url]);
  return {
    name: "bin/dvcr",
    apply: (manifest) =>
      run(dvcr, ["apply", "-f", "-", "--server", url], {
        input: JSON.stringify(manifest),
        log: workshop.log,
        signal: workshop.signal,
      }),
    get: async (name) => JSON.parse(await ask("get", "cvi", name, "-o", "json")),
    table: () => ask("get", "cvi", "-o", "wide"),
  };
}

async function output(command, args) {
  const { code, stdout, stderr } = await capture(command, args);
  if (code !== 0) throw new Stop(`${command} ${args.join(" ")}: ${stderr.trim()}`);
  return stdout;
}
