import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";

import type { ApiRequest } from "../src/service/api/context.ts";
import { readOptions } from "../src/service/api/request-options.ts";
import { typeOf } from "../src/service/api/resource-types.ts";
import { WatchBudget, type BudgetLimits, type Holder } from "../src/service/api/watch-budget.ts";
import { Watches } from "../src/service/api/watches.ts";
import { createLogger } from "../src/log/logger.ts";
import type { KubeObject } from "../src/service/model/object.ts";
import { authorize, localAdmin } from "../src/service/security/authorize.ts";
import { startApi, type Json, type TestApi } from "./support/service-api.ts";

const cvis = "/apis/virtualization.deckhouse.io/v1alpha2/clustervirtualimages";
const count = 130;
const name = (index: number): string => `image-${String(index).padStart(3, "0")}`;
const image = (index: number, metadata: Json = {}): Json => ({
  apiVersion: "virtualization.deckhouse.io/v1alpha2",
  kind: "ClusterVirtualImage",
  metadata: { name: name(index), ...metadata },
  spec: { dataSource: { type: "Upload" } },
});

let api: TestApi;
beforeAll(async () => {
  api = await startApi();
  await Promise.all(
    Array.from({ length: count }, (_, index) =>
      api.request("POST", cvis, image(index, index % 2 === 0 ? { labels: { even: "yes" } } : {})),
    ),
  );
});
afterAll(async () => {
  await api[Symbol.asyncDispose]();
});

describe("a list that is longer than a page", () => {
  const all = Array.from({ length: count }, (_, index) => name(index));
  const namesIn = (list: Json): unknown[] =>
    (list["items"] as { metadata: { name: string } }[]).map(({ metadata }) => metadata.name);

  it("is sent whole, in order, as JSON and as YAML", async () => {
    const response = await api.request("GET", cvis);
    expect(response.headers["content-type"]).toContain("application/json");
    const list = response.json<Json>();
    expect(namesIn(list)).toEqual(all);
    expect(list).toMatchObject({ kind: "ClusterVirtualImageList", metadata: { resourceVersion: api.store.version() } });
    expect(list["metadata"]).not.toHaveProperty("continue");
    const yaml = await api.request("GET", cvis, undefined, { accept: "application/yaml" });
    expect(parse(yaml.body)).toEqual(list);
  });

  it("is sent whole as a table and as metadata alone", async () => {
    const accept = (form: string) => ({ accept: `application/json;as=${form};v=v1;g=meta.k8s.io` });
    const table = (await api.request("GET", cvis, undefined, accept("Table"))).json<Json>();
    expect((table["rows"] as { cells: string[] }[]).map(({ cells }) => cells[0])).toEqual(all);
    expect((table["columnDefinitions"] as unknown[]).length).toBeGreaterThan(2);
    const partial = (await api.request("GET", cvis, undefined, accept("PartialObjectMetadataList"))).json<Json>();
    expect(namesIn(partial)).toEqual(all);
  });

  it.each(["application/json", "application/yaml"])("may hold nothing that is selected, as %s", async (accept) => {
    const some = await api.request("GET", `${cvis}?labelSelector=even`, undefined, { accept });
    expect(namesIn(parse(some.body) as Json)).toEqual(all.filter((_, index) => index % 2 === 0));
    const none = await api.request("GET", `${cvis}?labelSelector=odd`, undefined, { accept });
    expect((parse(none.body) as Json)["items"]).toEqual([]);
  });

  it("comes in pages of 500 at most", async () => {
    const page = (await api.request("GET", `${cvis}?limit=100`)).json<Json>();
    expect(namesIn(page)).toEqual(all.slice(0, 100));
    expect(page["metadata"]).toMatchObject({ remainingItemCount: count - 100 });
  });
});

