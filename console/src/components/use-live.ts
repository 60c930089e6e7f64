import { useEffect, useMemo } from "preact/hooks";

import type { KubeObject } from "../../../src/service/model/object.ts";
import { watchCollection, type Live } from "../api/watch.ts";

/** Follows a collection for as long as the component is there, and another one when `path` or `selector` changes. */
export function useLive<T extends KubeObject>(path: string, selector = ""): Live<T> {
  const live = useMemo(
    () => watchCollection<T>(path, selector === "" ? {} : { fieldSelector: selector }),
    [path, selector],
  );
  useEffect(() => live.stop, [live]);
  return live;
}
