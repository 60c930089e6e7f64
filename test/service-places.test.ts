/** Places for imports: who gets the next one, and when one is given back. */
import { describe, expect, it } from "vitest";

import type { Place } from "../src/service/executor/local/place.ts";
import { Places } from "../src/service/executor/local/places.ts";
import { eventually } from "./support/pod.ts";
import { latch } from "./support/uploader.ts";

const enough = { begunByNamespace: 100, begun: 100 };

/** Members that hold their place until they are let go, and the order in which they got it. */
class Crowd {
  readonly order: string[] = [];
  readonly ended: string[] = [];
  readonly cpu = new Map<string, number>();
  readonly places: Places;
  readonly #gates = new Map<string, ReturnType<typeof latch>>();
  readonly #aborts = new Map<string, AbortController>();
  readonly held = new Map<string, Place>();

  constructor(places: Places) {
    this.places = places;
  }

  /** `name` is `NAMESPACE/NUMBER`. */
  join(name: string, work?: (place: Place) => Promise<unknown>): Promise<unknown> {
    const gate = latch();
    const abort = new AbortController();
    this.#gates.set(name, gate);
    this.#aborts.set(name, abort);
    const member = {
      namespace: name.split("/")[0] ?? "",
      signal: abort.signal,
      cpuSeconds: () => this.cpu.get(name) ?? 0,
      end: (reason: Error) => abort.abort(reason),
    };
    return this.places
      .run(member, async (place) => {
        this.order.push(name);
        this.held.set(name, place);
        await (work?.(place) ?? gate.opened);
      })
      .catch((error: unknown) => {
        this.ended.push(`${name} ${(error as { code: string }).code}`);
      });
  }

  /** Until whoever has a place has begun. */
  async begun(): Promise<string[]> {
    await new Promise((resolve) => setImmediate(resolve));
    return this.order;
  }

  async leave(name: string, ...next: string[]): Promise<void> {
    this.#gates.get(name)?.open();
    await eventually(() => Promise.resolve(next.every((one) => this.order.includes(one))));
  }

  onAbort(name: string, listener: (reason: unknown) => void): void {
    const signal = this.#aborts.get(name)!.signal;
    signal.addEventListener("abort", () => listener(signal.reason), { once: true });
  }

  abort(name: string): void {
    this.#aborts.get(name)?.abort();
  }
}

describe("a free place", () => {
  it("goes to the namespace that holds none, whoever came first", async () => {
    const crowd = new Crowd(new Places({ places: 2, ...enough }));
    const all = ["a/1", "a/2", "a/3", "a/4", "b/1"].map((name) => crowd.join(name));
    expect(await crowd.begun()).toEqual(["a/1", "a/2"]);
    await crowd.leave("a/1", "b/1");
    await crowd.leave("b/1", "a/3");
    await crowd.leave("a/2", "a/4");
    expect(crowd.order).toEqual(["a/1", "a/2", "b/1", "a/3", "a/4"]);
    for (const name of ["a/3", "a/4"]) await crowd.leave(name);
    await Promise.all(all);
    for (const use of crowd.places.use()) expect(use).toMatchObject({ held: 0, waiting: 0, idle: 0 });
  });

  it("goes to the namespace that has used less CPU, where none holds one", async () => {
    const crowd = new Crowd(new Places({ places: 1, ...enough }));
    const all = ["a/1", "a/2", "b/1"].map((name) => crowd.join(name));
    crowd.cpu.set("a/1", 600);
    await crowd.leave("a/1", "b/1");
    crowd.cpu.set("b/1", 10);
    all.push(crowd.join("b/2"));
    await crowd.leave("b/1", "b/2");
    expect(crowd.order).toEqual(["a/1", "b/1", "b/2"]);
    await crowd.leave("b/2", "a/2");
    await crowd.leave("a/2");
    await Promise.all(all);
    expect(crowd.places.use().find(({ namespace }) => namespace === "a")?.cpuSeconds).toBe(600);
  });

  it("is not for a member that was cancelled while it waited", async () => {
    const crowd = new Crowd(new Places({ places: 1, ...enough }));
    const all = ["a/1", "a/2", "a/3"].map((name) => crowd.join(name));
    crowd.abort("a/2");
    await crowd.leave("a/1", "a/3");
    expect(crowd.order).toEqual(["a/1", "a/3"]);
    expect(crowd.ended).toEqual(["a/2 E_CANCELLED"]);
    await crowd.leave("a/3");
    await Promise.all(all);
  });
});