describe("a watch", () => {
  function open(limits: Partial<BudgetLimits>, query: Record<string, string> = {}) {
    const watches = new Watches(() => Promise.resolve(true), limits);
    const place = { type: typeOf("clustervirtualimages"), namespace: "", name: "" };
    const wanted = { form: "Object", yaml: false, metaVersion: "v1" } as const;
    const deps = { store: api.store, authorize, isCurrent: () => Promise.resolve(true), log: createLogger() };
    const measured = <T>(work: () => T): T => work();
    const request = { deps, place, subresource: "", query, user: localAdmin, wanted, warnings: [], measured };
    const body = watches.open(request as unknown as ApiRequest, readOptions(query));
    return { watches, body };
  }
  async function touch(index: number, note: string): Promise<void> {
    const key = { resource: "clustervirtualimages", namespace: "", name: name(index) } as const;
    const live = (await api.store.get<KubeObject>(key))!;
    const metadata = { ...live.metadata, annotations: { note } };
    await api.store.update<KubeObject>("clustervirtualimages", { ...live, metadata });
  }
  async function eventsOf(body: AsyncIterable<Buffer>): Promise<{ type: string; object: Json }[]> {
    let text = "";
    for await (const piece of body) text += piece.toString();
    const lines = text.split("\n").filter((line) => line !== "");
    return lines.map((line) => JSON.parse(line) as { type: string; object: Json });
  }

  it("reads no more of the state than its client has taken", async () => {
    const { watches, body } = open({});
    await expect.poll(() => body.readableLength).toBeGreaterThan(0);
    await new Promise((resolve) => setTimeout(resolve, 50));
    const held = body.readableLength;
    expect(held).toBeLessThan(60 * 1000);
    const seen: string[] = [];
    for await (const piece of body as AsyncIterable<Buffer>) {
      for (const line of piece.toString().trim().split("\n"))
        seen.push((JSON.parse(line) as { object: KubeObject }).object.metadata.name);
      if (seen.length === count) break;
    }
    expect(seen).toEqual(Array.from({ length: count }, (_, index) => name(index)));
    watches.close();
  });

  it("that nobody reads is ended with 410 beyond its share, and holds nothing any more", async () => {
    const { watches, body } = open({ each: 20_000 }, { resourceVersion: api.store.version() });
    for (let round = 0; round < 10; round += 1) await touch(0, `${String(round)}${"x".repeat(5000)}`);
    const events = await eventsOf(body as AsyncIterable<Buffer>);
    expect(events.at(-1)).toMatchObject({ type: "ERROR", object: { reason: "Expired", code: 410 } });
    expect(events.length).toBeLessThan(6);
    await expect.poll(() => watches.count).toBe(0);
    watches.close();
  });

  it("that is read gets everything under the same limits", async () => {
    const { watches, body } = open({ each: 20_000 }, { resourceVersion: api.store.version() });
    const read = eventsOf(body as AsyncIterable<Buffer>);
    for (let round = 0; round < 10; round += 1) {
      await touch(1, `${String(round)}${"x".repeat(5000)}`);
      await new Promise((resolve) => setTimeout(resolve, 120));
    }
    watches.close();
    const notes = (await read).map(
      ({ object }) => (object["metadata"] as KubeObject["metadata"]).annotations?.["note"]?.[0],
    );
    expect(notes).toEqual(["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
  });
});

describe("the budget of watches", () => {
  class Fake implements Holder {
    held = 0;
    ended = false;
    readonly owner: string;
    readonly #budget: WatchBudget;
    constructor(owner: string, budget: WatchBudget) {
      this.owner = owner;
      this.#budget = budget;
    }
    grow(bytes: number): this {
      this.held += bytes;
      this.#budget.change(this, bytes);
      return this;
    }
    expire(): void {
      this.ended = true;
      this.grow(-this.held);
    }
  }

  it("ends the largest of a user who holds too much, and nobody else's", () => {
    const budget = new WatchBudget({ each: 100, user: 150, all: 1000 });
    const [small, large, last] = [
      new Fake("a", budget).grow(40),
      new Fake("a", budget).grow(90),
      new Fake("a", budget),
    ];
    const other = new Fake("b", budget).grow(99);
    last.grow(50);
    expect([small, large, last, other].map(({ ended }) => ended)).toEqual([false, true, false, false]);
    expect(budget.held).toBe(189);
  });

  it("ends those of the user who holds the most where all hold too much", () => {
    const budget = new WatchBudget({ each: 100, user: 150, all: 200 });
    const greedy = [new Fake("a", budget).grow(60), new Fake("a", budget).grow(70)];
    const honest = [new Fake("b", budget).grow(50), new Fake("b", budget).grow(40)];
    expect(greedy.map(({ ended }) => ended)).toEqual([false, true]);
    expect(honest.map(({ ended }) => ended)).toEqual([false, false]);
    expect(budget.held).toBe(150);
  });

  it("ends one that is too large alone", () => {
    const budget = new WatchBudget({ each: 100, user: 150, all: 200 });
    expect(new Fake("a", budget).grow(101).ended).toBe(true);
    expect(budget.held).toBe(0);
  });
});
