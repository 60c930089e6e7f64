import { describe, expect, it } from "vitest";

import { cases, generalTargets, smokeCases } from "../cases.mjs";
import { inputs } from "../inputs.mjs";
import { cpuSeconds } from "../lib/measure.mjs";
import { judge, markdown } from "../lib/report.mjs";
import { sideNames } from "../lib/run-case.mjs";
import { lineThrough } from "../lib/scaling-report.mjs";
import { median, percentile, summary } from "../lib/stats.mjs";
import { scaling } from "../scaling.mjs";
import { sides } from "../sides.mjs";

const run = (wall, more = {}) => ({
  wall,
  cpu: wall,
  user: 0,
  system: 0,
  registryCpu: 0,
  originCpu: 0,
  rss: 1,
  scratch: 0,
  network: 0,
  ...more,
});
const MiB = 2 ** 20;

describe("figures", () => {
  it("takes the median, and the worst of what must stay below a limit", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
    expect(percentile([1, 2, 3, 4], 0.99)).toBe(4);
    expect(percentile([1, 2, 3, 4], 0.5)).toBe(2);
    expect(summary([run(3), run(1, { rss: 9 }), run(2, { scratch: 7 })])).toMatchObject({
      wall: 2,
      fastest: 1,
      slowest: 3,
      rss: 9,
      scratch: 7,
      rounds: 3,
    });
  });

  it("fits a straight line", () => {
    expect(
      lineThrough([
        [1, 5],
        [2, 7],
        [4, 11],
      ]),
    ).toEqual({ slope: 2, intercept: 3 });
  });

  it("reads a process's CPU seconds", () => {
    const before = cpuSeconds(process.pid);
    const end = process.cpuUsage().user + 200_000;
    while (process.cpuUsage().user < end);
    expect(cpuSeconds(process.pid) - before).toBeGreaterThanOrEqual(0.15);
  });
});

describe("targets", () => {
  const one = cases.find(({ name }) => name === "qcow2-zlib");
  const measured = (wall) => ({ ...summary([run(wall)]), virtualSize: 8 });

  it("compares with the best way by hand", () => {
    const found = judge(one, {
      ours: measured(2),
      "hand-zstd": measured(9),
      "hand-pigz": measured(30),
      sha256: measured(1),
    });
    expect(found.map(({ pass }) => pass)).toEqual([true, true, false, true, true]);
    expect(found[0].limit).toBeCloseTo(2.25);
    expect(found[3].limit).toBe(200 * MiB);
  });

  it("leaves a target open where a side was not measured", () => {
    const [wall] = judge(one, {
      ours: measured(2),
      "hand-zstd": { absent: "zstd is not installed" },
      sha256: measured(1),
    });
    expect(wall).toEqual({ text: expect.stringContaining("hand"), open: "not measured: hand" });
  });

  it("judges memory and scratch by the worst of our sides", () => {
    const worse = { ...measured(2), rss: 250 * MiB, scratch: MiB };
    const [memory, scratch] = judge(
      { ...one, targets: [], sides: ["ours", "ours-http"] },
      { ours: measured(1), "ours-http": worse },
    );
    expect(memory).toMatchObject({ value: 250 * MiB, pass: false });
    expect(scratch).toMatchObject({ value: MiB, pass: false });
  });

  it("writes a table that says which target was not met", () => {
    const results = { ours: measured(5), "hand-zstd": measured(10), buildah: { absent: "buildah is not installed" } };
    const record = {
      ...one,
      date: "2000-01-01",
      commit: "0",
      machine: {},
      versions: {},
      input: { size: 5, virtualSize: 8 },
      sides: results,
      targets: judge(one, results),
    };
    const text = markdown([record]);
    expect(text).toContain("| qcow2-zlib | wall of ours ≤ 0.25 × hand | 5.00 s | 2.50 s | 2.00 | **not met** |");
    expect(text).toContain("| absent | buildah is not installed |");
    expect(text).toContain("0.50×");
  });
});

describe("the tables of cases, sides and inputs", () => {
  it("fit together", () => {
    for (const one of [...cases, ...smokeCases, ...scaling]) {
      const names = sideNames(one);
      expect(names.length, one.name).toBeGreaterThan(0);
      for (const name of names) {
        expect(sides[name], `${one.name}: ${name}`).toBeDefined();
        expect(inputs[sides[name].input ?? one.input], `${one.name}: ${name}`).toBeDefined();
        const { after } = sides[name];
        if (after !== undefined)
          expect(names.indexOf(after), `${one.name}: ${name} after ${after}`).toBeGreaterThan(-1);
        if (after !== undefined) expect(names.indexOf(after)).toBeLessThan(names.indexOf(name));
      }
    }
    for (const one of [...cases, ...scaling]) {
      for (const { needs } of [...one.targets, ...generalTargets(one)]) {
        for (const name of needs) expect(name === "hand" ? one.sides : sideNames(one), one.name).toContain(name);
      }
    }
    for (const { from } of Object.values(inputs)) if (from !== undefined) expect(inputs[from]).toBeDefined();
  });
});
