/** Batches on the screen: one, or the newest ones. */
import type { Batch, BatchErrors, QuotaUse } from "@flamboyance/contracts";
import { formatBytes, formatTable, formatTime } from "./table.ts";

export function formatBatches(batches: readonly Batch[], columns?: number): string {
  if (batches.length === 0) return "no batches yet\n";
  const rows = batches.map((batch) => {
    const { total, completed, failed } = batch.request_counts;
    return [
      batch.id,
      batch.status,
      `${completed + failed - batch.never_ran}/${total}`,
      String(failed - batch.never_ran),
      formatTime(batch.created_at),
      batch.model,
      batch.dry_run === true ? `${batch.task} (dry run)` : batch.task,
      batch.input,
    ];
  });
  return formatTable(["id", "status", "done", "failed", "created", "model", "task", "input"], rows, columns);
}

export function formatBatch(batch: Batch): string {
  const { total, completed, failed } = batch.request_counts;
  const facts: [string, string | null][] = [
    ["id", batch.id],
    ["status", batch.status],
    ["waiting for", batch.waiting_for],
    ["paused", batch.paused_reason === null ? null : `${batch.paused_reason}; ${howToGoOn(batch)}`],
    ["max failed", batch.max_failed === null ? null : String(batch.max_failed)],
    ["priority", batch.priority === 0 ? null : String(batch.priority)],
    ["model", `${batch.model}, ${batch.task}`],
    ["retry of", batch.retry_of],
    ["input", batch.input],
    ["output", batch.output],
    [
      "lines",
      `${completed} completed, ${failed - batch.never_ran} failed${batch.never_ran === 0 ? "" : `, ${batch.never_ran} never ran`} of ${total}`,
    ],
    [
      "tokens",
      `${batch.usage.input_tokens} in (${batch.usage.input_tokens_details.cached_tokens} from the shared prefix), ${batch.usage.output_tokens} out`,
    ],
    ["didn't run", savedText(batch)],
    ["keeps", batch.stored_bytes === 0 ? null : `${formatBytes(batch.stored_bytes)} in the service's bucket, until it is deleted`],
    ["created", formatTime(batch.created_at)],
    ["deadline", formatTime(batch.expires_at)],
    ["ended", formatTime(batch.completed_at ?? batch.failed_at ?? batch.expired_at ?? batch.cancelled_at)],
    [
      "delivery",
      batch.delivery === null ? null : `${batch.delivery.status}${batch.delivery.error === null ? "" : `: ${batch.delivery.error}`}`,
    ],
    ["results", batch.results === null ? null : batch.results.output],
    ...(batch.errors?.data ?? []).map(({ code, message, param, line }): [string, string] => [
      line === null ? "error" : `line ${line}`,
      `${param === null ? "" : `${param}: `}${message} (${code})`,
    ]),
  ];
  return facts
    .filter(([, value]) => value !== null)
    .map(([name, value]) => `${name.padEnd(12)}${value ?? ""}\n`)
    .join("");
}

/** Of a batch that its max_failed paused: nothing else ends its waiting but its deadline. */
export function howToGoOn({ id }: Pick<Batch, "id">): string {
  return `go on with: flamboyance resume ${id}, or end it with: flamboyance cancel ${id}`;
}

/** Null where every item ran. */
export function savedText({ saved: { copied, reused } }: Batch): string | null {
  const parts = [
    ...(copied === 0 ? [] : [`${copied} copied from items of the batch`]),
    ...(reused === 0 ? [] : [`${reused} reused from earlier batches`]),
  ];
  return parts.length === 0 ? null : parts.join(", ");
}

export function formatErrors(errors: BatchErrors["data"], columns?: number): string {
  if (errors.length === 0) return "no item failed\n";
  const rows = errors.map(({ code, count, retryable, meaning }) => [code, String(count), retryable ? "yes" : "no", meaning ?? ""]);
  return formatTable(["code", "lines", "may pass", "meaning"], rows, columns);
}

export function formatQuotas(use: QuotaUse, columns?: number): string {
  const plain = (count: number) => count.toLocaleString("en");
  const row = (name: string, { have, most }: QuotaUse["stored_bytes"], words: (count: number) => string = plain) => [
    name,
    words(have),
    most === null ? "–" : words(most),
  ];
  const rows = [
    row("batches that haven't ended", use.running_batches),
    row("items of these without a line yet", use.items_queued),
    row("kept until you delete its batches", use.stored_bytes, formatBytes),
  ];
  return formatTable(["what", "you have", "at most"], rows, columns);
}
