/**
 * What a batch keeps in the service's bucket (the objects of a batch's life): the frozen request, the control log, the plan, seals, the end.
 * Owns the schemas only; keys and bytes are storage's, decisions are the queue's.
 */
import { z } from "zod";
import { access } from "./access.ts";
import { lineError, requestCounts, savedItems, usage } from "./batch.ts";
import { columns, completionWindow, maxFailed, metadata, pixelMode, priority, resultFormat, supportExample, task } from "./dataset.ts";
import { generation } from "./generation.ts";
import { quotas } from "./quotas.ts";
import { batchOutcome, recordStatus } from "./status.ts";
import { weight } from "./tenant-key.ts";

const modelReference = z.object({
  name: z.string(),
  /** Queue identity: content hash and precision, as `3f…-fp32`. Two catalogue names with equal bytes share workers. */
  key: z.string(),
});
export type ModelReference = z.infer<typeof modelReference>;

/** batch.json: the request, frozen at submit. */
export const batchRequest = z.object({
  id: z.string(),
  tenant: z.string(),
  /** What the tenant may read and write, as it stood at submit: what workers hold every image and every delivery to. */
  access,
  created_at: z.int(),
  expires_at: z.int(),
  idempotency_key: z.string().nullable(),
  model: modelReference,
  task,
  input: z.string(),
  /** Absent where none were given, as include and exclude. */
  columns: columns.optional(),
  include: z.array(z.string()).optional(),
  exclude: z.array(z.string()).optional(),
  output: z.string().nullable(),
  examples: z.array(supportExample),
  question: z.string().nullable(),
  /** Absent where the task has none, as labels and rank_by. */
  prompt: z.string().optional(),
  labels: z.array(z.string()).optional(),
  rank_by: z.enum(["mean", "sum"]).optional(),
  /** Absent where none was asked for: then an animation's first frame is meant, and of a list as many as the model takes. */
  frames: z.int().optional(),
  /** Exact in batches that were frozen before one could ask. */
  pixels: pixelMode.default("exact"),
  /** Settled: with its defaults, and where it samples with a seed. For classify it means nothing. */
  generation: generation.extend({ max_new_tokens: z.int(), num_beams: z.int() }),
  on_invalid: z.enum(["fail", "skip"]),
  completion_window: completionWindow,
  metadata: metadata.nullable(),
  /** The tenant's, as it stood at submit: its share of the workers beside other tenants. 1 in batches that were frozen before there were weights. */
  weight: weight.default(1),
  /** The tenant's, as they stood at submit; absent where there was none. */
  quotas: quotas.optional(),
  /** As submitted; the control log has what came of it. 0 in batches that were frozen before one could ask. */
  priority: priority.default(0),
  /** Absent where none was asked for. */
  dry_run: z.boolean().optional(),
  /** As dry_run. */
  result_formats: z.array(resultFormat).optional(),
  /** Only where it is false. */
  deduplicate: z.boolean().optional(),
  /** Only where it was asked for. */
  reuse: z.boolean().optional(),
  /** Absent where none was given. */
  max_failed: maxFailed.optional(),
  /** Of a retry alone. */
  retry: z
    .object({
      /** The batches whose failed items it runs again, the oldest first; the last is the one that it follows. */
      lineage: z.array(z.string()).min(1),
      /** Of these only; null: all. */
      error_codes: z.array(z.string()).nullable(),
      /** The caller's own, good for as long as the batch is there: the same key answers the same retry. */
      idempotency_key: z.string().nullable(),
    })
    .optional(),
});
export type BatchRequest = z.infer<typeof batchRequest>;

/** control/<number>-<ulid>.json: what was asked of the batch; its name's number is its place in the order. */
export const control = z.discriminatedUnion("kind", [
  z.object({ kind: z.enum(["cancel", "pause"]) }),
  /** `lifts`: it was paused by its `max_failed`, which from then on holds no more. */
  z.object({ kind: z.literal("resume"), lifts: z.literal("max_failed").optional() }),
  z.object({ kind: z.literal("priority"), priority }),
  /** From the submit on, as the request's own. */
  z.object({ kind: z.literal("deadline"), completion_window: completionWindow }),
]);
export type Control = z.infer<typeof control>;

