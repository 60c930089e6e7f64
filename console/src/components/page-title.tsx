import type { ComponentChildren } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

let isFirst = true;

/** The heading of a page. Going to another page moves the focus here, so that a screen reader tells where one is. */
export function PageTitle({ text, children }: { readonly text: string; readonly children?: ComponentChildren }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useLayoutEffect(() => {
    document.title = text === "Images" ? text : `${text} · Images`;
  }, [text]);
  useLayoutEffect(() => {
    if (!isFirst) heading.current?.focus({ preventScroll: true });
    isFirst = false;
  }, []);
  return (
    <h1 ref={heading} tabIndex={-1}>
      {text}
      {children}
    </h1>
  );
}
