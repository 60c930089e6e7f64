/**
 * Real kubectl against a real `dvcr serve` that imports: the platform manual's commands, from the manifest to the
 * stored disk.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { ImageStatus } from "../src/service/model/image.ts";
import { makeRawDisk, qemuConvert, textDisk } from "./support/disks.ts";
import { Origin, Sluice } from "./support/origin.ts";
import { curl, eventually } from "./support/pod.ts";
import { pullDisk } from "./support/pulled.ts";
import { hexOf } from "./support/sample-image.ts";
import { columnsOf, Kubectl, manifest } from "./support/service-api.ts";
import { ServeProcess } from "./support/service-serve.ts";
import { temporaryDirectory } from "./support/tools.ts";

let work: Awaited<ReturnType<typeof temporaryDirectory>>;
let service: ServeProcess;
let kubectl: Kubectl;
/** A qcow2, as most images for virtual machines are, and the digest of its disk. */
let image: Buffer;
let diskDigest: string;
const at = (name: string): string => join(work.path, name);

beforeAll(async () => {
  work = await temporaryDirectory();
  const raw = await makeRawDisk(at("disk.raw"), 16);
  diskDigest = hexOf(await readFile(raw));
  image = await readFile(await qemuConvert(raw, at("disk.qcow2"), "-O", "qcow2"));
  service = await ServeProcess.start();
  kubectl = await Kubectl.at(service.url, work.path);
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
  await work[Symbol.asyncDispose]();
});

const group = "virtualization.deckhouse.io";
const apply = (text: string, ...flags: string[]): Promise<string> => kubectl.ok(["apply", ...flags, "-f", "-"], text);
const waitForReady = (...image: string[]): Promise<string> =>
  kubectl.ok(["wait", "--for=condition=Ready", "--timeout=100s", ...image]);

async function statusOf(...image: string[]): Promise<ImageStatus> {
  return (JSON.parse(await kubectl.ok(["get", ...image, "-o", "json"])) as { status?: ImageStatus }).status ?? {};
}

async function inPhase(phase: string, ...image: string[]): Promise<ImageStatus> {
  return await eventually(async () => {
    const status = await statusOf(...image);
    return status.phase === phase ? status : undefined;
  });
}

async function storedDigest(...image: string[]): Promise<string> {
  const { target } = await statusOf(...image);
  return (await pullDisk(`docker://${target?.registryURL ?? ""}`, work.path)).digest;
}

interface Row {
  readonly phase: string;
  readonly cdrom: string;
  readonly progress: string;
}

/** What `get -w` shows; cells are empty before there is something to show. */
function rowsOf(text: string): Row[] {
  return text
    .split("\n")
    .slice(1, -1)
    .map((line) => {
      const {
        phase = "",
        cdrom = "",
        progress = "",
      } = /^\S+ +(?<phase>[A-Z]\w+)? +(?<cdrom>true|false)? +(?<progress>[\d.]+%)? +\d\w*$/.exec(line)?.groups ??
      expect.unreachable(line);
      return { phase, cdrom, progress };
    });
}

