/** nginx as a web server for one directory: plain, with TLS and client certificates, with a password, rate limited. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

import { tool } from "./tools.ts";
import { freePort } from "./ports.ts";

export interface NginxOptions {
  /** The address to listen on, for clients in another network; 127.0.0.1 otherwise. */
  readonly address?: string;
  /** Directives of the one location. */
  readonly directives?: string;
  readonly tls?: { readonly cert: string; readonly key: string; readonly clientCa?: string };
}

export class Nginx implements AsyncDisposable {
  readonly url: string;
  readonly #directory: string;
  readonly #process: ChildProcess;

  private constructor(url: string, directory: string, process: ChildProcess) {
    this.url = url;
    this.#directory = directory;
    this.#process = process;
  }

  static async start(root: string, options: NginxOptions = {}): Promise<Nginx> {
    const directory = await mkdtemp(join(tmpdir(), "dvcr-nginx-"));
    const port = await freePort();
    const { tls, address = "127.0.0.1" } = options;
    const url = `${tls ? "https" : "http"}://${address}:${String(port)}`;
    await writeFile(
      join(directory, "nginx.conf"),
      `
daemon off; master_process off; pid ${directory}/pid; error_log ${directory}/error.log;
events {}
http {
  access_log off;
  client_body_temp_path ${directory}/b;
  proxy_temp_path ${directory}/p; fastcgi_temp_path ${directory}/f; uwsgi_temp_path ${directory}/u;
  scgi_temp_path ${directory}/s;
  server {
    listen ${address}:${String(port)}${tls ? " ssl" : ""};
    ${tls ? `ssl_certificate ${tls.cert}; ssl_certificate_key ${tls.key};` : ""}
    ${tls?.clientCa === undefined ? "" : `ssl_client_certificate ${tls.clientCa}; ssl_verify_client on;`}
    location / { root ${root}; ${options.directives ?? ""} }
  }
}`,
    );
    const child = spawn("/usr/sbin/nginx", ["-c", join(directory, "nginx.conf"), "-e", join(directory, "error.log")], {
      stdio: "ignore",
    });
    let failure: Error | undefined;
    child.on("error", (error) => (failure = error));
    for (let tries = 0; tries < 400; tries += 1) {
      if (failure !== undefined || child.exitCode !== null) break;
      const up = await tool("curl", "-s", "-k", "-o", "/dev/null", "--max-time", "2", `${url}/`).then(
        () => true,
        () => false,
      );
      if (up) return new Nginx(url, directory, child);
      await delay(25);
    }
    throw new Error(`nginx (Debian package nginx-light) cannot be run: ${String(failure ?? child.exitCode)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#process.exitCode === null) {
      this.#process.kill("SIGTERM");
      await once(this.#process, "exit");
    }
    await rm(this.#directory, { recursive: true, force: true });
  }
}
