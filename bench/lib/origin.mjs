/** nginx as the server that images come from, plain or with TLS. */
import { mkdir, writeFile } from "node:fs/promises";
import { basename, dirname } from "node:path";

import { freePorts } from "../../scripts/lib/servers.mjs";

/** Serves the directory of `path`; gives `url` (of that file), `certificates` (a directory with the CA) and `pid`. */
export async function startOrigin(kind, path, workshop) {
  const [port] = await freePorts(1);
  const certificates = workshop.path("certificates");
  await mkdir(certificates);
  const tls = kind === "https" ? await makeCertificate(certificates, workshop) : "";
  const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    .map((name) => `${name}_temp_path ${workshop.path(name)};`)
    .join(" ");
  await writeFile(
    workshop.path("nginx.conf"),
    `
daemon off; master_process off; user root; pid ${workshop.path("nginx.pid")};
error_log ${workshop.path("nginx-errors.log")};
events {}
http {
  access_log off; sendfile on; tcp_nopush on; ${temporary}
  server {
    listen 127.0.0.1:${port}${tls && " ssl"};
    ${tls}
    location / { root ${dirname(path)}; }
  }
}`,
  );
  const server = workshop.start("nginx", "nginx", [
    "-c",
    workshop.path("nginx.conf"),
    "-e",
    workshop.path("nginx-errors.log"),
  ]);
  const url = `${kind}://127.0.0.1:${port}/${basename(path)}`;
  await workshop.until(
    server,
    "nginx's answer",
    20,
    async () =>
      await workshop.run("curl", ["-sSfkI", "-o", "/dev/null", url]).then(
        () => true,
        () => undefined,
      ),
  );
  return { url, certificates, pid: server.child.pid };
}

async function makeCertificate(directory, workshop) {
  const key = workshop.path("tls.key");
  const certificate = `${directory}/ca.crt`;
  const subject = ["-subj", "/CN=origin", "-addext", "subjectAltName=IP:127.0.0.1"];
  await workshop.run("openssl", [
    "req",
    "-x509",
    "-newkey",
    "rsa:2048",
    "-nodes",
    "-days",
    "2",
    ...subject,
    "-keyout",
    key,
    "-out",
    certificate,
  ]);
  return `ssl_certificate ${certificate}; ssl_certificate_key ${key};`;
}
