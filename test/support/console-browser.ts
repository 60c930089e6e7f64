/** Real Chromium for the console: pages, pictures of them, and what a check of accessibility finds. */
import axe from "axe-core";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium, type Browser, type BrowserContext, type BrowserContextOptions, type Page } from "playwright-core";

import { tool } from "./tools.ts";

/** Kept after the tests, for whoever wants to look; ignored by git. */
const pictures = fileURLToPath(new URL("../output/console/", import.meta.url));

/** Debian's browser. As root it has no sandbox of its own, and needs none here: it sees the console only. */
export async function launchChromium(): Promise<Browser> {
  const executablePath = (
    await tool("sh", "-c", "command -v chromium || echo 'chromium (Debian package chromium) is missing' >&2")
  ).trim();
  return await chromium.launch({ executablePath, args: ["--no-sandbox"] });
}

/** A page of the console, with everything that it did wrong on the way. */
export class ConsolePage implements AsyncDisposable {
  readonly page: Page;
  readonly #context: BrowserContext;
  readonly #base: string;
  /**
   * Errors of scripts, breaches of the content security policy, requests to anywhere else: none may be here at the end.
   */
  readonly faults: string[] = [];
  /** Content-Range of every PUT. */
  readonly ranges: string[] = [];

  private constructor(context: BrowserContext, page: Page, base: string) {
    this.#context = context;
    this.page = page;
    this.#base = base;
    page.on("pageerror", (error) => this.faults.push(error.message));
    page.on("console", (message) => {
      const isAnswer = message.text().startsWith("Failed to load resource");
      if (message.type() === "error" && !isAnswer) this.faults.push(message.text());
    });
    page.on("request", (request) => {
      if (!request.url().startsWith(`${base}/`) && !request.url().startsWith("blob:"))
        this.faults.push(`a request to ${request.url()}`);
      if (request.method() === "PUT") this.ranges.push(request.headers()["content-range"] ?? "");
    });
    page.setDefaultTimeout(30_000);
  }

  /** Opens `path` of the server at `base` in a browser profile of its own. */
  static async open(
    browser: Browser,
    base: string,
    path = "/",
    options: BrowserContextOptions = {},
  ): Promise<ConsolePage> {
    const context = await browser.newContext({
      viewport: { width: 1200, height: 860 },
      reducedMotion: "reduce",
      colorScheme: "light",
      ...options,
    });
    const opened = new ConsolePage(context, await context.newPage(), base);
    await opened.goto(path);
    return opened;
  }

  async goto(path: string): Promise<void> {
    await this.page.goto(this.#base + path);
    await this.page.getByRole("heading", { level: 1 }).waitFor();
  }

  /** Keeps a picture of the whole page. */
  async picture(name: string): Promise<void> {
    mkdirSync(pictures, { recursive: true });
    await this.page.evaluate("scrollTo(0, 0)");
    await this.page.screenshot({ path: join(pictures, `${name}.png`), fullPage: true });
  }

  /** What axe-core finds, as lines; best practices included. */
  async violations(): Promise<string[]> {
    await this.page.evaluate(axe.source);
    const found = await this.page.evaluate<axe.AxeResults>("axe.run(document)");
    return found.violations.flatMap(({ id, nodes }) =>
      nodes.map((node) => `${id}: ${node.html.slice(0, 160)} (${node.failureSummary ?? ""})`),
    );
  }

  /** CSS pixels by which the page is wider than its window. */
  async overflow(): Promise<number> {
    return await this.page.evaluate<number>(
      "document.documentElement.scrollWidth - document.documentElement.clientWidth",
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#context.close();
  }
}
