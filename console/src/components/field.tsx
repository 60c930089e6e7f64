import type { ComponentChildren, LooseInputHTMLAttributes } from "preact";

interface FieldProps {
  readonly id: string;
  readonly label: string;
  readonly hint?: string | undefined;
  /** What the server says is wrong with it. */
  readonly error?: string | undefined;
  readonly optional?: boolean;
  readonly children: ComponentChildren;
}

/** Ids of the texts that describe a control, for its aria-describedby. */
export function describedBy(id: string, hint?: string, error?: string): string | undefined {
  const ids = [hint === undefined ? "" : `${id}-hint`, error === undefined ? "" : `${id}-error`].filter(
    (one) => one !== "",
  );
  return ids.length === 0 ? undefined : ids.join(" ");
}

/** A control with its label above, and a hint and an error below. */
export function Field({ id, label, hint, error, optional = false, children }: FieldProps) {
  return (
    <div class={error === undefined ? "field" : "field wrong"}>
      <label for={id}>
        {label}
        {optional && <span class="muted"> (optional)</span>}
      </label>
      {children}
      {hint !== undefined && (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      )}
      {error !== undefined && (
        <p class="field-error" id={`${id}-error`}>
          {error}
        </p>
      )}
    </div>
  );
}

/** What a text field may ask of the browser beyond the usual. */
type InputAttributes = Pick<
  LooseInputHTMLAttributes,
  "autocomplete" | "class" | "inputMode" | "maxLength" | "placeholder"
> & {
  readonly type?: "text" | "password";
  /** Id of a datalist. */
  readonly list?: string;
};

type TextFieldProps = Omit<FieldProps, "children"> & {
  readonly value: string;
  readonly onValue: (value: string) => void;
  /** Lines; more than one makes it a text area. */
  readonly lines?: number;
  readonly input?: InputAttributes;
};

/** A field of text. */
export function TextField({ value, onValue, lines = 1, input = {}, ...field }: TextFieldProps) {
  const { id, hint, error, optional = false } = field;
  const { type = "text", list, ...more } = input;
  const shared = {
    id,
    value,
    required: !optional,
    spellcheck: false,
    autocapitalize: "off",
    autocomplete: "off",
    "aria-describedby": describedBy(id, hint, error),
    "aria-invalid": error === undefined ? undefined : true,
    onInput: (event: { readonly currentTarget: { readonly value: string } }) => onValue(event.currentTarget.value),
    ...more,
  } as const;
  return (
    <Field {...field}>
      {lines > 1 && <textarea rows={lines} {...shared} />}
      {lines === 1 && type === "password" && <input type="password" {...shared} />}
      {lines === 1 &&
        type === "text" &&
        (list === undefined ? <input type="text" {...shared} /> : <input type="text" list={list} {...shared} />)}
    </Field>
  );
}

interface SelectFieldProps extends Omit<FieldProps, "children"> {
  readonly value: string;
  readonly onValue: (value: string) => void;
  /** Values and what is shown for them. */
  readonly options: readonly (readonly [value: string, text: string])[];
}

/** A choice among a few. */
export function SelectField({ value, onValue, options, ...field }: SelectFieldProps) {
  const { id, hint, error, optional = false } = field;
  return (
    <Field {...field}>
      <select
        id={id}
        required={!optional}
        aria-describedby={describedBy(id, hint, error)}
        aria-invalid={error === undefined ? undefined : true}
        onChange={(event) => onValue(event.currentTarget.value)}
      >
        {options.map(([key, text]) => (
          <option key={key} value={key} selected={key === value}>
            {text}
          </option>
        ))}
      </select>
    </Field>
  );
}
