/**
 * When the alert rules fire and what they say: judged by promtool over made-up series, as some take a quarter of an
 * hour.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { parse } from "yaml";

import { temporaryDirectory, tool } from "./support/tools.ts";

const alerts = fileURLToPath(new URL("../deploy/monitoring/alerts.yaml", import.meta.url));

interface Rule {
  readonly alert: string;
  readonly for?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

interface Case {
  readonly alert: string;
  /** Its series, a value a minute; all have the labels of one target. */
  readonly series: Readonly<Record<string, string>>;
  /** Minutes at which it does not fire yet, and does. */
  readonly quiet: number;
  readonly fires: number;
  readonly labels: Readonly<Record<string, string>>;
  /** As the texts show it. */
  readonly value: string;
}

const instance = { instance: "images.test:8480" };
const target = { job: "dvcr", ...instance };

const cases: readonly Case[] = [
  { alert: "DvcrDown", series: { up: "1x5 0x20" }, quiet: 7, fires: 8, labels: target, value: "0" },
  {
    alert: "DvcrStoreNearlyFull",
    series: { dvcr_store_free_bytes: "11x5 5x20", dvcr_store_capacity_bytes: "100x25" },
    quiet: 10,
    fires: 11,
    labels: target,
    value: "5%",
  },
  {
    alert: "DvcrImageLost",
    series: { 'dvcr_images{kind="VirtualImage",phase="ImageLost"}': "0x5 2x20" },
    quiet: 15,
    fires: 16,
    labels: { ...instance, kind: "VirtualImage" },
    value: "2",
  },
  {
    alert: "DvcrImportsFail",
    // Failures that count are those of one reason, whatever the kind.
    series: {
      'dvcr_images_finished_total{kind="VirtualImage",phase="Failed",reason="Late"}': "0x29 0 0 2x20",
      'dvcr_images_finished_total{kind="ClusterVirtualImage",phase="Failed",reason="Late"}': "0x29 0 0 2x20",
    },
    quiet: 31,
    fires: 32,
    labels: { ...instance, reason: "Late" },
    value: "4",
  },
  {
    alert: "DvcrImportsWait",
    series: { 'dvcr_imports{phase="queued"}': "3x30", dvcr_import_bytes_per_second: "9x5 0x25" },
    quiet: 20,
    fires: 21,
    labels: { ...target, phase: "queued" },
    value: "3",
  },
  {
    alert: "DvcrSlowApi",
    series: {
      'dvcr_http_request_duration_seconds_bucket{le="1"}': "0x30",
      'dvcr_http_request_duration_seconds_bucket{le="2.5"}': "0+60x30",
      'dvcr_http_request_duration_seconds_bucket{le="+Inf"}': "0+60x30",
    },
    quiet: 10,
    fires: 11,
    labels: instance,
    value: "2.485s",
  },
];

const { groups } = parse(await readFile(alerts, "utf8")) as { groups: { rules: Rule[] }[] };
const rules = groups.flatMap((group) => group.rules);

it("are all looked at here", () => {
  expect(cases.map(({ alert }) => alert)).toEqual(rules.map(({ alert }) => alert));
});

it.each(cases)(
  "$alert fires when it should, and not before",
  async ({ alert, series, quiet, fires, labels, value }) => {
    await using work = await temporaryDirectory();
    const rule = rules.find((one) => one.alert === alert)!;
    const filled = (text: string): string =>
      text
        .replace(/\{\{ \$labels\.(\w+) \}\}/g, (_, name: string) => (labels as Record<string, string>)[name]!)
        .replace(/\{\{ \$value[^}]*\}\}/g, value);
    const annotations = Object.fromEntries(
      Object.entries(rule.annotations).map(([name, text]) => [name, filled(text)]),
    );
    const withTarget = (name: string): string =>
      `${name.replace(/\}$/, "")}${name.endsWith("}") ? "," : "{"}job="${target.job}",instance="${target.instance}"}`;
    const test = {
      interval: "1m",
      input_series: Object.entries(series).map(([name, values]) => ({ series: withTarget(name), values })),
      alert_rule_test: [
        { eval_time: `${quiet}m`, alertname: alert, exp_alerts: [] },
        {
          eval_time: `${fires}m`,
          alertname: alert,
          exp_alerts: [{ exp_labels: { ...labels, ...rule.labels }, exp_annotations: annotations }],
        },
      ],
    };
    const file = join(work.path, "test.yaml");
    await writeFile(file, JSON.stringify({ rule_files: [alerts], evaluation_interval: "1m", tests: [test] }));
    expect(await tool("promtool", "test", "rules", file)).toContain("SUCCESS");
  },
);
