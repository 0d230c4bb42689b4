/**
 * What readers may see of running batches: the parts up to the first gap, named by an object in S3 and then confirmed.
 * Owns which batches have something new to confirm. Confirmed chunks outlive the loss of Redis: a line that was shown stays.
 */
import type { Frontier } from "@flamboyance/contracts";
import type { BatchRecord, Queue } from "@flamboyance/queue";
import { batchKeys, jsonLine, type Storage } from "@flamboyance/storage";

export interface Frontiers {
  /** This worker recorded a part of the batch. */
  touched(id: string): void;
  /** Confirms what is new in the touched batches. */
  advance(signal: AbortSignal): Promise<void>;
}

const leaseMs = 10_000;

export function trackFrontiers(dependencies: {
  readonly storage: Storage;
  readonly queue: Queue;
  readonly serviceBucket: string;
}): Frontiers {
  const touched = new Set<string>();
  return {
    touched: (id) => void touched.add(id),
    advance: async (signal) => {
      const ids = [...touched];
      for (const id of ids) {
        if (signal.aborted) return;
        // Before the look, not after: a part that is recorded meanwhile counts for the next.
        touched.delete(id);
        const advanced = await advanceFrontier(dependencies, id, signal).catch((error: unknown) => {
          touched.add(id);
          throw error;
        });
        if (!advanced) touched.add(id);
      }
    },
  };
}

/** False where another worker is at it: look again later. */
export async function advanceFrontier(
  { storage, queue, serviceBucket: bucket }: Parameters<typeof trackFrontiers>[0],
  id: string,
  signal: AbortSignal,
): Promise<boolean> {
  if (!hasNews(await queue.batch(id))) return true;
  const lease = await queue.lease(`frontier-${id}`, leaseMs);
  if (lease === null) return false;
  try {
    // Read again under the lease: another worker may have confirmed meanwhile.
    const record = await queue.batch(id);
    if (!hasNews(record)) return true;
    const from = record.confirmed;
    const unconfirmed = (await queue.unconfirmedParts(id)).filter(({ chunk }) => chunk >= from).toSorted((a, b) => a.chunk - b.chunk);
    const parts = unconfirmed.filter(({ chunk }, index) => chunk === from + index).map(({ part, tally }) => ({ ...part, tally }));
    if (parts.length === 0) return true;
    // Of the record as it was read before its parts: what was read across a rebuild isn't believed under the new epoch.
    const { epoch } = record;
    const chunks = from + parts.length;
    const written: Frontier = { epoch, plan: record.plan, from, chunks, parts };
    const location = { bucket, key: batchKeys(id).frontier(epoch, chunks) };
    await storage.write(location, jsonLine(written), { contentType: "application/json", signal });
    return await queue.confirmFrontier({ id, epoch, chunks });
  } finally {
    await lease.release();
  }
}

function hasNews(record: BatchRecord | null): record is BatchRecord & { readonly plan: string } {
  return record !== null && record.plan !== null && !record.settled && record.confirmed < record.frontier;
}
