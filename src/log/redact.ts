const hidden = "***";

/** `url` without user, password and the values of its query; the text itself when it is no URL. */
export function redactUrl(url: string | URL): string {
  if (typeof url === "string" && !URL.canParse(url)) return url;
  const parsed = new URL(url);
  if (parsed.username !== "" || parsed.password !== "") {
    parsed.username = "";
    parsed.password = "";
  }
  const query = parsed.search === "" ? "" : `?${hidden}`;
  parsed.search = "";
  parsed.hash = "";
  return `${parsed.href}${query}`;
}

const urls = /\b[a-z][a-z0-9+.-]*:\/\/[^\s"'<>`]+/gi;
const credentials = /\b(bearer|basic)\s+[A-Za-z0-9+/=._~-]{8,}/gi;
const webTokens = /\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?/g;

/** Trailing punctuation belongs to the sentence around a URL, not to it. */
function redactUrlInText(match: string): string {
  const tail = /[),.;:\]]+$/.exec(match)?.[0] ?? "";
  return redactUrl(match.slice(0, match.length - tail.length)) + tail;
}

/** `text` without credentials: those in URLs and headers, web tokens, and every one of `secrets`. */
export function redactText(text: string, secrets: readonly string[] = []): string {
  let result = text.replace(urls, redactUrlInText).replace(credentials, `$1 ${hidden}`).replace(webTokens, hidden);
  for (const secret of secrets) if (secret.length >= 4) result = result.replaceAll(secret, hidden);
  return result;
}