describe("a place", () => {
  it("is given back while bytes are awaited, and taken again when they come", async () => {
    const crowd = new Crowd(new Places({ places: 1, ...enough }));
    const bytes = latch();
    const waits = crowd.join("a/1", async (place) => {
      await place.awaiting(bytes.opened);
      await place.take();
      crowd.order.push("a/1 again");
    });
    const other = crowd.join("a/2");
    await eventually(() => Promise.resolve(crowd.order.includes("a/2")));
    bytes.open();
    await eventually(() => Promise.resolve(crowd.held.get("a/1")?.isWaiting === true));
    expect(crowd.order).toEqual(["a/1", "a/2"]);
    await crowd.leave("a/2", "a/1 again");
    await Promise.all([waits, other]);
  });

  it("is kept by a member that computes while another one's bytes are awaited", async () => {
    const crowd = new Crowd(new Places({ places: 1, ...enough }));
    const first = crowd.join("a/1");
    const second = crowd.join("b/1");
    await new Promise((resolve) => setTimeout(resolve, 600));
    expect(crowd.order).toEqual(["a/1"]);
    await crowd.leave("a/1", "b/1");
    await crowd.leave("b/1");
    await Promise.all([first, second]);
  });
});

describe("a member that computes for long", () => {
  it("gives way after its slice, and goes on before those of its namespace who came later", async () => {
    const crowd = new Crowd(new Places({ places: 1, ...enough, sliceMs: 50 }));
    const slice = latch();
    const long = crowd.join("a/1", async (place) => {
      await slice.opened;
      await place.take();
      crowd.order.push("a/1 again");
    });
    const others = ["a/2", "b/1"].map((name) => crowd.join(name));
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(await crowd.begun()).toEqual(["a/1"]);
    slice.open();
    await eventually(() => Promise.resolve(crowd.order.includes("b/1")));
    await crowd.leave("b/1", "a/1 again", "a/2");
    expect(crowd.order).toEqual(["a/1", "b/1", "a/1 again", "a/2"]);
    await crowd.leave("a/2");
    await Promise.all([long, ...others]);
  });
});

describe("members that have begun", () => {
  it("are bounded by namespace and in all", async () => {
    const crowd = new Crowd(new Places({ places: 10, begunByNamespace: 2, begun: 3 }));
    const all = ["a/1", "a/2", "a/3", "b/1", "c/1"].map((name) => crowd.join(name));
    expect(await crowd.begun()).toEqual(["a/1", "a/2", "b/1"]);
    await crowd.leave("b/1", "c/1");
    expect(crowd.order).toEqual(["a/1", "a/2", "b/1", "c/1"]);
    await crowd.leave("a/1", "a/3");
    for (const name of ["a/2", "a/3", "c/1"]) await crowd.leave(name);
    await Promise.all(all);
  });

  it("give way when they wait for bytes for long and another cannot begin", async () => {
    const places = new Places({ places: 2, begunByNamespace: 1, begun: 10, idleMs: 300 });
    const crowd = new Crowd(places);
    const never = latch();
    const idle = crowd.join("a/1", (place) => place.awaiting(Promise.race([never.opened, cancelled(crowd, "a/1")])));
    const next = crowd.join("a/2");
    await eventually(() => Promise.resolve(crowd.order.includes("a/2")));
    expect(crowd.ended).toEqual(["a/1 E_GAVE_WAY"]);
    await crowd.leave("a/2");
    await Promise.all([idle, next]);
  });
});

/** Rejects when the member is ended. */
function cancelled(crowd: Crowd, name: string): Promise<never> {
  return new Promise((_resolve, reject) => {
    crowd.onAbort(name, reject);
  });
}
