/** WWW-Authenticate (RFC 9110, section 11.6.1) as registries use it. */

export interface Challenge {
  /** Lower case. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: Readonly<Record<string, string>>;
}

const token = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const schemePattern = new RegExp(`\\s*,?\\s*(${token})(?=[\\s,]|$)`, "y");
const parameterPattern = new RegExp(`\\s*,?\\s*(${token})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|(${token}))`, "y");

/** All challenges of the header's lines, in order; what is malformed ends the line it stands in. */
export function parseChallenges(header: string | readonly string[] | undefined): Challenge[] {
  if (header === undefined) return [];
  return (typeof header === "string" ? [header] : header).flatMap(parseLine);
}

function parseLine(line: string): Challenge[] {
  const challenges: Challenge[] = [];
  let at = 0;
  while (at < line.length) {
    schemePattern.lastIndex = at;
    const scheme = schemePattern.exec(line);
    if (scheme?.[1] === undefined) break;
    at = schemePattern.lastIndex;
    const parameters: Record<string, string> = {};
    for (;;) {
      parameterPattern.lastIndex = at;
      const parameter = parameterPattern.exec(line);
      if (parameter?.[1] === undefined) break;
      at = parameterPattern.lastIndex;
      parameters[parameter[1].toLowerCase()] = parameter[2]?.replaceAll(/\\(.)/g, "$1") ?? parameter[3] ?? "";
    }
    challenges.push({ scheme: scheme[1].toLowerCase(), parameters });
  }
  return challenges;
}
