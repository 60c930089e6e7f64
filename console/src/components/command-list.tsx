import type { Command } from "../model/commands.ts";
import { CopyText } from "./copy-text.tsx";

/** Commands to take to a terminal. Nothing where there are none. */
export function CommandList({ title, commands }: { readonly title: string; readonly commands: readonly Command[] }) {
  if (commands.length === 0) return null;
  return (
    <section class="card">
      <h2>{title}</h2>
      <ul class="commands">
        {commands.map((command) => (
          <li key={command.title}>
            <span class="command-title">{command.title}</span>
            <CopyText text={command.text} name={command.title} isBlock />
          </li>
        ))}
      </ul>
    </section>
  );
}
