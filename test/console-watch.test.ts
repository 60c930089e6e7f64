/**
 * The console's live list in real Chromium, when the server no longer knows what came after the last thing it was told.
 */
import type { Socket } from "node:net";
import { afterEach, beforeEach, expect, it } from "vitest";

import { createLogger } from "../src/log/logger.ts";
import { consolePages } from "../src/service/console/console-pages.ts";
import type { ImageObject } from "../src/service/model/image.ts";
import { ConsolePage, launchChromium } from "./support/console-browser.ts";
import { startApi, type TestApi } from "./support/service-api.ts";
import { imageDraft, imageKey } from "./support/service-store-contract.ts";

let api: TestApi;
beforeEach(async () => {
  api = await startApi({ keptChanges: 5 });
  await api.app.register(consolePages, { log: createLogger({ output: { write: () => undefined } }) });
});
afterEach(() => api[Symbol.asyncDispose]());

it("it lists again after a 410, and shows what is there now", async () => {
  const url = await api.listen();
  let isAway = false;
  api.app.server.on("connection", (socket: Socket) => {
    if (isAway) socket.destroy();
  });
  const create = (name: string) => api.store.create<ImageObject>("clustervirtualimages", imageDraft(name));
  await create("removed-meanwhile");
  const browser = await launchChromium();
  try {
    await using opened = await ConsolePage.open(browser, url);
    const { page } = opened;
    const answers: string[] = [];
    page.on("response", (response) => {
      if (response.url().includes("clustervirtualimages"))
        answers.push(response.url().includes("watch=true") ? "watch" : "list");
    });
    const row = (name: string) => page.getByRole("row").filter({ hasText: name });
    await row("removed-meanwhile").waitFor();
    // By a change that it shows the watch is known to be open.
    await create("told-live");
    await row("told-live").waitFor();
    answers.length = 0;

    isAway = true;
    const cut = page.waitForEvent("requestfailed");
    api.app.server.closeAllConnections();
    await api.store.remove(imageKey("removed-meanwhile"));
    for (let count = 0; count < 10; count += 1) await create(`new-${count}`);
    api.store.sweep();
    await cut;
    isAway = false;
    await row("new-9").waitFor();
    expect(await row("removed-meanwhile").count()).toBe(0);
    // The watch that was told 410, the list, and the watch that goes on from there.
    await create("told-live-again");
    await row("told-live-again").waitFor();
    expect(answers).toEqual(["watch", "list", "watch"]);
    expect(opened.faults).toEqual([]);
  } finally {
    await browser.close();
  }
});
