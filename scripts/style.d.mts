export const userFacing: readonly string[];
export function wordsOf(page: string): string[];
export function textsOf(file: string, source: string): string[];
export function styleProblems(project: string): string[];
