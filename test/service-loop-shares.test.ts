/** A user whose requests keep the event loop waits for its turn; nobody else does. */
import { afterEach, describe, expect, it } from "vitest";

import { BodyBudget } from "../src/service/api/body-budget.ts";
import { LoopShares } from "../src/service/api/loop-shares.ts";
import type { User } from "../src/service/security/authorize.ts";
import { startApi, type TestApi } from "./support/service-api.ts";

const tooMany: unknown = expect.objectContaining({ status: 429, details: { retryAfterSeconds: 1 } });

describe("shares of the event loop", () => {
  let clock = 0;
  const shares = (limits = {}) => new LoopShares({ busy: 2, ...limits }, () => clock);
  const take = (of: LoopShares, user: string, milliseconds: number): void => {
    of.measured(user, () => (clock += milliseconds));
  };

  it("let go on whoever has taken no more than a burst", () => {
    const of = shares({ burst: 300 });
    take(of, "red", 250);
    expect(of.turn("red")).toBeUndefined();
    take(of, "red", 250);
    expect(of.turn("red")).toBeInstanceOf(Promise);
    expect(of.turn("honest")).toBeUndefined();
  });

  it("give the next turn once the debt is paid off, to one request at a time", async () => {
    const of = shares({ burst: 10, share: 0.5 });
    take(of, "red", 50);
    const order: number[] = [];
    const waiting = [1, 2].map((index) => of.turn("red")!.then(() => order.push(index)));
    await new Promise((resolve) => setTimeout(resolve, 120));
    expect(order).toEqual([]);
    clock += 1000;
    await Promise.race(waiting);
    expect(order).toEqual([1]);
    await Promise.all(waiting);
    expect(order).toEqual([1, 2]);
  });

  it("refuse with 429 what would wait behind too many", () => {
    const of = shares({ burst: 0, waiting: 2 });
    take(of, "red", 1e9);
    void of.turn("red");
    void of.turn("red");
    expect(() => of.turn("red")).toThrow(tooMany);
    expect(of.turn("green")).toBeUndefined();
  });

  it("refuse those that wait when the service stops", async () => {
    const of = shares({ burst: 0 });
    take(of, "red", 1e6);
    const waiting = of.turn("red");
    of.close();
    await expect(waiting).rejects.toEqual(tooMany);
  });

  it("count what has failed, too", () => {
    const of = shares({ burst: 10 });
    expect(() =>
      of.measured("red", () => {
        clock += 100;
        throw new Error("refused");
      }),
    ).toThrow("refused");
    expect(of.turn("red")).toBeInstanceOf(Promise);
  });
});

describe("memory for bodies", () => {
  it("has a total and a share per user, and is given back once", () => {
    const budget = new BodyBudget({ user: 100, all: 150 });
    const giveBack = budget.take("red", "60", false);
    expect(() => budget.take("red", "60", false)).toThrow(tooMany);
    const other = budget.take("green", "90", false);
    expect(() => budget.take("blue", "1", false)).toThrow(tooMany);
    expect(() => budget.take("blue", undefined, false)).not.toThrow();
    other();
    other();
    giveBack();
    budget.take("red", "100", false);
    budget.take("green", "50", false);
    expect(() => budget.take("blue", "1", false)).toThrow(tooMany);
  });

  it("counts a body of unknown length as the longest", () => {
    expect(() => new BodyBudget({ user: 2 ** 20 }).take("red", undefined, true)).toThrow(tooMany);
  });
});

describe("the API", () => {
  let api: TestApi;
  afterEach(() => api[Symbol.asyncDispose]());
  const user = (name: string): User => ({ name, groups: [], grants: [{ role: "edit" }] });
  const cvis = "/apis/virtualization.deckhouse.io/v1alpha2/clustervirtualimages";
  const image = { apiVersion: "virtualization.deckhouse.io/v1alpha2", kind: "ClusterVirtualImage" };

  it.each<[string, string, string, unknown, Record<string, string>]>([
    ["a list", "GET", cvis, undefined, {}],
    ["a refused body", "POST", cvis, { ...image, spec: 1 }, {}],
    ["a patch", "PATCH", `${cvis}/live`, [], { "content-type": "application/json-patch+json" }],
    [
      "an applied object",
      "PATCH",
      `${cvis}/live?fieldManager=me`,
      image,
      { "content-type": "application/apply-patch+yaml" },
    ],
    ["a review", "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {}, {}],
  ])("has %s counted: its user waits, another does not", async (_what, method, url, body, headers) => {
    api = await startApi({}, { shares: new LoopShares({ burst: 0, share: 1e-9, busy: 2 }) });
    await api.request(method, url, body, headers, user("red"));
    const next = api.request("GET", cvis, undefined, {}, user("red")).then(() => "answered");
    const other = api.request("GET", cvis, undefined, {}, user("honest")).then(({ statusCode }) => statusCode);
    expect(await Promise.race([next, other])).toBe(200);
    expect(await Promise.race([next, new Promise((resolve) => setTimeout(resolve, 100, "waits"))])).toBe("waits");
  });
});
