import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import type { ImageObject } from "../../../src/service/model/image.ts";
import { collectionPath, type ImageKey } from "../api/images.ts";
import { PhaseAnnouncer } from "../components/announcer.tsx";
import { CommandList } from "../components/command-list.tsx";
import { DeleteDialog } from "../components/delete-dialog.tsx";
import { EventList } from "../components/event-list.tsx";
import { BackIcon, TrashIcon } from "../components/icons.tsx";
import { ConditionList, Facts } from "../components/image-facts.tsx";
import { Notice, Problem } from "../components/notice.tsx";
import { PageTitle } from "../components/page-title.tsx";
import { PhaseBadge } from "../components/phase-badge.tsx";
import { ProgressBar } from "../components/progress-bar.tsx";
import { UploadPanel } from "../components/upload-panel.tsx";
import { useLive } from "../components/use-live.ts";
import { kubectlCommands, pullCommands, uploadCommands } from "../model/commands.ts";
import { bytesText } from "../model/format.ts";
import { bytesOf, isUnfinished, percentOf, phaseOf, reasonOf } from "../model/image.ts";
import { navigate } from "../router.ts";
import { endUpload, uploads } from "../uploads/uploads.ts";

/** Everything about one image, live. */
export function ImagePage({ kind, namespace, name }: ImageKey) {
  const live = useLive<ImageObject>(collectionPath(kind, namespace), `metadata.name=${name}`);
  const image = [...live.objects.value.values()].find(({ metadata }) => metadata.name === name);
  const isLoading = live.state.value === "loading";
  const { error } = live;
  return (
    <section class="page">
      <a class="back" href="/">
        <BackIcon />
        All images
      </a>
      {image === undefined && (
        <>
          <PageTitle text={name} />
          {error.value !== undefined && <Problem error={error.value} isAlert={false} />}
          {isLoading && error.value === undefined && (
            <div class="card loading" role="status">
              <span class="visually-hidden">Loading</span>
              <div class="loading-row" />
            </div>
          )}
          {!isLoading && error.value === undefined && (
            <Notice tone="neutral">
              <p>There is no image of this name, or it has been deleted.</p>
            </Notice>
          )}
        </>
      )}
      {image !== undefined && (
        <Details
          image={(image.kind as string | undefined) === kind ? image : { ...image, kind }}
          isStale={live.state.value === "reconnecting"}
        />
      )}
    </section>
  );
}

function sizesText({ status }: ImageObject): string {
  const [unpacked, stored] = [bytesOf(status?.size?.unpackedBytes), bytesOf(status?.size?.storedBytes)];
  if (unpacked === undefined) return "";
  return `A disk of ${bytesText(unpacked)}${stored === undefined ? "" : `, stored in ${bytesText(stored)}`}`;
}

function Details({ image, isStale }: { readonly image: ImageObject; readonly isStale: boolean }) {
  const isDoomed = useSignal(false);
  const { name, namespace, uid } = image.metadata;
  const phase = phaseOf(image);
  const why = phase === "Ready" || phase === "Provisioning" ? undefined : reasonOf(image);
  const isDone = !isUnfinished(image);
  // One bar is enough: that of the upload, while it sends.
  const isSending = uploads.value.get(uid)?.isActive === true;
  useEffect(() => {
    if (isDone) endUpload(uid);
  }, [uid, isDone]);

  return (
    <>
      <div class="page-head">
        <div>
          <PageTitle text={name} />
          <p class="muted subtitle">
            {image.kind} · {namespace === undefined ? "cluster-wide" : `namespace ${namespace}`}
          </p>
        </div>
        <button
          type="button"
          class="button danger-quiet"
          disabled={phase === "Terminating"}
          onClick={() => (isDoomed.value = true)}
        >
          <TrashIcon />
          Delete
        </button>
      </div>
      {isStale && (
        <Notice tone="waiting">
          <p>The connection to the server was lost. What you see may be out of date; trying again.</p>
        </Notice>
      )}
      <div class="card phase-card">
        <div class="phase-line">
          <PhaseBadge phase={phase} />
          {phase === "Provisioning" && !isSending && (
            <>
              <ProgressBar percent={percentOf(image)} label="Progress of the import" />
              <span class="percent">{image.status?.progress ?? ""}</span>
            </>
          )}
          {phase === "Ready" && <span class="muted">{sizesText(image)}</span>}
        </div>
        {why !== undefined && (
          <p class={phase === "Failed" || phase === "ImageLost" ? "why bad" : "why"}>{why.message}</p>
        )}
      </div>
      {image.spec.dataSource.type === "Upload" && !isDone && <UploadPanel image={image} />}
      <div class="columns">
        <Facts image={image} />
        <ConditionList conditions={image.status?.conditions ?? []} />
      </div>
      {!isDone && <CommandList title="Upload with curl" commands={uploadCommands(image)} />}
      <CommandList title="Pull" commands={pullCommands(image, location)} />
      <CommandList title="kubectl" commands={kubectlCommands(image)} />
      <EventList image={image} />
      <PhaseAnnouncer images={[image]} />
      {isDoomed.value && (
        <DeleteDialog
          image={image}
          onClose={(deleted) => {
            isDoomed.value = false;
            if (deleted) navigate("/");
          }}
        />
      )}
    </>
  );
}