describe("an HTTP image", () => {
  it("is watched through its whole import, waited for, described and pulled", async () => {
    const sluice = new Sluice();
    await using origin = await Origin.start(image, () => ({ sluice }));
    const url = `${origin.url}/minimal/releases/jammy/release/ubuntu-22.04-minimal-cloudimg-amd64.img`;
    expect(await apply(manifest("ubuntu-22-04", { url }))).toBe(`clustervirtualimage.${group}/ubuntu-22-04 created\n`);
    const watching = kubectl.start(["get", "cvi", "ubuntu-22-04", "-w"]);
    const waiting = kubectl.start(["wait", "--for=condition=Ready", "--timeout=100s", "cvi/ubuntu-22-04"]);
    const rows = (): Row[] => rowsOf(watching.text());
    const percents = (): number[] =>
      rows()
        .filter(({ progress }) => progress !== "")
        .map(({ progress }) => Number.parseFloat(progress));
    await eventually(() => rows().some(({ phase }) => phase === "Provisioning"));
    for (const share of [0.25, 0.5, 0.75]) {
      const before = percents().at(-1) ?? 0;
      sluice.open(Math.floor(image.length * share));
      await eventually(() => (percents().at(-1) ?? 0) > before);
    }
    expect(waiting.child.exitCode).toBeNull();
    sluice.open();
    expect([await waiting.ended, waiting.text()]).toEqual([
      0,
      `clustervirtualimage.${group}/ubuntu-22-04 condition met\n`,
    ]);
    await eventually(() => rows().at(-1)?.phase === "Ready");
    watching.child.kill();

    expect(columnsOf(watching.text().split("\n")[0]!)).toEqual(["NAME", "PHASE", "CDROM", "PROGRESS", "AGE"]);
    const phases = rows().map(({ phase }) => phase);
    const waited = ["", "Pending"];
    expect(phases.filter((phase, index) => phase !== phases[index - 1] && !waited.includes(phase))).toEqual([
      "Provisioning",
      "Ready",
    ]);
    expect(rows().at(-1)).toEqual({ phase: "Ready", cdrom: "false", progress: "100%" });
    expect(percents()).toEqual([...percents()].sort((a, b) => a - b));
    expect(new Set(percents()).size).toBeGreaterThan(3);

    const { size, target } = await statusOf("cvi", "ubuntu-22-04");
    const [header, row] = (await kubectl.ok(["get", "cvi", "ubuntu-22-04", "-o", "wide"])).split("\n");
    expect(columnsOf(header!)).toEqual([
      "NAME",
      "PHASE",
      "CDROM",
      "PROGRESS",
      "STOREDSIZE",
      "UNPACKEDSIZE",
      "REGISTRY URL",
      "AGE",
    ]);
    expect(columnsOf(row!).slice(0, 7)).toEqual([
      "ubuntu-22-04",
      "Ready",
      "false",
      "100%",
      size?.stored,
      "16Mi",
      target?.registryURL,
    ]);
    const uid = await kubectl.ok(["get", "cvi", "ubuntu-22-04", "-o", "jsonpath={.metadata.uid}"]);
    expect(target?.registryURL).toBe(`${new URL(service.url).host}/cvi/ubuntu-22-04:${uid}`);

    // The last event is written after the phase.
    const text = await eventually(async () => {
      const described = await kubectl.ok(["describe", "cvi", "ubuntu-22-04"]);
      return described.includes("DataSourceImportCompleted") ? described : undefined;
    });
    const inOrder = [
      /Reason:\s+DatasourceReady\s+Status:\s+True\s+Type:\s+DatasourceReady\s/,
      /Reason:\s+Ready\s+Status:\s+True\s+Type:\s+Ready\s/,
      /Normal\s+DataSourceImportStarted\s+\S+\s+dvcr-images\s+The import has started\n/,
      /Normal\s+DataSourceImportCompleted\s+\S+\s+dvcr-images\s+The image is stored\n/,
    ];
    expect(text).toMatch(new RegExp(inOrder.map(({ source }) => source).join("[^]*")));
    expect(await storedDigest("cvi", "ubuntu-22-04")).toBe(diskDigest);
  });

  it("whose spec changes is imported anew before it is Ready, and refused after", async () => {
    const [first, second] = [textDisk(4 << 20, 3), textDisk(4 << 20, 5)];
    await using origin = await Origin.start(first, ({ url }) =>
      url === "/first.img" ? { stallAfter: 1 << 20 } : { content: second },
    );
    const from = (name: string): string => manifest("changed", { url: `${origin.url}/${name}.img` });
    await apply(from("first"));
    await inPhase("Provisioning", "cvi", "changed");
    await eventually(() => origin.active === 1);
    expect(await apply(from("second"))).toBe(`clustervirtualimage.${group}/changed configured\n`);
    await waitForReady("cvi/changed");
    expect(await storedDigest("cvi", "changed")).toBe(hexOf(second));
    await eventually(() => origin.active === 0);

    const refused = await kubectl.fails(["apply", "-v=6", "-f", "-"], from("third"));
    expect(refused).toContain("422 Unprocessable Entity");
    expect(refused).toContain(
      'The ClusterVirtualImage "changed" is invalid: spec: Forbidden: ClusterVirtualImage is in ' +
        "a Ready state: configuration changes are not available\n",
    );
    expect(await apply(from("second"))).toContain("changed unchanged");
    expect(origin.seen.map(({ url }) => url)).not.toContain("/third.img");
    expect(await storedDigest("cvi", "changed")).toBe(hexOf(second));
  });

  it("that is deleted during its import is gone, with its connection and all that was stored", async () => {
    const files = async (): Promise<string[]> =>
      (await readdir(join(service.dataDirectory, "images"), { recursive: true })).sort();
    await using origin = await Origin.start(image, () => ({ stallAfter: image.length - (1 << 20) }));
    const before = await files();
    await apply(manifest("doomed", { url: origin.url }));
    await inPhase("Provisioning", "cvi", "doomed");
    await eventually(async () => origin.active === 1 && (await files()).length > before.length);
    expect(await kubectl.ok(["delete", "cvi", "doomed"])).toMatch(
      /^clustervirtualimage\.virtualization\.deckhouse\.io "doomed" deleted/,
    );
    expect(await files()).toEqual(before);
    expect(await kubectl.fails(["get", "cvi", "doomed"])).toContain(`clustervirtualimages.${group} "doomed" not found`);
    expect((await service.json<{ repositories: string[] }>("/v2/_catalog")).repositories).not.toContain("cvi/doomed");
    await eventually(() => origin.active === 0);
  });
});

