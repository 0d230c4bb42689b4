/**
 * final/<seal>/: output.jsonl, errors.jsonl, the tables that were asked for, summary.json, and what end.json says of them.
 * Owns that all of it follows from the seal, the plan and the parts alone: a second writer writes the same bytes.
 */
import { createHash } from "node:crypto";
import {
  CodedError,
  linePosition,
  lineRan,
  lineSucceeded,
  type BatchRequest,
  type End,
  type Plan,
  type ResultFormat,
  type ResultLine,
  type Seal,
  type Summary,
} from "@flamboyance/contracts";
import { batchKeys, jsonLine, readBatchLines, type Storage } from "@flamboyance/storage";
import { openLineFile } from "./line-file.ts";
import { segmentBytes, segmentsOf } from "./reuse/answer-index.ts";
import { openLentAnswers } from "./reuse/lent-answers.ts";
import { addTallies, noTally, tallyOf } from "./result-tally.ts";
import { openTableFile, type TableFile, type WrittenTable } from "./tables/table-file.ts";

export interface FinalInput {
  readonly request: BatchRequest;
  readonly seal: Seal;
  /** Null where the batch ended before a plan was adopted: then there are no lines and no files. */
  readonly plan: Plan | null;
}

/** Writes the files in one pass over the parts and answers end.json's content. */
export async function writeFinalFiles(
  { storage, bucket }: { readonly storage: Storage; readonly bucket: string },
  { request, seal, plan }: FinalInput,
  signal: AbortSignal,
): Promise<End> {
  const totals = new Totals();
  const times = {
    ended_at: seal.sealed_at,
    in_progress_at: seal.in_progress_at,
    finalizing_at: seal.sealed_at,
    cancelling_at: seal.cancelling_at,
  };
  const terms = seal.terms === undefined ? {} : { terms: seal.terms };
  const frame = { seal: seal.seal, status: seal.outcome, ...times, ...terms, errors: seal.errors };
  if (plan === null) return { ...frame, ...totals.counted(), stored_bytes: 0, files: null };
  const { id } = request;
  if (plan.report !== undefined) {
    const report = { key: batchKeys(id).plan(plan.plan).report, ...plan.report };
    return { ...frame, ...totals.counted(), stored_bytes: plan.stored_bytes, report, files: null };
  }

  const keys = batchKeys(id).final(seal.seal);
  const output = openLineFile(storage, { bucket, key: keys.output }, { signal });
  const errors = openLineFile(storage, { bucket, key: keys.errors }, { signal });
  const tables: TableFile[] = [];
  using lent = request.reuse === true ? openLentAnswers({ storage, bucket }, request, plan, keys, signal) : null;
  try {
    for (const format of request.result_formats ?? []) tables.push(await openTableFile({ storage, bucket }, format, keys, signal));
    const { chunks, refused } = plan;
    const neverRan = seal.outcome === "expired" ? "batch_expired" : "batch_cancelled";
    for await (const { text, value } of readBatchLines(storage, {
      bucket,
      id,
      plan: plan.plan,
      chunks,
      refused,
      parts: seal.parts,
      neverRan,
      signal,
    })) {
      totals.add(value);
      if (lineSucceeded(value)) await lent?.add(value, text);
      await (lineSucceeded(value) ? output : errors).write(text);
      for (const table of tables) await table.add(value);
    }
    const { counts, never_ran, saved, usage } = totals.counted();
    // A part that isn't whole must never become an end.
    if (counts.total !== plan.items + refused)
      throw new CodedError("internal_error", `${id}: ${counts.total} lines, not ${plan.items + refused}`);
    const [outputFile, errorsFile] = [await output.finish(), await errors.finish()];
    const files: Record<string, WrittenTable> = { "output.jsonl": outputFile, "errors.jsonl": errorsFile };
    const written: Pick<NonNullable<End["files"]>, ResultFormat> = {};
    for (const file of tables) {
      const { format, key } = file;
      const table = await file.finish();
      files[`results.${format}`] = table;
      written[format] = { key, sha256: table.sha256, lines: table.lines };
    }
    const figures: Summary = {
      id,
      status: seal.outcome,
      model: request.model.name,
      model_key: request.model.key,
      task: request.task,
      counts,
      usage,
      ...totals.codes(),
      ...totals.saved(),
      files: Object.fromEntries(
        Object.entries(files).map(([name, { sizeBytes, sha256, lines }]) => [name, { size_bytes: sizeBytes, sha256, lines }]),
      ),
    };
    const summary = jsonLine(figures);
    await storage.write({ bucket, key: keys.summary }, summary, { contentType: "application/json", signal });
    const lends = lent === null ? null : await lent.finish();
    const indexBytes = segmentsOf(lends?.entries ?? 0).reduce((sum, entries) => sum + segmentBytes(entries), 0);
    const besideFiles = Buffer.byteLength(summary) + indexBytes;
    return {
      ...frame,
      counts,
      never_ran,
      saved,
      usage,
      stored_bytes: Object.values(files).reduce((sum, { sizeBytes }) => sum + sizeBytes, plan.stored_bytes + besideFiles),
      ...(lends === null ? {} : { lends }),
      files: {
        output: { key: keys.output, sha256: outputFile.sha256, lines: outputFile.lines },
        errors: { key: keys.errors, sha256: errorsFile.sha256, lines: errorsFile.lines },
        ...written,
        summary: { key: keys.summary, sha256: createHash("sha256").update(summary).digest("hex") },
      },
    };
  } finally {
    await Promise.all([output, errors, ...tables].map((file) => file.abandon()));
  }
}

