// Words that user-facing texts do without (docs/style.md lists them) and lines that are too long, and where they stand.
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import ts from "typescript";

/** Where people read what stands in string literals: help, errors, conditions and events, the console. */
export const userFacing = [
  "src/errors/catalogue",
  "src/config",
  "src/cli",
  "src/service/reconcile",
  "src/service/gc",
  "src/service/restore",
  "console/src",
];

/** The words of the list in docs/style.md, as patterns. */
export function wordsOf(page) {
  const list = page.slice(page.indexOf("## Words"), page.indexOf("## Before and after"));
  return [...list.matchAll(/^\| "([^"]+)" \|/gm)].map(([, word]) => word);
}

function filesBelow(path) {
  if (statSync(path).isFile()) return [path];
  return readdirSync(path, { recursive: true })
    .filter((name) => /\.tsx?$/.test(name))
    .map((name) => join(path, name));
}

/** The texts of a file that may be shown: literals, templates and JSX, without imports and comments. */
export function textsOf(file, source) {
  const texts = [];
  const visit = (node) => {
    if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return;
    if (ts.isStringLiteralLike(node) || ts.isTemplateHead(node) || ts.isJsxText(node)) texts.push(node.text);
    else if (ts.isTemplateMiddle(node) || ts.isTemplateTail(node)) texts.push(node.text);
    ts.forEachChild(node, visit);
  };
  const kind = file.endsWith("x") ? ts.ScriptKind.TSX : ts.ScriptKind.TS;
  visit(ts.createSourceFile(file, source, ts.ScriptTarget.ES2023, false, kind));
  return texts.map((text) => text.replaceAll(/\s+/g, " "));
}

function patternOf(project) {
  const words = wordsOf(readFileSync(join(project, "docs/style.md"), "utf8"));
  return new RegExp(`\\b(?:${words.join("|")})\\b`, "i");
}

/** Every listed word in a user-facing text of `project`, a line each. */
export function styleProblems(project) {
  const pattern = patternOf(project);
  return userFacing.flatMap((path) =>
    filesBelow(join(project, path)).flatMap((file) =>
      textsOf(file, readFileSync(file, "utf8"))
        .filter((text) => pattern.test(text))
        .map(
          (text) => `${file.slice(project.length).replace(/^\//, "")}: "${pattern.exec(text)[0]}" in: ${text.trim()}`,
        ),
    ),
  );
}

/** The pages that people read. docs/style.md lists the words themselves. */
const pages = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "bench/README.md"];

/**
 * What of a page's line is prose: no code, no last cell of the contract's table (a test's name), no title and no row of
 * the pages that the benchmarks write.
 */
function proseOf(page, line) {
  if (/^docs\/(?:benchmarks|scaling)\.md$/.test(page) && /^[|#]/.test(line)) return "";
  const cells = page === "docs/contract.md" ? line.replace(/\|[^|]*\|$/, "") : line;
  return cells.replaceAll(/`[^`]*`/g, "").replaceAll(/\bgives (?:way|up)\b/g, "");
}

/** Every listed word on a page, a line each. */
export function pageProblems(project) {
  const pattern = patternOf(project);
  const docs = readdirSync(join(project, "docs")).filter((name) => name.endsWith(".md") && name !== "style.md");
  return [...pages, ...docs.map((name) => `docs/${name}`)].flatMap((page) => {
    let isCode = false;
    return readFileSync(join(project, page), "utf8")
      .split("\n")
      .flatMap((line, index) => {
        if (line.trimStart().startsWith("```")) isCode = !isCode;
        const found = isCode ? null : pattern.exec(proseOf(page, line));
        return found === null ? [] : [`${page}:${index + 1}: "${found[0]}"`];
      });
  });
}

/** Columns of a line, as in .prettierrc.json; Prettier breaks neither texts nor comments. */
const columns = 120;
const code = ["src", "console/src", "test", "bench", "scripts"];

/** Every line of code that is longer than 120 columns, a line each. */
export function lineProblems(project) {
  return code.flatMap((folder) =>
    readdirSync(join(project, folder), { recursive: true })
      .filter((name) => /\.(tsx?|mjs)$/.test(name))
      .flatMap((name) =>
        readFileSync(join(project, folder, name), "utf8")
          .split("\n")
          .flatMap((line, index) =>
            [...line].length > columns ? [`${folder}/${name}:${index + 1}: ${[...line].length} columns`] : [],
          ),
      ),
  );
}