describe("an image to be uploaded", () => {
  it("has its URLs in its status, takes a file by curl -T, and answers 404 once it is Ready", async () => {
    await apply(manifest("some-image").replace(/type: HTTP[^]*/, "type: Upload\n"));
    await inPhase("WaitForUserUpload", "cvi", "some-image");
    const urls = JSON.parse(
      await kubectl.ok(["get", "cvi", "some-image", "-o", "jsonpath={.status.imageUploadURLs}"]),
    ) as { external: string; inCluster: string };
    for (const url of [urls.external, urls.inCluster])
      expect(url).toMatch(new RegExp(`^${service.url}/upload/\\w{32}$`));
    const { code, stderr } = await curl("--fail", "-T", at("disk.qcow2"), urls.external).done;
    expect([code, stderr]).toEqual([0, ""]);
    await waitForReady("cvi/some-image");
    expect(await storedDigest("cvi", "some-image")).toBe(diskDigest);
    for (const url of [urls.external, urls.inCluster]) {
      expect((await curl("-o", at("answer"), "-w", "%{http_code}", "-T", at("disk.qcow2"), url).done).stdout).toBe(
        "404",
      );
    }
    expect(await kubectl.ok(["get", "cvi", "some-image", "-o", "jsonpath={.status.imageUploadURLs}"])).toBe("");
  });
});

describe("a VirtualImage", () => {
  it("makes its namespace, is listed there, and copies a ClusterVirtualImage", async () => {
    expect(await kubectl.fails(["get", "namespace", "team-a"])).toContain('namespaces "team-a" not found');
    {
      await using origin = await Origin.start(image);
      await apply(manifest("base", { url: origin.url }));
      await apply(manifest("own", { url: origin.url, kind: "VirtualImage" }), "-n", "team-a");
      await waitForReady("cvi/base");
      await waitForReady("vi/own", "-n", "team-a");
    }
    expect(await kubectl.ok(["get", "namespace", "team-a"])).toMatch(/team-a\s+Active/);
    // The source has gone: only the store has the bytes of a copy.
    const reference = "type: ObjectRef\n    objectRef:\n      kind: ClusterVirtualImage\n      name: base\n";
    await apply(manifest("copy", { kind: "VirtualImage" }).replace(/type: HTTP[^]*/, reference), "-n", "team-a");
    await waitForReady("vi/copy", "-n", "team-a");

    const [header, ...rows] = (await kubectl.ok(["get", "vi", "-n", "team-a"])).trim().split("\n").map(columnsOf);
    expect(header).toEqual(["NAME", "PHASE", "CDROM", "PROGRESS", "AGE"]);
    expect(rows.map((cells) => cells.slice(0, 4))).toEqual([
      ["copy", "Ready", "false", "100%"],
      ["own", "Ready", "false", "100%"],
    ]);
    for (const name of ["own", "copy"]) {
      expect((await statusOf("vi", name, "-n", "team-a")).target?.registryURL).toContain(`/vi/team-a/${name}:`);
      expect(await storedDigest("vi", name, "-n", "team-a")).toBe(diskDigest);
    }
  });
});
