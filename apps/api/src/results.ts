/** Results of a batch, one page: from its parts while it runs, from its final files once it has ended. */
import { isEnded } from "@flamboyance/contracts";
import type { ApiContext } from "./context.ts";
import { endedPage } from "./ended-results.ts";
import type { FoundBatch } from "./find-batch.ts";
import { decodeCursor, firstCursor } from "./results-cursor.ts";
import { runningPage, type Page, type PageRequest } from "./running-results.ts";

/** `ended`: nothing will be added behind the last line. Throws `invalid_cursor`. */
export async function readResults(
  context: ApiContext,
  found: FoundBatch,
  { after, limit, only }: { readonly after: string | null } & Pick<PageRequest, "limit" | "only">,
  signal: AbortSignal,
): Promise<Page & { readonly ended: boolean }> {
  const id = found.kind === "record" ? found.record.id : found.request.id;
  const page: PageRequest = { cursor: after === null ? firstCursor(id) : decodeCursor(after, id), limit, only };
  if (found.kind === "record" && !isEnded(found.record.status)) {
    return { ...(await runningPage(context, found.record, page, signal)), ended: false };
  }
  const { seal, files } = found.kind === "record" ? found.record : found.end;
  const ended = { bucket: context.bucket, seal: seal ?? "", files };
  return { ...(await endedPage(context.storage, ended, page, signal)), ended: true };
}
