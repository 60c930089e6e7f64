/** How the web console is served, who may see what in it, and that it heals after its server was away. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { ConsolePage, launchChromium } from "./support/console-browser.ts";
import { ServeProcess } from "./support/service-serve.ts";
import { temporaryDirectory, tool } from "./support/tools.ts";

const images = "/apis/virtualization.deckhouse.io/v1alpha2/clustervirtualimages";
const draft = (name: string): unknown => ({
  apiVersion: "virtualization.deckhouse.io/v1alpha2",
  kind: "ClusterVirtualImage",
  metadata: { name },
  spec: { dataSource: { type: "Upload" } },
});

let browser: Browser;
beforeAll(async () => {
  browser = await launchChromium();
});
afterAll(() => browser.close());

describe("the console's files", () => {
  it(
    "are kept by browsers where their name holds a digest, asked for again where not, and run " + "nothing inline",
    async () => {
      await using server = await ServeProcess.start();
      const page = await fetch(server.url);
      const html = await page.text();
      expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
      expect(page.headers.get("cache-control")).toBe("no-cache");
      const policy = page.headers.get("content-security-policy") ?? "";
      expect(policy).toContain("default-src 'none'");
      expect(policy).toContain("script-src 'self'");
      expect(policy).not.toContain("unsafe");
      expect(html).not.toMatch(/<script(?![^>]*\ssrc=)|<style|\son\w+=|https?:/);
      // Not by fetch, which tells caches on the way not to answer 304.
      expect(
        await tool(
          "curl",
          "-s",
          "-o",
          "/dev/null",
          "-w",
          "%{http_code}",
          "-H",
          `If-None-Match: ${page.headers.get("etag")!}`,
          server.url,
        ),
      ).toBe("304");

      const assets = [...html.matchAll(/(?:src|href)="\.?(\/assets\/[^"]+)"/g)].map((match) => match[1]!);
      expect(assets.length).toBeGreaterThanOrEqual(3);
      for (const asset of assets) {
        const answer = await fetch(server.url + asset);
        expect([asset, answer.status, answer.headers.get("cache-control")]).toEqual([
          asset,
          200,
          "public, max-age=31536000, immutable",
        ]);
        expect(answer.headers.get("x-content-type-options")).toBe("nosniff");
      }
      for (const path of ["/create", "/images/cvi/x", "/images/vi/a/b"])
        expect(await (await fetch(server.url + path)).text()).toBe(html);
      for (const path of [
        "/nothing",
        "/assets/",
        "/assets/..%2findex.html",
        "/assets/%2e%2e/.built-from",
        "/.built-from",
      ]) {
        expect([path, (await fetch(server.url + path)).status]).toEqual([path, 404]);
      }
      const bytes = (
        await Promise.all(
          assets.map(async (asset) => (await (await fetch(server.url + asset)).arrayBuffer()).byteLength),
        )
      ).reduce((sum, one) => sum + one, 0);
      expect(bytes).toBeLessThan(150_000);
    },
  );
});

describe("a server that asks for tokens", () => {
  it("shows a form, takes the token for this tab only, and shows to a viewer what a viewer may see", async () => {
    await using directory = await temporaryDirectory();
    const tokenFile = join(directory.path, "tokens.yaml");
    const users = [
      { name: "ann", token: "token-of-ann-1234567890", roles: [{ role: "admin" }] },
      { name: "vic", token: "token-of-vic-1234567890", roles: [{ role: "view" }] },
    ];
    await writeFile(tokenFile, JSON.stringify({ users }));
    await using server = await ServeProcess.start("--token-file", tokenFile);
    await using opened = await ConsolePage.open(browser, server.url, "/create");
    const { page } = opened;
    const form = page.getByRole("heading", { name: "Sign in" });
    await form.waitFor();
    await opened.picture("sign-in");
    expect(await opened.violations()).toEqual([]);
    await page.getByLabel("Token").fill("a-wrong-token-1234567890");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("The server does not accept this token").waitFor();
    await page.getByLabel("Token").fill(users[0]!.token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByLabel("Upload from Computer").check();
    await page.getByLabel("Name", { exact: true }).fill("secret-upload");
    await page.getByRole("button", { name: "Create Image" }).click();
    await page.locator(".phase-card [data-phase=WaitForUserUpload]").waitFor();
    expect(await page.context().cookies()).toEqual([]);

    await page.getByRole("button", { name: "Sign out" }).click();
    await form.waitFor();
    await page.reload();
    await form.waitFor();
    await page.getByLabel("Token").fill(users[1]!.token);
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("shown only to those who may change this image").waitFor();
    expect(await page.locator("main").innerText()).not.toContain("/upload/");
    await page.getByRole("button", { name: "Delete", exact: true }).click();
    await page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
    await page
      .getByRole("dialog")
      .getByRole("alert")
      .filter({ hasText: /forbidden/ })
      .waitFor();
    await opened.picture("delete-forbidden");
    expect(opened.faults).toEqual([]);
  });
});

describe("a server that was away", () => {
  it("is found again, and what changed meanwhile is shown", async () => {
    await using server = await ServeProcess.start();
    await server.json(images, "POST", draft("before"));
    await using opened = await ConsolePage.open(browser, server.url);
    const { page } = opened;
    await page.locator("[data-name=before] [data-phase=WaitForUserUpload]").waitFor();
    await server.json(images, "POST", draft("live"));
    await page.locator("[data-name=live]").waitFor();
    await server.stop("SIGKILL");
    await page.getByText("The connection to the server was lost").waitFor();
    await opened.picture("list-reconnecting");
    await server.startAgain();
    await server.json(images, "POST", draft("after"));
    await page.locator("[data-name=after]").waitFor({ timeout: 60_000 });
    await page.getByText("The connection to the server was lost").waitFor({ state: "detached" });
    await server.json(`${images}/live`, "DELETE");
    await page.locator("[data-name=live]").waitFor({ state: "detached" });
    await page.getByLabel("Search by name").fill("aft");
    await page.locator("[data-name=before]").waitFor({ state: "detached" });
    expect(await page.locator("tbody tr").count()).toBe(1);
  });
});
