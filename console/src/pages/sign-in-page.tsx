import { useSignal } from "@preact/signals";

import { TextField } from "../components/field.tsx";
import { PageTitle } from "../components/page-title.tsx";
import { Notice } from "../components/notice.tsx";
import { signIn, token } from "../session.ts";

/** Asks for a token. Whether it is good shows with the first request: a wrong one leads back here. */
export function SignInPage() {
  const value = useSignal("");
  const wasRefused = token.value !== "";
  return (
    <section class="page narrow">
      <PageTitle text="Sign in" />
      <form
        class="card form"
        onSubmit={(event) => {
          event.preventDefault();
          signIn(value.value.trim());
        }}
      >
        {wasRefused && (
          <Notice tone="bad" isAlert>
            <p>The server does not accept this token.</p>
          </Notice>
        )}
        <TextField
          id="token"
          label="Token"
          hint="From whoever runs this server. It is kept until this tab is closed."
          value={value.value}
          onValue={(text) => (value.value = text)}
          input={{ type: "password", autocomplete: "current-password" }}
        />
        <div class="actions">
          <button type="submit" class="button primary">
            Sign in
          </button>
        </div>
      </form>
    </section>
  );
}
