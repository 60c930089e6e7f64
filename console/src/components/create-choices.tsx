import type { ComponentChildren } from "preact";

import type { ImageKind } from "../../../src/service/model/image.ts";
import type { SourceChoice } from "../model/draft.ts";
import { BoxIcon, DiskIcon, LinkIcon, UploadIcon } from "./icons.tsx";

interface Choice<T extends string> {
  readonly value: T;
  readonly title: string;
  readonly text: string;
  readonly icon?: ComponentChildren;
}

const sources: readonly Choice<SourceChoice>[] = [
  { value: "HTTP", title: "Load data from link (HTTP)", text: "The server fetches a file", icon: <LinkIcon /> },
  { value: "ContainerImage", title: "Load data from container image", text: "From a registry", icon: <BoxIcon /> },
  { value: "ObjectRef", title: "From an existing image", text: "A copy under another name", icon: <DiskIcon /> },
  { value: "Upload", title: "Upload from Computer", text: "A file on this computer", icon: <UploadIcon /> },
];

const kinds: readonly Choice<ImageKind>[] = [
  { value: "ClusterVirtualImage", title: "ClusterVirtualImage", text: "For all namespaces" },
  { value: "VirtualImage", title: "VirtualImage", text: "For one namespace" },
];

/** Where the image comes from. */
export function SourceChoices({
  source,
  onSource,
}: {
  readonly source: SourceChoice;
  readonly onSource: (source: SourceChoice) => void;
}) {
  return <Choices legend="Source" name="source" choices={sources} value={source} onValue={onSource} />;
}

/** Who can use it. */
export function KindChoice({ kind, onKind }: { readonly kind: ImageKind; readonly onKind: (kind: ImageKind) => void }) {
  return <Choices legend="Kind" name="kind" choices={kinds} value={kind} onValue={onKind} />;
}

interface ChoicesProps<T extends string> {
  readonly legend: string;
  readonly name: string;
  readonly choices: readonly Choice<T>[];
  readonly value: T;
  readonly onValue: (value: T) => void;
}

/** Radio buttons, each a card. */
function Choices<T extends string>({ legend, name, choices, value, onValue }: ChoicesProps<T>) {
  return (
    <fieldset class="choices">
      <legend>{legend}</legend>
      {choices.map((choice) => (
        <label key={choice.value} class="choice">
          <input
            type="radio"
            name={name}
            value={choice.value}
            checked={choice.value === value}
            onChange={() => onValue(choice.value)}
          />
          {choice.icon}
          <span class="choice-text">
            <span class="choice-title">{choice.title}</span>
            <span class="hint">{choice.text}</span>
          </span>
        </label>
      ))}
    </fieldset>
  );
}
