/** Watches a batch to its end; Ctrl-C leaves the batch running and says how to come back. */
import type { Client } from "@flamboyance/client";
import type { Batch } from "@flamboyance/contracts";
import { savedText } from "./batches.ts";
import { Detached, exitCodes, type ExitCode } from "./failure.ts";
import { openProgress } from "./progress.ts";
import { formatDuration } from "./table.ts";
import { print, type Terminal } from "./terminal.ts";

export async function watchBatch(client: Client, terminal: Terminal, id: string, { json }: { readonly json: boolean }): Promise<ExitCode> {
  const progress = openProgress(terminal);
  let batch: Batch;
  try {
    batch = await client.batches.wait(id, { signal: terminal.signal, onProgress: (seen) => progress.show(seen) });
  } catch (error) {
    if (!terminal.signal.aborted) throw error;
    throw new Detached(`The batch goes on. Come back with: flamboyance watch ${id}`);
  } finally {
    progress.stop();
  }
  await print(terminal.out, json ? `${JSON.stringify(batch)}\n` : summary(batch));
  if (batch.status !== "completed") return exitCodes.notCompleted;
  return batch.request_counts.failed === 0 ? exitCodes.done : exitCodes.someFailed;
}

/** How a batch ended, in a few lines. */
export function summary(batch: Batch): string {
  const { total, completed, failed } = batch.request_counts;
  const endedAt = batch.completed_at ?? batch.failed_at ?? batch.expired_at ?? batch.cancelled_at;
  const took = endedAt === null ? "" : `, ${formatDuration(endedAt - batch.created_at)}`;
  const neverRan = batch.never_ran === 0 ? "" : `, ${batch.never_ran} never ran`;
  const lines = [`${batch.id} ${batch.status}: ${completed} of ${total} completed, ${failed - batch.never_ran} failed${neverRan}${took}`];
  for (const { code, message, param, line } of batch.errors?.data ?? [])
    lines.push(`  ${line === null ? "" : `line ${line}: `}${param === null ? "" : `${param}: `}${message} (${code})`);
  const saved = savedText(batch);
  if (saved !== null) lines.push(`  didn't run: ${saved}`);
  if (batch.output !== null && batch.delivery?.status === "failed")
    lines.push(`  not delivered to ${batch.output}: ${batch.delivery.error ?? ""}`);
  else if (batch.output !== null && batch.results !== null) lines.push(`  copied to ${batch.output}`);
  if (failed > 0) lines.push(`  see why with: flamboyance errors ${batch.id}`);
  if (total > 0) lines.push(`  read them with: flamboyance results ${batch.id}`);
  return `${lines.join("\n")}\n`;
}
