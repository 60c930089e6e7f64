/**
 * The CRD's patterns, each beside a check of its own that takes linear time: in JavaScript's engine some of them take
 * exponential time on texts made for that. A test holds both against each other.
 */

/** As in the CRD; `(?P<` is RE2's. */
export const crdPatterns = {
  url: String.raw`^http[s]?:\/\/(?:[a-zA-Z]|[0-9]|[$-_@.&+]|[!*\(\),]|(?:%[0-9a-fA-F][0-9a-fA-F]))+$`,
  image: [
    String.raw`^(?P<name>(?:(?P<domain>(?:(?:localhost|[\w-]+(?:\.[\w-]+)+)(?::\d+)?)|[\w]+:\d+)/)?`,
    String.raw`(?P<image>[a-z0-9_.-]+(?:/[a-z0-9_.-]+)*))`,
    String.raw`(?::(?P<tag>[\w][\w.-]{0,127}))?`,
    String.raw`(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[+.-_][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?$`,
  ].join(""),
  hex: (digits: number) => `^[0-9a-fA-F]{${digits}}$`,
} as const;

/** The whole pattern comes down to one class: `$-_` is a range, and `%` lies in it. */
export function isSourceUrl(text: string): boolean {
  return /^https?:\/\/[!$-_a-z]+$/.test(text);
}

/** `[DOMAIN/]IMAGE[:TAG][@DIGEST]` */
export function isImageReference(text: string): boolean {
  const at = text.indexOf("@");
  if (at >= 0 && !isLooseDigest(text.slice(at + 1))) return false;
  const named = at < 0 ? text : text.slice(0, at);
  const colon = named.lastIndexOf(":");
  if (colon < 0 || named.includes("/", colon)) return isImageName(named);
  return /^\w[\w.-]{0,127}$/.test(named.slice(colon + 1)) && isImageName(named.slice(0, colon));
}

function isImageName(name: string): boolean {
  if (isImagePath(name)) return true;
  const slash = name.indexOf("/");
  if (slash < 0 || !isImagePath(name.slice(slash + 1))) return false;
  const domain = name.slice(0, slash);
  return /^(?:localhost|[\w-]+(?:\.[\w-]+)+)(?::\d+)?$/.test(domain) || /^\w+:\d+$/.test(domain);
}

const isImagePath = (text: string): boolean => /^[a-z0-9_.-]+(?:\/[a-z0-9_.-]+)*$/.test(text);

/**
 * The CRD's digest: words of letters and digits that begin with a letter, joined by one of `[+.-_]` (a range that holds
 * letters, digits and the colon too), then a colon and hex digits. Both readings of a character are followed at once.
 */
function isLooseDigest(text: string): boolean {
  const colon = text.lastIndexOf(":");
  if (colon < 0 || !/^[0-9a-fA-F]{32,}$/.test(text.slice(colon + 1))) return false;
  let inWord = false;
  let beforeWord = true;
  for (let i = 0; i < colon; i += 1) {
    const char = text[i]!;
    const wordGoesOn: boolean = (inWord && /[A-Za-z0-9]/.test(char)) || (beforeWord && /[A-Za-z]/.test(char));
    beforeWord = inWord && /[+.-_]/.test(char);
    inWord = wordGoesOn;
  }
  return inWord;
}

/** Standard base64 with padding; line ends are passed over, as by the API server. */
export function isBase64(text: string): boolean {
  const joined = text.replace(/[\r\n]/g, "");
  return joined.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(joined);
}

const linearChecks = new Map<string, (text: string) => boolean>([
  [crdPatterns.url, isSourceUrl],
  [crdPatterns.image, isImageReference],
  ...[32, 40, 64, 128].map((digits): [string, (text: string) => boolean] => {
    const plain = new RegExp(crdPatterns.hex(digits));
    return [crdPatterns.hex(digits), (text) => plain.test(text)];
  }),
]);

/** The check that stands for a schema's pattern. Throws for one that nobody has made linear. */
export function linearCheck(pattern: string): (text: string) => boolean {
  const check = linearChecks.get(pattern);
  if (check === undefined) throw new Error(`no check in linear time is known for ${pattern}`);
  return check;
}
