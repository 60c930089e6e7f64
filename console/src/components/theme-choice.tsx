import { theme, type Theme } from "../theme.ts";
import { MoonIcon, SunIcon, SystemIcon } from "./icons.tsx";

const next: Readonly<Record<Theme, Theme>> = { system: "light", light: "dark", dark: "system" };
const names: Readonly<Record<Theme, string>> = { system: "as the system", light: "light", dark: "dark" };

/** Goes through: as the system, light, dark. */
export function ThemeChoice() {
  const label = `Colours: ${names[theme.value]}. Change to ${names[next[theme.value]]}`;
  return (
    <button
      type="button"
      class="button quiet icon-only"
      aria-label={label}
      title={label}
      onClick={() => (theme.value = next[theme.value])}
    >
      {theme.value === "system" && <SystemIcon />}
      {theme.value === "light" && <SunIcon />}
      {theme.value === "dark" && <MoonIcon />}
    </button>
  );
}
