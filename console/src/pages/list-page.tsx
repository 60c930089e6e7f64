import { useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";

import type { ImageKind, ImageObject } from "../../../src/service/model/image.ts";
import { collectionPath, namespaces } from "../api/images.ts";
import { PhaseAnnouncer } from "../components/announcer.tsx";
import { DeleteDialog } from "../components/delete-dialog.tsx";
import { DiskIcon, PlusIcon } from "../components/icons.tsx";
import { ImageTable } from "../components/image-table.tsx";
import { Notice, Problem } from "../components/notice.tsx";
import { PageTitle } from "../components/page-title.tsx";
import { useLive } from "../components/use-live.ts";
import { recall, remember } from "../memory.ts";

const scopeKey = "dvcr.namespace";
const everything = "*";
const clusterWide = "";

/** The list of images, live. */
export function ListPage() {
  const scope = useSignal(keptScope());
  const search = useSignal("");
  const doomed = useSignal<ImageObject | undefined>(undefined);
  const isNamespace = scope.value !== everything && scope.value !== clusterWide;
  const cluster = useLive<ImageObject>(collectionPath("ClusterVirtualImage"));
  const namespaced = useLive<ImageObject>(collectionPath("VirtualImage", isNamespace ? scope.value : ""));
  const names = useNamespaces(namespaced.objects.value);

  const all = useMemo(
    () => [
      ...kindOf(cluster.objects.value, "ClusterVirtualImage"),
      ...kindOf(namespaced.objects.value, "VirtualImage"),
    ],
    [cluster.objects.value, namespaced.objects.value],
  );
  const scoped =
    scope.value === everything
      ? all
      : all.filter(({ metadata }) => (metadata.namespace ?? clusterWide) === scope.value);
  const wanted = search.value.trim().toLowerCase();
  const shown = wanted === "" ? scoped : scoped.filter(({ metadata }) => metadata.name.includes(wanted));

  const choose = (value: string): void => {
    scope.value = value;
    remember(scopeKey, value);
  };
  const needed =
    scope.value === everything ? [cluster, namespaced] : [scope.value === clusterWide ? cluster : namespaced];
  const error = needed.map((live) => live.error.value).find((one) => one !== undefined);
  const isLoading = needed.some((live) => live.state.value === "loading");
  const isReconnecting = needed.some((live) => live.state.value === "reconnecting");

  return (
    <section class="page">
      <div class="page-head">
        <PageTitle text="Images" />
        <a class="button primary" href="/create">
          <PlusIcon />
          Create Image
        </a>
      </div>
      <div class="filters">
        <div class="field">
          <label for="namespace">Namespace</label>
          <select id="namespace" onChange={(event) => choose(event.currentTarget.value)}>
            {scopes(names, scope.value).map(([value, text]) => (
              <option key={value} value={value} selected={value === scope.value}>
                {text}
              </option>
            ))}
          </select>
        </div>
        <div class="field grow">
          <label for="search">Search by name</label>
          <input
            id="search"
            type="search"
            value={search.value}
            spellcheck={false}
            autocomplete="off"
            onInput={(event) => (search.value = event.currentTarget.value)}
          />
        </div>
      </div>
      {error !== undefined && !isReconnecting && <Problem error={error} isAlert={false} />}
      {isReconnecting && (
        <Notice tone="waiting">
          <p>The connection to the server was lost. What you see may be out of date; trying again.</p>
        </Notice>
      )}
      {isLoading && error === undefined && <LoadingRows />}
      {!isLoading && shown.length > 0 && <ImageTable images={shown} onDelete={(image) => (doomed.value = image)} />}
      {!isLoading && error === undefined && shown.length === 0 && (
        <Empty isFiltered={scoped.length > 0 || all.length > 0} />
      )}
      <PhaseAnnouncer images={all} />
      {doomed.value !== undefined && <DeleteDialog image={doomed.value} onClose={() => (doomed.value = undefined)} />}
    </section>
  );
}

/** Items of a list have no kind of their own in every server's answers. */
function kindOf(objects: ReadonlyMap<string, ImageObject>, kind: ImageKind): ImageObject[] {
  return [...objects.values()].map((image) =>
    (image.kind as ImageKind | undefined) === kind ? image : { ...image, kind },
  );
}

function keptScope(): string {
  const kept = recall(scopeKey);
  return typeof kept === "string" ? kept : everything;
}

const scopes = (names: readonly string[], chosen: string): (readonly [string, string])[] => {
  const listed =
    chosen === everything || chosen === clusterWide || names.includes(chosen) ? names : [...names, chosen].sort();
  return [[everything, "All"], [clusterWide, "Cluster-wide images"], ...listed.map((name) => [name, name] as const)];
};

/** Namespaces that the server names, and those of the images on the page. */
function useNamespaces(images: ReadonlyMap<string, ImageObject>): readonly string[] {
  const named = useSignal<readonly string[]>([]);
  useEffect(
    () =>
      void namespaces()
        .then((list) => (named.value = list))
        .catch(() => undefined),
    [],
  );
  return [
    ...new Set([...named.value, ...[...images.values()].flatMap(({ metadata }) => metadata.namespace ?? [])]),
  ].sort();
}

/** Holds the place of the table. */
function LoadingRows() {
  return (
    <div class="card loading" role="status">
      <span class="visually-hidden">Loading</span>
      {[0, 1, 2].map((row) => (
        <div key={row} class="loading-row" />
      ))}
    </div>
  );
}

function Empty({ isFiltered }: { readonly isFiltered: boolean }) {
  return (
    <div class="card empty">
      <DiskIcon />
      <h2>{isFiltered ? "No image matches" : "No images yet"}</h2>
      <p class="muted">
        {isFiltered
          ? "Choose another namespace or search for another name."
          : "Create one from a link, a container image, an existing image or a file on this computer."}
      </p>
      {!isFiltered && (
        <a class="button primary" href="/create">
          <PlusIcon />
          Create Image
        </a>
      )}
    </div>
  );
}
