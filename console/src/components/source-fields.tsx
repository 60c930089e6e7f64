import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";

import type { ImageObject } from "../../../src/service/model/image.ts";
import { listImages } from "../api/images.ts";
import { toApiError, type ApiError } from "../api/problem.ts";
import { checksumAlgorithms, referenceOf } from "../model/draft.ts";
import { lookOf, phaseOf } from "../model/image.ts";
import { SelectField, TextField } from "./field.tsx";
import { FileDrop } from "./file-drop.tsx";
import { Problem } from "./notice.tsx";
import { PullSecretFields } from "./pull-secret-fields.tsx";
import type { SourceFieldsProps } from "./source-fields-props.ts";

/** What is to be known of the chosen source. */
export function SourceFields(props: SourceFieldsProps) {
  const { draft, onChange, errors } = props;
  switch (draft.source) {
    case "HTTP":
      return (
        <>
          <TextField
            id="url"
            label="URL"
            hint="A disk image (qcow2, vmdk, vdi, vhd, vhdx, raw, iso), also compressed or in an archive."
            error={errors.get("url")}
            value={draft.url}
            onValue={(url) => onChange({ url })}
            input={{ placeholder: "https://example.com/images/disk.qcow2", inputMode: "url" }}
          />
          <ChecksumFields {...props} />
          <AuthorityField {...props} />
        </>
      );
    case "ContainerImage":
      return (
        <>
          <TextField
            id="image"
            label="Container image"
            hint="It holds the disk in its directory /disk."
            error={errors.get("image")}
            value={draft.image}
            onValue={(image) => onChange({ image })}
            input={{ placeholder: "registry.example.com/images/ubuntu:24.04" }}
          />
          <PullSecretFields {...props} />
          <AuthorityField {...props} />
        </>
      );
    case "ObjectRef":
      return <ExistingImageField {...props} />;
    case "Upload":
      return (
        <>
          <FileDrop
            id="file"
            label="Choose a file"
            file={draft.file}
            hint="or drop it here; curl can send it later too"
            onFile={(file) => onChange({ file })}
          />
          <ChecksumFields {...props} />
        </>
      );
  }
}

function ChecksumFields({ draft, onChange, errors }: SourceFieldsProps) {
  return (
    <div class="row">
      <SelectField
        id="algorithm"
        label="Checksum"
        optional
        value={draft.algorithm}
        onValue={(value) => onChange({ algorithm: checksumAlgorithms.find((one) => one === value) ?? "" })}
        options={[["", "None"], ...checksumAlgorithms.map((name) => [name, name] as const)]}
      />
      {draft.algorithm !== "" && (
        <TextField
          id="checksum"
          label={`${draft.algorithm} of the file`}
          error={errors.get("checksum")}
          value={draft.checksum}
          onValue={(checksum) => onChange({ checksum })}
          input={{ class: "mono", placeholder: "hexadecimal" }}
        />
      )}
    </div>
  );
}

function AuthorityField({ draft, onChange, errors }: SourceFieldsProps) {
  return (
    <details class="more" open={errors.has("ca-bundle")}>
      <summary>Certificate authority</summary>
      <TextField
        id="ca-bundle"
        label="CA bundle"
        optional
        hint="PEM certificates, where the server's own is not signed by a public authority."
        error={errors.get("ca-bundle")}
        value={draft.caBundle}
        onValue={(caBundle) => onChange({ caBundle })}
        lines={5}
        input={{ class: "mono", placeholder: "-----BEGIN CERTIFICATE-----" }}
      />
    </details>
  );
}

function ExistingImageField({ draft, onChange, errors }: SourceFieldsProps) {
  const images = useSignal<readonly ImageObject[] | undefined>(undefined);
  const error = useSignal<ApiError | undefined>(undefined);
  useEffect(() => {
    const ask = async (): Promise<void> => {
      // Somebody may see the images of the cluster only, or those of a namespace.
      const [cluster, own] = await Promise.allSettled([listImages("ClusterVirtualImage"), listImages("VirtualImage")]);
      if (cluster.status === "rejected" && own.status === "rejected") error.value = toApiError(cluster.reason);
      images.value = [
        ...(cluster.status === "fulfilled"
          ? cluster.value.map((image) => ({ ...image, kind: "ClusterVirtualImage" as const }))
          : []),
        ...(own.status === "fulfilled" ? own.value.map((image) => ({ ...image, kind: "VirtualImage" as const })) : []),
      ];
    };
    void ask();
  }, []);
  const options = (images.value ?? []).map((image) => {
    const { name, namespace } = image.metadata;
    const phase = phaseOf(image);
    const state = phase === "Ready" ? "" : ` (${lookOf(phase).text})`;
    return [referenceOf(image), `${namespace === undefined ? name : `${namespace} / ${name}`}${state}`] as const;
  });
  return (
    <>
      {error.value !== undefined && <Problem error={error.value} />}
      <SelectField
        id="from"
        label="Image"
        hint={images.value?.length === 0 ? "There is no image yet." : "The copy begins when the image is ready."}
        error={errors.get("from")}
        value={draft.from}
        onValue={(from) => onChange({ from })}
        options={[["", images.value === undefined ? "Loading…" : "Choose an image"], ...options]}
      />
    </>
  );
}
