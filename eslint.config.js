import { readFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";

import js from "@eslint/js";
import { defineConfig, globalIgnores } from "eslint/config";
import tseslint from "typescript-eslint";

import { importProblem } from "./scripts/floors.mjs";

const nodeGlobals = Object.fromEntries(
  [
    "AbortController",
    "AbortSignal",
    "Buffer",
    "clearInterval",
    "clearTimeout",
    "console",
    "fetch",
    "performance",
    "process",
  ]
    .concat(["setImmediate", "setInterval", "setTimeout", "structuredClone", "TextDecoder", "TextEncoder", "URL"])
    .map((name) => [name, "readonly"]),
);

/** The executables have no extension, and ESLint only looks at such files where they are named. */
const executables = Object.values(JSON.parse(readFileSync(new URL("package.json", import.meta.url), "utf8")).bin);

/**
 * The floors of docs/architecture.md while a file is edited; scripts/lint-imports.mjs checks the whole tree, and
 * circles.
 */
const floorsRule = {
  create: (context) => {
    const check = ({ source }) => {
      if (typeof source?.value !== "string" || !source.value.startsWith(".")) return;
      const [from, to] = [context.filename, resolve(dirname(context.filename), source.value)];
      const message = importProblem(relative(import.meta.dirname, from), relative(import.meta.dirname, to));
      if (message !== undefined) context.report({ node: source, message });
    };
    return {
      ImportDeclaration: check,
      ExportNamedDeclaration: check,
      ExportAllDeclaration: check,
      ImportExpression: check,
    };
  },
};

export default defineConfig(
  globalIgnores(["dist/", "build/", "coverage/", "bench/results/"]),
  {
    files: ["**/*.ts", "**/*.tsx"],
    extends: [js.configs.recommended, tseslint.configs.strictTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      "@typescript-eslint/consistent-type-imports": "error",
      "@typescript-eslint/switch-exhaustiveness-check": ["error", { considerDefaultExhaustiveForUnions: true }],
      "@typescript-eslint/restrict-template-expressions": ["error", { allowNumber: true, allowBoolean: true }],
      "@typescript-eslint/no-confusing-void-expression": ["error", { ignoreArrowShorthand: true }],
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_" }],
      // With noUncheckedIndexedAccess it is how to write down what a bounds check has proved.
      "@typescript-eslint/no-non-null-assertion": "off",
      eqeqeq: "error",
      "no-console": "error",
    },
  },
  {
    // The environment is read in one place.
    files: ["src/**/*.ts"],
    ignores: ["src/config/**"],
    rules: {
      "no-restricted-properties": ["error", { object: "process", property: "env", message: "Read it in src/config." }],
    },
  },
  {
    files: ["src/**/*.ts", "console/src/**/*.ts", "console/src/**/*.tsx"],
    plugins: { project: { rules: { floors: floorsRule } } },
    rules: { "project/floors": "error" },
  },
  {
    files: ["test/**/*.ts", "bench/**/*.ts"],
    rules: { "no-console": "off" },
  },
  {
    files: ["**/*.js", "**/*.mjs", ...executables],
    extends: [js.configs.recommended],
    languageOptions: { ecmaVersion: 2023, sourceType: "module", globals: nodeGlobals },
    rules: { eqeqeq: "error", "no-var": "error", "prefer-const": "error" },
  },
);
