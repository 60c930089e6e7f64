import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { spawn, type ChildProcess } from "node:child_process";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";

import type { ImageObject } from "../src/service/model/image.ts";
import { freePort } from "./support/ports.ts";
import { ServeProcess } from "./support/service-serve.ts";
import { tool } from "./support/tools.ts";

const images = "/apis/virtualization.deckhouse.io/v1alpha2/clustervirtualimages";
const deploy = fileURLToPath(new URL("../deploy/monitoring/", import.meta.url));

/** What an OTLP/HTTP exporter sent, and where to. */
class Collector {
  readonly bodies: Buffer[] = [];
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      const parts: Buffer[] = [];
      request
        .on("data", (part: Buffer) => parts.push(part))
        .on("end", () => {
          if (request.url === "/v1/traces") this.bodies.push(Buffer.concat(parts));
          response.writeHead(200, { "content-type": "application/json" }).end("{}");
        });
    });
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    return `http://127.0.0.1:${String((this.#server.address() as AddressInfo).port)}`;
  }

  /** Names and attributes stand in the encoded message as they are. */
  get text(): string {
    return Buffer.concat(this.bodies).toString("latin1");
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }
}

/** Asks until it gives something. */
async function eventually<T>(what: string, ask: () => Promise<T | undefined>): Promise<T> {
  for (let tries = 0; tries < 300; tries += 1) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await delay(200);
  }
  throw new Error(`${what} did not come`);
}

interface Alert {
  readonly state: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

let directory: string;
let collector: Collector;
let service: ServeProcess;
let uploadPath: string;
const at = (name: string) => join(directory, name);

async function inPhase(name: string, phase: string): Promise<ImageObject> {
  return await eventually(`${name} in phase ${phase}`, async () => {
    const image = await service.json<ImageObject>(`${images}/${name}`);
    return image.status?.phase === phase ? image : undefined;
  });
}

/** Uploads the disk as an image of that name until its end. Returns the path of the upload. */
async function upload(name: string, options: object, end: string): Promise<string> {
  const spec = { dataSource: { type: "Upload", ...options } };
  await service.json(images, "POST", {
    apiVersion: "virtualization.deckhouse.io/v1alpha2",
    kind: "ClusterVirtualImage",
    metadata: { name },
    spec,
  });
  const { status } = await inPhase(name, "WaitForUserUpload");
  const { pathname } = new URL(status?.imageUploadURLs?.inCluster ?? "");
  await tool("curl", "-sS", "-T", at("disk.qcow2"), `${service.url}${pathname}`);
  await inPhase(name, end);
  return pathname;
}

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "dvcr-operations-"));
  collector = new Collector();
  process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = await collector.listen();
  process.env["OTEL_BSP_SCHEDULE_DELAY"] = "200";
  service = await ServeProcess.start();
  await tool("qemu-img", "create", "-q", "-f", "qcow2", at("disk.qcow2"), "4M");
  await upload("refused", { upload: { checksum: { md5: "0".repeat(32) } } }, "Failed");
  uploadPath = await upload("uploaded", {}, "Ready");
});

afterAll(async () => {
  delete process.env["OTEL_EXPORTER_OTLP_ENDPOINT"];
  delete process.env["OTEL_BSP_SCHEDULE_DELAY"];
  await service[Symbol.asyncDispose]();
  collector.close();
  await rm(directory, { recursive: true, force: true });
});

