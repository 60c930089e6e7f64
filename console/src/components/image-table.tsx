import { useSignal } from "@preact/signals";

import type { ImageObject } from "../../../src/service/model/image.ts";
import { bytesOf, percentOf, phaseOf, phases, reasonOf, sourceOf } from "../model/image.ts";
import { bytesText } from "../model/format.ts";
import { imagePath } from "../router.ts";
import { Age } from "./age.tsx";
import { TrashIcon } from "./icons.tsx";
import { PhaseBadge } from "./phase-badge.tsx";
import { ProgressBar } from "./progress-bar.tsx";

type Column = "name" | "phase" | "size" | "age";

const orders: Readonly<Record<Column, (a: ImageObject, b: ImageObject) => number>> = {
  name: (a, b) =>
    a.metadata.name.localeCompare(b.metadata.name) ||
    (a.metadata.namespace ?? "").localeCompare(b.metadata.namespace ?? ""),
  phase: (a, b) => phases.indexOf(phaseOf(a)) - phases.indexOf(phaseOf(b)),
  size: (a, b) => (unpacked(a) ?? -1) - (unpacked(b) ?? -1),
  age: (a, b) => b.metadata.creationTimestamp.localeCompare(a.metadata.creationTimestamp),
};

const unpacked = ({ status }: ImageObject): number | undefined => bytesOf(status?.size?.unpackedBytes);

interface ImageTableProps {
  readonly images: readonly ImageObject[];
  readonly onDelete: (image: ImageObject) => void;
}

/**
 * Images as rows; narrow screens show each as a card. The roles stand here since the cards are no table to a browser.
 */
export function ImageTable({ images, onDelete }: ImageTableProps) {
  const order = useSignal<{ readonly by: Column; readonly isReversed: boolean }>({ by: "name", isReversed: false });
  const { by, isReversed } = order.value;
  const sorted = images.toSorted((a, b) => (isReversed ? -1 : 1) * orders[by](a, b) || orders.name(a, b));
  const head = (column: Column, text: string) => (
    <th
      role="columnheader"
      scope="col"
      class={`col-${column}`}
      aria-sort={by !== column ? "none" : isReversed ? "descending" : "ascending"}
    >
      <button
        type="button"
        class="sort"
        onClick={() => (order.value = { by: column, isReversed: by === column && !isReversed })}
      >
        {text}
        <span class="sort-mark" aria-hidden="true">
          {by !== column ? "" : isReversed ? "↓" : "↑"}
        </span>
      </button>
    </th>
  );
  return (
    <div class="card table-card">
      <table role="table" class="images" aria-label="Images">
        <thead role="rowgroup">
          <tr role="row">
            {head("name", "Name")}
            {head("phase", "Phase")}
            {head("size", "Size")}
            {head("age", "Age")}
            <th role="columnheader" scope="col" class="col-actions">
              <span class="visually-hidden">Actions</span>
            </th>
          </tr>
        </thead>
        <tbody role="rowgroup">
          {sorted.map((image) => (
            <ImageRow key={image.metadata.uid} image={image} onDelete={onDelete} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function ImageRow({
  image,
  onDelete,
}: {
  readonly image: ImageObject;
  readonly onDelete: (image: ImageObject) => void;
}) {
  const { name, namespace, creationTimestamp } = image.metadata;
  const phase = phaseOf(image);
  const stored = bytesOf(image.status?.size?.storedBytes);
  const size = unpacked(image);
  return (
    <tr role="row" data-name={name}>
      <td role="cell" class="col-name">
        <a class="image-name" href={imagePath(namespace, name)}>
          {name}
        </a>
        <span class="sub">
          {namespace ?? "Cluster-wide"} · {sourceOf(image).type}
        </span>
      </td>
      <td role="cell" class="col-phase">
        <PhaseBadge phase={phase} />
        <PhaseDetail image={image} />
      </td>
      <td role="cell" class="col-size">
        {size === undefined ? (
          <span class="muted">
            <span aria-hidden="true">–</span>
            <span class="visually-hidden">not known yet</span>
          </span>
        ) : (
          <>
            {bytesText(size)}
            {stored !== undefined && <span class="sub">{bytesText(stored)} stored</span>}
          </>
        )}
      </td>
      <td role="cell" class="col-age">
        <Age time={creationTimestamp} />
      </td>
      <td role="cell" class="col-actions">
        <button
          type="button"
          class="button quiet icon-only"
          aria-label={`Delete ${name}`}
          title="Delete"
          disabled={phase === "Terminating"}
          onClick={() => onDelete(image)}
        >
          <TrashIcon />
        </button>
      </td>
    </tr>
  );
}

/**
 * The line below the phase: how far it is, or why it does not go on. It is there in every phase, so that rows keep
 * their height.
 */
function PhaseDetail({ image }: { readonly image: ImageObject }) {
  const phase = phaseOf(image);
  if (phase === "Provisioning") {
    const percent = percentOf(image);
    return (
      <span class="phase-progress">
        <ProgressBar percent={percent} label={`Progress of ${image.metadata.name}`} />
        <span class="percent">{image.status?.progress ?? ""}</span>
      </span>
    );
  }
  const why = phase === "Ready" ? undefined : reasonOf(image);
  if (why !== undefined) {
    return (
      <span class="sub clamp" title={why.message}>
        {why.message}
      </span>
    );
  }
  return (
    <span class="sub">
      {phase === "Ready"
        ? [image.status?.format, image.status?.cdrom === true ? "CD-ROM" : undefined].filter(Boolean).join(" · ")
        : ""}
    </span>
  );
}