const itemWords = z.object({
  custom_id: z.string(),
  line: z.int(),
  /** Of a retry's items alone: the number that the item had in the first batch, which its lines keep, so that the lines of a lineage merge by number. */
  number: z.int().optional(),
  question: z.string().nullable(),
  /** Its own, where it brings them; otherwise the batch's are meant, as with the labels: a hundred of them in each line would be a hundredfold manifest. */
  prompt: z.string().optional(),
  labels: z.array(z.string()).optional(),
  /** The place in items.jsonl, from 0, of an earlier item that seems to show and ask the same: a hint. */
  same_as: z.int().optional(),
});

/**
 * A line of the frozen items.jsonl: a manifest's line, normalised; `line` is its number in the manifest, from 1. `images` is the list as it was given:
 * which of it are looked at follows from the batch's `frames` and the model.
 */
export const item = z.union([
  /** `etag`, without quotes: the image must still have it. From the manifest, or a prefix's listing. */
  itemWords.extend({ image: z.string(), etag: z.string().optional() }),
  itemWords.extend({ images: z.array(z.string()) }),
]);
export type Item = z.infer<typeof item>;

/** The number that an item's lines carry: its own in a retry, else its place in items.jsonl, from 0. */
export function itemNumber({ number }: Pick<Item, "number">, place: number): number {
  return number ?? place;
}

/**
 * A line of the plan's errors.jsonl: a refused manifest line (`on_invalid: "skip"`), in manifest order. It stands just before item number
 * `before_item` (counted from 0; the number of items where it is behind the last), so that parts and refusals merge without a look at the items.
 */
export const refusedLine = lineError.extend({ custom_id: z.string().nullable(), line: z.int(), before_item: z.int() });
export type RefusedLine = z.infer<typeof refusedLine>;

const exampleBytes = z.object({ sha256: z.string(), size_bytes: z.int() });

/** plan.json, written last: without it the plan's folder doesn't exist. */
export const plan = z.object({
  plan: z.string(),
  items: z.int(),
  chunks: z.int(),
  refused: z.int(),
  items_sha256: z.string(),
  /** Of its other files together: items, index, refused lines, examples, report. 0 in plans that were written before it was counted. */
  stored_bytes: z.int().default(0),
  /** A dry run's: of report.json. Its plan has no items. */
  report: z.object({ sha256: z.string() }).optional(),
  /** Of examples/<index>; a list, of examples/<index>/<place>, for one of several images; null for a text-only example. */
  examples: z.array(z.union([exampleBytes, z.array(exampleBytes)]).nullable()),
});
export type Plan = z.infer<typeof plan>;

/** What one part adds to the batch's counts. */
export const tally = z.object({
  completed: z.int(),
  failed: z.int(),
  input_tokens: z.int(),
  cached_tokens: z.int(),
  output_tokens: z.int(),
  /** Of the part's own file. 0 in tallies that were written before it was counted. */
  stored_bytes: z.int().default(0),
});
export type Tally = z.infer<typeof tally>;

/** A chunk's part, by the attempt that wrote it. */
export const partChoice = z.object({ attempt: z.string(), cut: z.boolean() });
export type PartChoice = z.infer<typeof partChoice>;

/** frontier/<epoch>-<chunks>.json: the parts of the chunks from `from` on, up to `chunks`. Together with the confirmed ones before it, it names the first `chunks` parts. */
export const frontier = z.object({
  epoch: z.int(),
  plan: z.string(),
  from: z.int(),
  chunks: z.int(),
  parts: z.array(partChoice.extend({ tally })),
});
export type Frontier = z.infer<typeof frontier>;

/** What its owner may have changed since the submit, as it held at the seal. Absent in what was written before it was kept: then the request's is the best that is known. */
const terms = batchRequest.pick({ completion_window: true, expires_at: true }).extend({ priority }).optional();

/** seals/<epoch>-<seal>.json: everything that final/ and end.json follow from. */
export const seal = z.object({
  seal: z.string(),
  outcome: batchOutcome,
  plan: z.string().nullable(),
  /** One per chunk, in order; null where the chunk has no part (cancelled or expired). */
  parts: z.array(partChoice.nullable()),
  sealed_at: z.int(),
  in_progress_at: z.int().nullable(),
  cancelling_at: z.int().nullable(),
  errors: z.array(lineError),
  terms,
});
export type Seal = z.infer<typeof seal>;

const resultFile = z.object({ key: z.string(), sha256: z.string(), lines: z.int() });