const nothing = { items: 0, input_tokens: 0, output_tokens: 0 };

class Totals {
  #tally = noTally;
  #neverRan = 0;
  readonly #saved = { copied: { ...nothing }, reused: { ...nothing } };
  readonly #codes = new Map<string, number>();
  readonly #refused = new Map<string, number>();

  add(line: ResultLine): void {
    const added = tallyOf(line);
    this.#tally = addTallies(this.#tally, added);
    const { id, response, error, flamingo } = line;
    const body = response?.body;
    if (added.failed === 0) {
      if (lineRan(line) || body === undefined || !("usage" in body)) return;
      const saved = flamingo?.copied_from === undefined ? this.#saved.reused : this.#saved.copied;
      saved.items += 1;
      saved.input_tokens += body.usage.prompt_tokens;
      saved.output_tokens += body.usage.completion_tokens;
      return;
    }
    const isRefused = linePosition(id)?.refusedLine !== null;
    if (response === null && !isRefused) this.#neverRan += 1;
    const code = error?.code ?? (body !== undefined && "error" in body ? body.error.code : null) ?? "unknown";
    this.#codes.set(code, (this.#codes.get(code) ?? 0) + 1);
    if (isRefused) this.#refused.set(code, (this.#refused.get(code) ?? 0) + 1);
  }

  counted(): Pick<End, "counts" | "never_ran" | "saved" | "usage"> {
    const { completed, failed, input_tokens, cached_tokens, output_tokens } = this.#tally;
    return {
      counts: { total: completed + failed, completed, failed },
      never_ran: this.#neverRan,
      saved: { copied: this.#saved.copied.items, reused: this.#saved.reused.items },
      usage: {
        input_tokens,
        input_tokens_details: { cached_tokens },
        output_tokens,
        output_tokens_details: { reasoning_tokens: 0 },
        total_tokens: input_tokens + output_tokens,
      },
    };
  }

  /** What answers that were taken from other lines would have cost. */
  saved(): Pick<Summary, "copied" | "reused"> {
    return { copied: { ...this.#saved.copied }, reused: { ...this.#saved.reused } };
  }

  /** Failed lines by code, in the codes' order, and which of them are refused lines. */
  codes(): Pick<Summary, "codes" | "refused"> {
    return { codes: inOrder(this.#codes), refused: inOrder(this.#refused) };
  }
}

function inOrder(counts: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries([...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}
