import { describe, expect, it } from "vitest";

import { checkText, runText, shortBytes } from "../src/service/gc/report-text.ts";

const gi = 2 ** 30;

describe("what gc check prints", () => {
  const stale = (kind: "ClusterVirtualImage" | "VirtualImage", namespace: string, name: string) => ({
    kind,
    namespace,
    name,
    image: { repository: "", tag: "" },
  });
  const report = {
    images: { cvi: 2, vi: 5, vd: 0 },
    resources: { cvi: 1, vi: 5, vd: 0 },
    usage: { capacity: 36.35 * gi, used: 13.94 * gi, free: 22.41 * gi },
    stale: [stale("ClusterVirtualImage", "", "debian-12"), stale("VirtualImage", "default", "ubuntu-2204")],
    unknown: [],
    missing: 0,
  };

  it("is in the form of the platform's manual", () => {
    expect(checkText(report)).toBe(
      [
        "Found 2 cvi, 5 vi, 0 vd manifests in registry",
        "Found 1 cvi, 5 vi, 0 vd resources in cluster",
        "  Total     Used    Avail     Use%",
        "36.3GiB  13.9GiB  22.4GiB      39%",
        "Images eligible for cleanup:",
        "KIND                   NAMESPACE            NAME",
        "ClusterVirtualImage                         debian-12",
        "VirtualImage           default              ubuntu-2204",
        "",
      ].join("\n"),
    );
    expect(
      checkText({ ...report, stale: [] })
        .split("\n")
        .slice(4),
    ).toEqual(["No images eligible for auto-cleanup.", ""]);
    expect(runText({ removed: [], freed: 0, report })).toMatch(
      /^No images eligible for cleanup\.\nFreed space after cleanup: 0B\n {2}Total /,
    );
  });

  it.each([
    [0, "0B"],
    [1023, "1023B"],
    [1024, "1.00KiB"],
    [1.999 * 1024, "1.99KiB"],
    [36.39 * gi, "36.3GiB"],
    [512 * gi, "512GiB"],
    [1536 * gi, "1.50TiB"],
  ])("shows %d bytes as %s", (bytes, text) => {
    expect(shortBytes(bytes)).toBe(text);
  });
});
