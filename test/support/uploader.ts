import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { uploaderProcess } from "../../src/uploader/run-uploader.ts";
import { fakeDestination, fakeImport, type FakeBehaviour, type FakeImport } from "./fake-import.ts";
import { startPod, type Pod } from "./pod.ts";

export interface FakeUploader extends Pod {
  readonly url: string;
  readonly seen: FakeImport["seen"];
}

/** The real upload server in front of a fake import. */
export async function startFakeUploader(
  behaviour: FakeBehaviour = {},
  environment: Record<string, string> = {},
  argv: readonly string[] = ["-v=3"],
): Promise<FakeUploader> {
  const fake = fakeImport(behaviour);
  const parts = { importImage: fake.importImage, openDestination: fakeDestination };
  const pod = await startPod(
    (env, surroundings) => uploaderProcess(argv, env, () => Promise.resolve(parts), surroundings),
    {
      LISTEN_ADDRESS: "127.0.0.1",
      LISTEN_PORT: "0",
      HEALTHZ_PORT: "0",
      UPLOADER_DESTINATION_ENDPOINT: "dvcr.d8-virtualization.svc/cvi/disk:0a1b",
      DESTINATION_INSECURE_TLS: "true",
      ...environment,
    },
    ["upload"],
  );
  const scheme = environment["TLS_CERT_FILE"] === undefined ? "http" : "https";
  return Object.assign(pod, { url: `${scheme}://127.0.0.1:${pod.ports["upload"] ?? 0}/upload`, seen: fake.seen });
}

/** The same, with `content` in a file that curl can send. */
export async function startFakeUploaderWith(
  content: Uint8Array,
  behaviour?: FakeBehaviour,
  environment?: Record<string, string>,
): Promise<{ uploader: FakeUploader; file: string }> {
  const uploader = await startFakeUploader(behaviour, environment);
  const file = join(uploader.directory, "disk.img");
  await writeFile(file, content);
  return { uploader, file };
}

/** A promise and what settles it. */
export function latch(): { readonly opened: Promise<void>; open(): void } {
  let open: () => void = () => undefined;
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
