import { expect, it } from "vitest";

import { catalogue, type ErrorCode } from "../src/errors/catalogue.ts";
import { DvcrError } from "../src/errors/dvcr-error.ts";
import { withServiceRemedy } from "../src/service/executor/local/remedies.ts";

const codes = Object.keys(catalogue) as ErrorCode[];

it("an error of an import names no flag and no variable of a pod to users of the service", () => {
  // Of the server and its own programs, which no import ends with.
  const others = /^E_(?:TOO_LARGE|SERVICE_|DATA_DIR|USAGE|CONFIG|OBJECT_|IMAGE_FAILED)/;
  const told = codes
    .filter((code) => !others.test(code))
    .map((code) => withServiceRemedy(new DvcrError(code, "why")).toLine());
  expect(told.filter((line) => /\(pods: |--(?:src|dest|scratch|allow|max)-|--authfile/.test(line))).toEqual([]);
});

it("a remedy that was made for this very case stays", () => {
  const error = new DvcrError("E_SOURCE_TLS", "why", { fix: "Do this." });
  expect(withServiceRemedy(error)).toBe(error);
  expect(withServiceRemedy(new DvcrError("E_SOURCE_TLS", "why"))).toMatchObject({
    code: "E_SOURCE_TLS",
    message: "why",
  });
});
