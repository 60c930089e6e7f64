/** The cases of `npm run bench -- scaling`: how cost grows. docs/scaling.md is written from them. */
export const scaling = [
  {
    name: "scaling-virtual",
    title: "virtual size grows, the data stays",
    input: "qcow2-base",
    inOrder: true,
    rounds: 1,
    sides: ["ours-base", "ours-base-4x", "ours-base-12x", "ours-wide"],
    targets: [],
  },
  {
    name: "scaling-data",
    title: "the data grows, the virtual size stays",
    input: "qcow2-zlib",
    inOrder: true,
    sides: ["ours-1-quarters", "ours-2-quarters", "ours"],
    targets: [],
  },
  {
    name: "scaling-cores",
    title: "two cores and one",
    input: "qcow2-zlib",
    inOrder: true,
    sides: ["ours", "ours-taskset"],
    targets: [],
  },
  {
    name: "scaling-at-once",
    title: "imports at once",
    input: "many",
    inOrder: true,
    sides: [1, 2, 4, 8, 16, 32].map((count) => `ours-${count}-at-once`),
    targets: [],
  },
];
