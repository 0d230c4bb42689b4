/**
 * The items of a suspect chunk: one at a time, each noted before it runs, so that a process that dies says over which; those that are quarantined get their error
 * unrun. Owns that nothing runs unnoted. Refuses to judge: who is quarantined is the claim's word.
 */
import { failedLine, itemNumber, type Item } from "@flamboyance/contracts";
import type { Queue } from "@flamboyance/queue";
import { runItem, type ItemDependencies, type ItemModel, type ItemResult, type RunningBatch } from "./item.ts";
import { noTally } from "./result-tally.ts";

export interface Suspect {
  readonly id: string;
  readonly chunk: number;
  readonly attempt: string;
  readonly quarantined: readonly number[];
}

/** One result per item, null where the signal came first; null for all where the claim is another's by now. Throws passing faults. */
export async function runOneByOne(
  dependencies: ItemDependencies & { readonly queue: Queue },
  model: ItemModel,
  batch: RunningBatch,
  { items, firstItem }: { readonly items: readonly Item[]; readonly firstItem: number },
  { id, chunk, attempt, quarantined }: Suspect,
  signal: AbortSignal,
): Promise<(ItemResult | null)[] | null> {
  const { queue, metrics } = dependencies;
  const results: (ItemResult | null)[] = items.map(() => null);
  for (const [index, item] of items.entries()) {
    if (signal.aborted) return results;
    const number = itemNumber(item, firstItem + index);
    if (quarantined.includes(number)) {
      metrics.item(model.name, "poison_item");
      results[index] = quarantinedResult(id, number, item.custom_id);
      continue;
    }
    if (!(await queue.note({ id, chunk, attempt, item: number }))) return null;
    try {
      results[index] = await runItem(dependencies, model, batch, { item, number }, signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }
  // What comes now is nobody's fault.
  return (await queue.note({ id, chunk, attempt, item: null })) ? results : null;
}

function quarantinedResult(batchId: string, item: number, customId: string): ItemResult {
  const message = "the worker's process died three times while it ran this item alone";
  return {
    line: failedLine({ batchId, item, customId }, "poison_item", message),
    tally: { ...noTally, failed: 1 },
  };
}
