/** Light or dark: as the system says, until the person says otherwise. */
import { effect, signal } from "@preact/signals";

import { recall, remember } from "./memory.ts";

export type Theme = "system" | "light" | "dark";

const key = "dvcr.theme";
const isTheme = (value: unknown): value is Theme => value === "system" || value === "light" || value === "dark";
const kept = recall(key);

export const theme = signal<Theme>(isTheme(kept) ? kept : "system");

/** Applies the theme to the page, now and whenever it changes. */
export function followTheme(): void {
  effect(() => {
    document.documentElement.dataset["theme"] = theme.value;
    remember(key, theme.value === "system" ? undefined : theme.value);
  });
}
