/** Commands for a terminal that do what the page shows. */
import type { ImageObject } from "../../../src/service/model/image.ts";
import { phaseOf } from "./image.ts";

export interface Command {
  readonly title: string;
  readonly text: string;
}

/** Text as one word of a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** kubectl's short name of the kind, and where to find the object. */
function target({ kind, metadata }: ImageObject): string {
  const { namespace, name } = metadata;
  return kind === "VirtualImage"
    ? `vi ${shellWord(name)} -n ${shellWord(namespace ?? "default")}`
    : `cvi ${shellWord(name)}`;
}

/** What to do with kubectl, at any time. */
export function kubectlCommands(image: ImageObject): readonly Command[] {
  return [
    { title: "Follow its progress", text: `kubectl get ${target(image)} -w` },
    { title: "Show everything about it", text: `kubectl describe ${target(image)}` },
    { title: "Delete it", text: `kubectl delete ${target(image)}` },
  ];
}

/** How to send the file, while the image waits for one. */
export function uploadCommands(image: ImageObject): readonly Command[] {
  const url = image.status?.imageUploadURLs?.external;
  if (url === undefined) return [];
  const word = shellWord(url);
  return [
    { title: "Upload a file", text: `curl ${word} --progress-bar -T FILE | cat` },
    {
      title: "Go on after an interruption",
      text:
        `OFFSET=$(curl -sI ${word} | awk 'tolower($1) == "upload-offset:" { print $2 + 0 }')\ncurl ` +
        `${word} --progress-bar -C "$OFFSET" -T FILE | cat`,
    },
  ];
}

/** How to pull the stored image. `origin`: where the page came from; a registry there speaks as the page does. */
export function pullCommands(
  image: ImageObject,
  origin: { readonly protocol: string; readonly host: string },
): readonly Command[] {
  const registryUrl = image.status?.target?.registryURL;
  if (registryUrl === undefined || phaseOf(image) !== "Ready") return [];
  const isPlain = origin.protocol === "http:" && registryUrl.startsWith(`${origin.host}/`);
  const flag = isPlain ? "--src-tls-verify=false " : "";
  return [
    {
      title: "Copy the image to a directory",
      text: `skopeo copy ${flag}${shellWord(`docker://${registryUrl}`)} oci:${shellWord(image.metadata.name)}:latest`,
    },
  ];
}
