import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import { createImage, createPullSecret, imageManifest, namespaces } from "../api/images.ts";
import { toApiError, type ApiError } from "../api/problem.ts";
import { CopyText } from "../components/copy-text.tsx";
import { TextField } from "../components/field.tsx";
import { BackIcon } from "../components/icons.tsx";
import { Problem } from "../components/notice.tsx";
import { PageTitle } from "../components/page-title.tsx";
import { KindChoice, SourceChoices } from "../components/create-choices.tsx";
import { SourceFields } from "../components/source-fields.tsx";
import {
  draftKey,
  emptyDraft,
  errorsByControl,
  secretNamespaceOf,
  specOf,
  suggestedName,
  type Draft,
} from "../model/draft.ts";
import { imagePath, navigate } from "../router.ts";
import { uploadWhenReady } from "../uploads/uploads.ts";

const manifestOf = (draft: Draft): string =>
  JSON.stringify(imageManifest(draftKey(draft), specOf(draft)), undefined, 2);

/** The form for a new image. */
export function CreatePage() {
  const draft = useSignal(emptyDraft);
  const isNameOwn = useSignal(false);
  const isBusy = useSignal(false);
  const error = useSignal<ApiError | undefined>(undefined);
  const known = useSignal<readonly string[]>(["default"]);
  const madeSecret = useRef("");
  const form = useRef<HTMLFormElement>(null);
  useEffect(
    () =>
      void namespaces()
        .then((names) => (known.value = [...new Set(["default", ...names])]))
        .catch(() => undefined),
    [],
  );

  const change = (part: Partial<Draft>): void => {
    const next = { ...draft.peek(), ...part };
    if (part.name !== undefined) isNameOwn.value = part.name !== "";
    draft.value = isNameOwn.peek() ? next : { ...next, name: suggestedName(next) };
  };

  const submit = async (): Promise<void> => {
    if (isBusy.peek()) return;
    const made = draft.peek();
    isBusy.value = true;
    error.value = undefined;
    try {
      await makeSecret(made);
      const image = await createImage(draftKey(made), specOf(made));
      if (made.source === "Upload" && made.file !== undefined) uploadWhenReady(image.metadata.uid, made.file);
      navigate(imagePath(image.metadata.namespace, image.metadata.name));
    } catch (thrown) {
      error.value = toApiError(thrown);
      isBusy.value = false;
      // To the first control that the server finds fault with.
      setTimeout(() => form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus());
    }
  };

  /** Made once, though the image that needs it may be refused and sent again. */
  const makeSecret = async (made: Draft): Promise<void> => {
    if (made.source !== "ContainerImage" || made.secret !== "new") return;
    const { registry, user, password, secretName } = made;
    const place = [secretNamespaceOf(made), secretName.trim(), registry, user, password].join("\n");
    if (madeSecret.current === place) return;
    await createPullSecret(secretNamespaceOf(made), secretName.trim(), { registry: registry.trim(), user, password });
    madeSecret.current = place;
  };

  const errors = errorsByControl(error.value?.fields ?? new Map());
  const { kind, namespace, name } = draft.value;
  return (
    <section class="page middle">
      <a class="back" href="/">
        <BackIcon />
        All images
      </a>
      <PageTitle text="Create Image" />
      <form
        ref={form}
        class="form"
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <SourceChoices source={draft.value.source} onSource={(source) => change({ source })} />
        <div class="card form">
          <SourceFields draft={draft.value} onChange={change} errors={errors} namespaces={known.value} />
        </div>
        <div class="card form">
          <TextField
            id="name"
            label="Name"
            hint="Small letters, digits, dashes and dots."
            error={errors.get("name")}
            value={name}
            onValue={(text) => change({ name: text })}
            input={{ maxLength: 253 }}
          />
          <KindChoice kind={kind} onKind={(next) => change({ kind: next })} />
          {kind === "VirtualImage" && (
            <TextField
              id="image-namespace"
              label="Namespace"
              hint="It is made with its first image."
              error={errors.get("image-namespace")}
              value={namespace}
              onValue={(text) => change({ namespace: text })}
              input={{ list: "namespaces" }}
            />
          )}
          <datalist id="namespaces">
            {known.value.map((one) => (
              <option key={one} value={one} />
            ))}
          </datalist>
        </div>
        <details class="card manifest">
          <summary>The same with kubectl</summary>
          <CopyText text={`kubectl apply -f - <<'END'\n${manifestOf(draft.value)}\nEND`} name="Manifest" isBlock />
        </details>
        {error.value !== undefined && <Problem error={error.value} />}
        <div class="actions end">
          <a class="button" href="/">
            Cancel
          </a>
          <button type="submit" class="button primary" disabled={isBusy.value}>
            Create Image
          </button>
        </div>
      </form>
    </section>
  );
}
