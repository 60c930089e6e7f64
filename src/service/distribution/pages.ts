/** Lists of names in pages: `n` of them after `last`, and a Link to the next page. */
import type { FastifyReply, FastifyRequest } from "fastify";
import { DistributionError } from "./answers.ts";

const mostPerPage = 1000;

/** The page of `names` that the request asks for; sets Link where there is more. @throws DistributionError. */
export function pageOf(names: readonly string[], request: FastifyRequest, reply: FastifyReply): string[] {
  const { n, last } = request.query as { readonly n?: string; readonly last?: string };
  if (n !== undefined && !/^\d{1,9}$/.test(n)) {
    throw new DistributionError(400, "PAGINATION_NUMBER_INVALID", "invalid number of results requested", { n });
  }
  const limit = Math.min(n === undefined ? mostPerPage : Number(n), mostPerPage);
  const after = [...names].sort(compare).filter((name) => last === undefined || compare(name, last) > 0);
  const page = after.slice(0, limit);
  if (page.length > 0 && page.length < after.length) {
    const path = request.url.split("?")[0]!;
    void reply.header("link", `<${path}?n=${limit}&last=${encodeURIComponent(page.at(-1)!)}>; rel="next"`);
  }
  return page;
}

function compare(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
