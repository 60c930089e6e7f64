export const userFacing: readonly string[];
export function wordsOf(page: string): string[];
export function textsOf(file: string, source: string): string[];
export function styleProblems(project: string): string[];

/** Every line of code that is longer than 120 columns, a line each. */
export function lineProblems(project: string): string[];

/** Every listed word on a page (README, docs/ and their like), a line each. */
export function pageProblems(project: string): string[];
