import { secretNamespaceOf, type Draft, type SecretChoice } from "../model/draft.ts";
import { SelectField, TextField } from "./field.tsx";
import type { SourceFieldsProps } from "./source-fields-props.ts";

const choices: readonly (readonly [SecretChoice, string])[] = [
  ["none", "None, the image is public"],
  ["existing", "A secret that exists"],
  ["new", "A new secret"],
];

/** How the server may pull a container image: nothing, a secret by its name, or one that is made now. */
export function PullSecretFields({ draft, onChange, errors }: SourceFieldsProps) {
  const isSecret = draft.secret !== "none";
  return (
    <>
      <SelectField
        id="secret"
        label="Pull secret"
        optional
        value={draft.secret}
        onValue={(value) => onChange(chosen(draft, value))}
        options={choices}
      />
      {isSecret && (
        <div class="row">
          <TextField
            id="secret-name"
            label="Name of the secret"
            error={errors.get("secret-name")}
            value={draft.secretName}
            onValue={(secretName) => onChange({ secretName })}
          />
          {draft.kind === "ClusterVirtualImage" && (
            <TextField
              id="secret-namespace"
              label="Namespace of the secret"
              error={errors.get("secret-namespace")}
              value={draft.secretNamespace}
              onValue={(secretNamespace) => onChange({ secretNamespace })}
              input={{ list: "namespaces" }}
            />
          )}
        </div>
      )}
      {draft.secret === "new" && (
        <fieldset class="form">
          <legend class="visually-hidden">Login of the new secret</legend>
          <TextField
            id="registry"
            label="Registry"
            hint={`The secret is made in the namespace ${secretNamespaceOf(draft)}.`}
            value={draft.registry}
            onValue={(registry) => onChange({ registry })}
            input={{ placeholder: "registry.example.com" }}
          />
          <div class="row">
            <TextField id="user" label="User" value={draft.user} onValue={(user) => onChange({ user })} />
            <TextField
              id="password"
              label="Password"
              value={draft.password}
              onValue={(password) => onChange({ password })}
              input={{ type: "password", autocomplete: "new-password" }}
            />
          </div>
        </fieldset>
      )}
    </>
  );
}

/** A new secret begins with the registry of the image, and a name made of it. */
function chosen(draft: Draft, value: string): Partial<Draft> {
  const secret = choices.find(([key]) => key === value)?.[0] ?? "none";
  if (secret !== "new") return { secret };
  const [host = ""] = draft.image.trim().split("/");
  const registry = draft.registry !== "" || !/[.:]|^localhost$/.test(host) ? draft.registry : host;
  const name =
    draft.secretName !== ""
      ? draft.secretName
      : `${
          registry
            .replace(/[^a-z0-9]+/gi, "-")
            .replace(/^-+|-+$/g, "")
            .toLowerCase() || "registry"
        }-login`;
  return { secret, registry, secretName: name };
}
