/** Name and value of one HTTP header field as users write it, `Name: value`; undefined for anything else. */
export function parseHeaderLine(line: string): readonly [name: string, value: string] | undefined {
  const match = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):([^\r\n\0\u2028\u2029]*)$/.exec(line);
  return match === null ? undefined : [match[1]!, match[2]!.trim()];
}