/** summary.json, beside the results: what is in them, and how a copy of them is checked. */
export const summary = z.object({
  id: z.string(),
  status: batchOutcome,
  model: z.string(),
  /** Content hash and precision. */
  model_key: z.string(),
  task,
  counts: requestCounts,
  usage,
  /** Failed lines by code. */
  codes: z.record(z.string(), z.int()),
  /** How many of them are lines of the manifest that plan refused: they never were items, and no retry runs them. */
  refused: z.record(z.string(), z.int()),
  /** Items that took the answer of an earlier one that shows and asks the same, and what it would have cost to make it again: no part of `usage`. */
  copied: z.object({ items: z.int(), input_tokens: z.int(), output_tokens: z.int() }),
  /** As `copied`, from the results of an earlier batch. */
  reused: z.object({ items: z.int(), input_tokens: z.int(), output_tokens: z.int() }),
  /** By name: output.jsonl, errors.jsonl, results.csv, results.parquet. `lines` leaves a header out. */
  files: z.record(z.string(), z.object({ size_bytes: z.int(), sha256: z.string(), lines: z.int() })),
});
export type Summary = z.infer<typeof summary>;

/**
 * rebuilt/<epoch>.json: what a rebuild after a loss of Redis chose, written before it is published. The next rebuild begins with the newest one, and believes
 * only what was written in its epoch or later.
 */
export const rebuilt = z.object({
  epoch: z.int(),
  status: recordStatus.exclude(batchOutcome.options),
  plan: z.string().nullable(),
  /** One per chunk of the plan, in order; null where the chunk has no part yet. */
  parts: z.array(partChoice.nullable()),
  /** The chunks up to the first without a part, which readers may see, and what their parts add to the counts. */
  shown: z.object({ chunks: z.int(), tally }),
  /** What it was sealed as; its plan and parts are those above. */
  seal: seal.omit({ plan: true, parts: true }).nullable(),
});
export type Rebuilt = z.infer<typeof rebuilt>;

/** end.json: the batch has ended; nothing of it changes any more. */
export const end = z.object({
  seal: z.string(),
  status: batchOutcome,
  ended_at: z.int(),
  in_progress_at: z.int().nullable(),
  finalizing_at: z.int(),
  cancelling_at: z.int().nullable(),
  terms,
  counts: requestCounts,
  /** Of the failed lines, those of items that never ran; absent in ends that were written before they were counted. */
  never_ran: z.int().optional(),
  /** What stays of the batch in the service's bucket until it is deleted: its plan's files and those of its results; absent in ends that were written before it was counted. */
  stored_bytes: z.int().optional(),
  /** Absent in ends that were written before they were counted. */
  saved: savedItems.optional(),
  usage,
  errors: z.array(lineError),
  /** Of a dry run that wasn't refused. */
  report: z.object({ key: z.string(), sha256: z.string() }).optional(),
  /** Keys in the service's bucket with their hashes; null where the batch ended without a plan, and for a dry run. */
  files: z
    .object({
      output: resultFile,
      errors: resultFile,
      /** Where they were asked for. */
      csv: resultFile.optional(),
      parquet: resultFile.optional(),
      summary: z.object({ key: z.string(), sha256: z.string() }),
    })
    .nullable(),
  /** Where the batch lends its answers. */
  lends: z
    .object({
      /** The hash of what its answers have in common. */
      recipe: z.string(),
      /** The object by which it is found; the first to go where the batch is deleted. */
      key: z.string(),
      /** Of its index, over all segments. */
      entries: z.int(),
      output_bytes: z.int(),
    })
    .optional(),
});
export type End = z.infer<typeof end>;

/** deleted.json: the batch is deleted. Written first; the last object of it to go. */
export const deletion = z.object({
  tenant: z.string(),
  deleted_at: z.int(),
  because: z.enum(["asked", "retention"]),
  /** Of a retry alone: the batches before it. While one of them stands this object does, so that their next retry doesn't take the same id. */
  lineage: z.array(z.string()).optional(),
});
export type Deletion = z.infer<typeof deletion>;

/** after.json: what follows the end (the copy to the customer's output) is done, or given up with its reason. */
export const after = z.object({
  delivery: z.object({ status: z.enum(["delivered", "failed"]), error: z.string().nullable() }).nullable(),
});
export type After = z.infer<typeof after>;
