import type { ComponentChildren } from "preact";

import type { Condition, ImageObject } from "../../../src/service/model/image.ts";
import { bytesOf, sourceOf } from "../model/image.ts";
import { bytesText, timeText } from "../model/format.ts";
import { Age } from "./age.tsx";
import { CopyText } from "./copy-text.tsx";

const exact = (bytes: number): string => `${bytesText(bytes)} (${bytes.toLocaleString("en")} bytes)`;
const speedText = (bytes: number): string => `${bytesText(bytes)}/s`;

/** Sizes, speed, digest and where to pull it, as far as they are known. */
export function Facts({ image }: { readonly image: ImageObject }) {
  const { status = {}, metadata } = image;
  const source = sourceOf(image);
  const [stored, unpacked] = [bytesOf(status.size?.storedBytes), bytesOf(status.size?.unpackedBytes)];
  const [current, average] = [bytesOf(status.downloadSpeed?.currentBytes), bytesOf(status.downloadSpeed?.avgBytes)];
  return (
    <section class="card">
      <h2>Image</h2>
      <dl class="facts">
        <Fact name="Source">
          {source.type}
          {source.detail !== "" && <span class="sub breakable">{source.detail}</span>}
        </Fact>
        {checksumsOf(image).map(([algorithm, value]) => (
          <Fact key={algorithm} name={`Expected ${algorithm}`}>
            <code class="breakable">{value}</code>
          </Fact>
        ))}
        {status.format !== undefined && (
          <Fact name="Format">
            {status.format}
            {status.cdrom === true && " (CD-ROM)"}
          </Fact>
        )}
        {unpacked !== undefined && <Fact name="Disk size">{exact(unpacked)}</Fact>}
        {stored !== undefined && <Fact name="Stored size">{exact(stored)}</Fact>}
        {current !== undefined && <Fact name="Speed now">{speedText(current)}</Fact>}
        {average !== undefined && <Fact name="Average speed">{speedText(average)}</Fact>}
        {status.digest !== undefined && (
          <Fact name="Digest">
            <CopyText text={status.digest} name="Digest" />
          </Fact>
        )}
        {status.target?.registryURL !== undefined && (
          <Fact name="Registry URL">
            <CopyText text={status.target.registryURL} name="Registry URL" />
          </Fact>
        )}
        <Fact name="Created">{timeText(metadata.creationTimestamp)}</Fact>
      </dl>
    </section>
  );
}

function Fact({ name, children }: { readonly name: string; readonly children: ComponentChildren }) {
  return (
    <div class="fact">
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function checksumsOf({ spec: { dataSource } }: ImageObject): [string, string][] {
  return Object.entries(dataSource.http?.checksum ?? dataSource.upload?.checksum ?? {});
}

const words: Readonly<Record<Condition["status"], string>> = { True: "Yes", False: "No", Unknown: "Unknown" };

/** The conditions, each with its reason and message. */
export function ConditionList({ conditions }: { readonly conditions: readonly Condition[] }) {
  return (
    <section class="card">
      <h2>Conditions</h2>
      {conditions.length === 0 && <p class="muted">None yet.</p>}
      <ul class="conditions">
        {conditions.map(({ type, status, reason, message, lastTransitionTime }) => (
          <li key={type}>
            <span class={`condition-mark ${status === "True" ? "good" : status === "False" ? "waiting" : "neutral"}`}>
              {words[status]}
            </span>
            <span class="condition-type">{type}</span>
            <span class="muted condition-age">
              <Age time={lastTransitionTime} />
            </span>
            <span class="condition-reason">
              {reason !== "" && reason !== type && <code>{reason}</code>} {message}
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}
