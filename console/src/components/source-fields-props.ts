import type { Draft } from "../model/draft.ts";

export interface SourceFieldsProps {
  readonly draft: Draft;
  readonly onChange: (part: Partial<Draft>) => void;
  /** By the control's id. */
  readonly errors: ReadonlyMap<string, string>;
  readonly namespaces: readonly string[];
}
