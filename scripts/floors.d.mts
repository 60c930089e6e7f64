export const floors: Readonly<Record<string, readonly (readonly string[])[]>>;
export const shared: Readonly<Record<string, readonly string[]>>;
export function importProblem(from: string, to: string): string | undefined;
export function importProblems(project: string): string[];
export function floorTable(root: string): string;
