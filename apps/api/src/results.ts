/** Results of a batch, one page: from its parts while it runs, from its final files once it has ended; or of a batch with its retries, from the final files of all. */
import { isEnded } from "@flamboyance/contracts";
import type { ApiContext } from "./context.ts";
import { endedPage } from "./ended-results.ts";
import type { FoundBatch } from "./find-batch.ts";
import type { Lineage } from "./lineage.ts";
import { decodeCursor, firstCursor, invalidCursor, lineageOf } from "./results-cursor.ts";
import { runningPage, type Page, type PageRequest } from "./running-results.ts";

type PageAsked = { readonly after: string | null } & Pick<PageRequest, "limit" | "only">;

/** `ended`: nothing will be added behind the last line. Throws `invalid_cursor`. */
export async function readResults(
  context: ApiContext,
  found: FoundBatch,
  { after, limit, only }: PageAsked,
  signal: AbortSignal,
): Promise<Page & { readonly ended: boolean }> {
  const id = found.kind === "record" ? found.record.id : found.request.id;
  const page: PageRequest = { cursor: after === null ? firstCursor(id) : decodeCursor(after, id), limit, only };
  if (found.kind === "record" && !isEnded(found.record.status)) {
    return { ...(await runningPage(context, found.record, page, signal)), ended: false };
  }
  const { seal, files } = found.kind === "record" ? found.record : found.end;
  const ended = { bucket: context.bucket, ended: [{ seal: seal ?? "", files }] };
  return { ...(await endedPage(context.storage, ended, page, signal)), ended: true };
}

/**
 * Of a batch and its retries, the newest line of each item. Only what has ended is read, so that a reading sees one state: its cursor goes on with the batches that it
 * began with, whatever ends meanwhile. Throws `invalid_cursor`, also where one of them was deleted since.
 */
export async function readLineage(
  context: ApiContext,
  { members }: Lineage,
  { after, limit, only }: PageAsked,
  signal: AbortSignal,
): Promise<Page> {
  const ended = members.flatMap(({ request, state }) =>
    state.kind === "ended" ? [{ id: request.id, seal: state.seal, files: state.files }] : [],
  );
  const first = members[0]?.request.id ?? "";
  const of = (count: number) => lineageOf(ended.slice(0, count).map(({ id }) => id));
  const cursor = after === null ? firstCursor(first, of(ended.length)) : decodeCursor(after, first, "lineage");
  if (cursor.lineage === null) throw invalidCursor();
  const { batches, hash } = cursor.lineage;
  if (of(batches).hash !== hash) throw invalidCursor("a batch of this lineage was deleted since the reading began, which is to begin anew");
  const read = { bucket: context.bucket, ended: ended.slice(0, batches) };
  return endedPage(context.storage, read, { cursor, limit, only }, signal);
}