describe("metrics", () => {
  let prometheus: ChildProcess;
  let base: string;

  beforeAll(async () => {
    const port = await freePort();
    base = `http://127.0.0.1:${String(port)}`;
    const config = {
      global: { scrape_interval: "1s", evaluation_interval: "1s" },
      rule_files: [join(deploy, "alerts.yaml")],
      scrape_configs: [{ job_name: "dvcr", static_configs: [{ targets: [new URL(service.url).host] }] }],
    };
    await writeFile(at("prometheus.yml"), JSON.stringify(config));
    prometheus = spawn(
      "prometheus",
      [
        `--config.file=${at("prometheus.yml")}`,
        `--storage.tsdb.path=${at("tsdb")}`,
        `--web.listen-address=127.0.0.1:${String(port)}`,
      ],
      { stdio: "ignore" },
    );
    prometheus.on("error", () => undefined);
    await eventually("a second scrape by prometheus (Debian's package prometheus)", async () => {
      const found = await query("count_over_time(dvcr_build_info[1m])").catch(() => []);
      return Number(found[0]?.value[1] ?? 0) >= 3 ? true : undefined;
    });
  });

  afterAll(async () => {
    prometheus.kill("SIGKILL");
    await new Promise((resolve) => prometheus.once("close", resolve));
  });

  async function query(expression: string): Promise<{ metric: Record<string, string>; value: [number, string] }[]> {
    const answer = (await (
      await fetch(`${base}/api/v1/query?${new URLSearchParams({ query: expression }).toString()}`)
    ).json()) as { status: string; error?: string; data: { result: [] } };
    expect(answer.error).toBeUndefined();
    return answer.data.result;
  }

  it("tell how many images there are, what was stored, and how full the store is", async () => {
    expect((await query('dvcr_images{phase="Ready",kind="ClusterVirtualImage"}'))[0]?.value[1]).toBe("1");
    expect((await query('dvcr_images_finished_total{phase="Ready"}'))[0]).toMatchObject({
      metric: { reason: "Ready", kind: "ClusterVirtualImage" },
    });
    expect(Number((await query("dvcr_stored_bytes_total"))[0]?.value[1])).toBeGreaterThan(1000);
    expect(Number((await query("dvcr_store_used_bytes"))[0]?.value[1])).toBeGreaterThan(1000);
    expect((await query("dvcr_import_duration_seconds_count"))[0]?.value[1]).toBe("1");
  });

  it("are what every panel of the dashboard asks for", async () => {
    const dashboard = JSON.parse(await readFile(join(deploy, "dashboard.json"), "utf8")) as {
      panels: { title: string; targets: { expr: string }[] }[];
    };
    const expressions = dashboard.panels.flatMap(({ targets }) =>
      targets.map(({ expr }) => expr.replaceAll("$instance", ".*")),
    );
    expect(expressions.length).toBeGreaterThan(10);
    const empty: string[] = [];
    for (const expression of expressions) if ((await query(expression)).length === 0) empty.push(expression);
    expect(empty).toEqual([]);
  });

  it("are what the alert rules ask for, and none of them fires", async () => {
    const { groups } = parse(await readFile(join(deploy, "alerts.yaml"), "utf8")) as {
      groups: { rules: { alert: string; expr: string }[] }[];
    };
    const rules = groups.flatMap((group) => group.rules);
    expect(rules.length).toBe(6);
    for (const { expr } of rules) {
      expect(await query(expr)).toEqual([]);
      // The same without its threshold has a value: what it compares is there.
      const [compared = ""] = expr.split(/ (?:==|<|>) /);
      expect(await query(compared), expr).not.toEqual([]);
    }
    const loaded = (await (await fetch(`${base}/api/v1/rules`)).json()) as {
      data: { groups: { rules: { health: string }[] }[] };
    };
    expect(loaded.data.groups.flatMap((group) => group.rules.map(({ health }) => health))).toEqual(
      rules.map(() => "ok"),
    );
  });

  it("make an alert fire once imports keep failing, which tells where and why", async () => {
    for (const name of ["second", "third", "fourth", "fifth", "sixth"])
      await upload(`refused-${name}`, { upload: { checksum: { md5: "0".repeat(32) } } }, "Failed");
    const firing = await eventually("the alert DvcrImportsFail", async () => {
      const { data } = (await (await fetch(`${base}/api/v1/alerts`)).json()) as { data: { alerts: Alert[] } };
      return data.alerts.find(({ state, labels }) => state === "firing" && labels["alertname"] === "DvcrImportsFail");
    });
    const instance = new URL(service.url).host;
    expect(firing.labels).toEqual({
      alertname: "DvcrImportsFail",
      severity: "warning",
      instance,
      reason: "ProvisioningFailedTerminally",
    });
    expect(firing.annotations["summary"]).toMatch(
      new RegExp(`^[\\d.]+ imports of ${instance} failed within 30 minutes \\(ProvisioningFailedTerminally\\)$`),
    );
  });
});

describe("traces", () => {
  it("reach the collector: the request, and the import with what it was and how it ended", async () => {
    await eventually("the spans", () =>
      Promise.resolve(
        ["import upload", "cvi/uploaded", "PUT /upload/:token"].every((text) => collector.text.includes(text)) ||
          undefined,
      ),
    );
    expect(collector.text).toContain("service.name");
  });

  it("hold no upload's token", () => {
    expect(uploadPath).toMatch(/^\/upload\/\w{32}$/);
    expect(collector.text).not.toContain(uploadPath.slice("/upload/".length));
  });
});
