import { useEffect } from "preact/hooks";

import { followStatus } from "./api/server-status.ts";
import { Logo, SignOutIcon } from "./components/icons.tsx";
import { PageTitle } from "./components/page-title.tsx";
import { StoreMeter } from "./components/store-meter.tsx";
import { ThemeChoice } from "./components/theme-choice.tsx";
import { CreatePage } from "./pages/create-page.tsx";
import { ImagePage } from "./pages/image-page.tsx";
import { ListPage } from "./pages/list-page.tsx";
import { SignInPage } from "./pages/sign-in-page.tsx";
import { path, routeOf } from "./router.ts";
import { signInNeeded, signOut, token } from "./session.ts";

/** The whole console: a bar on top, one page below. */
export function App() {
  return (
    <>
      <a class="skip-link" href="#main">
        Skip to the content
      </a>
      <header class="bar">
        <div class="bar-inner">
          <a class="brand" href="/" aria-label="Images, to the list">
            <Logo />
            <span>Images</span>
          </a>
          <div class="bar-tools">
            {!signInNeeded.value && <StoreMeter />}
            <ThemeChoice />
            {token.value !== "" && (
              <button
                type="button"
                class="button quiet icon-only"
                aria-label="Sign out"
                title="Sign out"
                onClick={signOut}
              >
                <SignOutIcon />
              </button>
            )}
          </div>
        </div>
      </header>
      <main id="main" tabIndex={-1}>
        {signInNeeded.value ? <SignInPage /> : <Signed key={token.value} />}
      </main>
    </>
  );
}

/** What those see who may. Signing in as somebody else begins it anew. */
function Signed() {
  useEffect(followStatus, []);
  const route = routeOf(path.value);
  switch (route.page) {
    case "list":
      return <ListPage />;
    case "create":
      return <CreatePage />;
    case "image": {
      const { kind, namespace, name } = route;
      return <ImagePage key={path.value} kind={kind} namespace={namespace} name={name} />;
    }
    case "unknown":
      return (
        <section class="page">
          <PageTitle text="No such page" />
          <p>
            <a href="/">To the list of images</a>
          </p>
        </section>
      );
  }
}
