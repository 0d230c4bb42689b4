/** A worker's steps, one by one and by hand: plan, record parts, confirm the frontier, seal, end. */
import {
  failedLine,
  linePosition,
  refusedResultLine,
  succeededLine,
  type End,
  type ErrorCode,
  type RefusedLine,
  type ResultLine,
  type Summary,
} from "@flamboyance/contracts";
import { newUlid } from "@flamboyance/queue";
import { batchKeys, encodePlanIndex } from "@flamboyance/storage";
import { modelKey, serviceBucket, type Service } from "./service.ts";

export interface HandPlan {
  readonly id: string;
  readonly plan: string;
  /** Result lines by chunk. */
  readonly chunks: readonly (readonly ResultLine[])[];
  readonly refused: readonly RefusedLine[];
  readonly storedBytes: number;
}

export interface HandItems {
  /** Which numbers fail, and of what. Default: every third. */
  readonly fails?: (item: number) => ErrorCode | null;
  /** Of a retry: the numbers of its items. Default: their places. */
  readonly numbers?: readonly number[];
  /** By so much the plan is said to be larger than what is written of it. */
  readonly moreBytes?: number;
}

/** Adopts a plan of chunks with so many items each, and of lines refused before some items (`[line, before item]`). */
export async function plan(
  { queue, put }: Service,
  id: string,
  items: readonly number[],
  refused: readonly (readonly [number, number])[] = [],
  { fails = (item) => (item % 3 === 2 ? "image_not_found" : null), numbers, moreBytes = 0 }: HandItems = {},
) {
  const keys = batchKeys(id);
  const name = newUlid();
  let firstItem = 0;
  const planned = items.map((count) => {
    const chunk = { offsetBytes: 0, sizeBytes: 0, firstItem, items: count };
    firstItem += count;
    return chunk;
  });
  const index = encodePlanIndex(planned);
  const made = {
    id,
    plan: name,
    chunks: planned.map((chunk) =>
      Array.from({ length: chunk.items }, (_, at) => {
        const number = numbers?.[chunk.firstItem + at] ?? chunk.firstItem + at;
        return lineOf(id, number, fails(number));
      }),
    ),
    refused: refused.map(([line, beforeItem]) => ({
      code: "invalid_line" as const,
      message: "m",
      param: null,
      line,
      custom_id: null,
      before_item: beforeItem,
    })),
  };
  const errors = made.refused.map((line) => `${JSON.stringify(line)}\n`).join("");
  const storedBytes = index.length + Buffer.byteLength(errors) + moreBytes;
  await put(serviceBucket, keys.plan(name).index, index);
  await put(serviceBucket, keys.plan(name).errors, errors);
  await queue.announce({ worker: "by-hand", model: modelKey, slots: 100 }, 600_000);
  await queue.adoptPlan({ id, plan: name, items: firstItem, chunks: items.length, refused: refused.length, storedBytes });
  return { ...made, storedBytes };
}

/** Every line of the batch, in the manifest's order. */
export function linesOf({ id, chunks, refused }: HandPlan): ResultLine[] {
  const items = chunks.flat();
  const before = (item: number) => refused.filter((line) => line.before_item === item).map((line) => refusedResultLine(id, line));
  return [...items.flatMap((line, item) => [...before(item), line]), ...before(items.length)];
}

/** Writes and records the part of each of these chunks. */
export async function record({ queue, put }: Service, { id, plan: name, chunks }: HandPlan, numbers: readonly number[]): Promise<void> {
  await queue.dispatch(modelKey);
  for (const chunk of numbers) {
    const attempt = newUlid();
    const lines = chunks[chunk] ?? [];
    const claimed = await queue.claim({ id, chunk, attempt, dispatch: chunk + 1, worker: "by-hand" });
    if (claimed.kind !== "run") throw new Error(`chunk ${chunk}: ${claimed.kind}`);
    const text = lines.map((line) => `${JSON.stringify(line)}\n`).join("");
    await put(serviceBucket, batchKeys(id).part(name, chunk, attempt, false), text);
    const failed = lines.filter((line) => line.response?.status_code !== 200).length;
    const tokens = { input_tokens: 10, cached_tokens: 4, output_tokens: 3 };
    const tally = { completed: lines.length - failed, failed, ...tokens, stored_bytes: Buffer.byteLength(text) };
    const answer = await queue.record({ id, chunk, plan: name, attempt, cut: false, tally });
    if (answer.kind !== "recorded") throw new Error(`chunk ${chunk}: ${JSON.stringify(answer)}`);
  }
}

/** Lets readers see the first chunks. */
export async function confirm({ queue }: Service, { id }: HandPlan, chunks: number): Promise<void> {
  if (!(await queue.confirmFrontier({ id, epoch: 1, chunks }))) throw new Error("the frontier wasn't confirmed");
}

/** Seals a batch whose chunks are all recorded, writes its final files and ends it: as completed, or as what stopped it. */
export async function finish({ queue, put }: Service, batch: HandPlan): Promise<End> {
  const { id } = batch;
  const seal = newUlid();
  const sealed = await queue.seal({ id, seal, outcome: "completed" });
  if (sealed.kind !== "sealed") throw new Error(JSON.stringify(sealed));
  await queue.sealed({ id, seal });
  const keys = batchKeys(id).final(seal);
  const lines = linesOf(batch);
  const completed = lines.filter((line) => line.response?.status_code === 200);
  const failed = lines.filter((line) => line.response?.status_code !== 200);
  const text = (some: readonly ResultLine[]) => some.map((line) => `${JSON.stringify(line)}\n`).join("");
  await put(serviceBucket, keys.output, text(completed));
  await put(serviceBucket, keys.errors, text(failed));
  const usage = {
    input_tokens: 10,
    input_tokens_details: { cached_tokens: 4 },
    output_tokens: 3,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 13,
  };
  const counts = { total: lines.length, completed: completed.length, failed: failed.length };
  const summary: Summary = {
    id,
    status: sealed.outcome,
    model: "demo",
    model_key: modelKey,
    task: "caption",
    counts,
    usage,
    ...codesOf(failed),
    copied: { items: 0, input_tokens: 0, output_tokens: 0 },
    reused: { items: 0, input_tokens: 0, output_tokens: 0 },
    files: {},
  };
  await put(serviceBucket, keys.summary, JSON.stringify(summary));
  const sealedRecord = await queue.batch(id);
  if (sealedRecord === null) throw new Error("its record is gone");
  const { completionWindow, expiresAt, priority } = sealedRecord;
  const end: End = {
    seal,
    status: sealed.outcome,
    ended_at: 2_000_000_000,
    in_progress_at: 1_900_000_000,
    finalizing_at: 1_950_000_000,
    cancelling_at: null,
    terms: { completion_window: completionWindow, expires_at: expiresAt, priority },
    counts,
    usage,
    stored_bytes: batch.storedBytes + Buffer.byteLength(text(lines)),
    errors: [],
    files: {
      output: { key: keys.output, sha256: "", lines: completed.length },
      errors: { key: keys.errors, sha256: "", lines: failed.length },
      summary: { key: keys.summary, sha256: "" },
    },
  };
  await put(serviceBucket, batchKeys(id).end, JSON.stringify(end));
  const ended = await queue.end({ id, end });
  if (ended.kind !== "ended") throw new Error(JSON.stringify(ended));
  return end;
}

function codesOf(failed: readonly ResultLine[]): Pick<Summary, "codes" | "refused"> {
  const [codes, refused]: [Record<string, number>, Record<string, number>] = [{}, {}];
  for (const { id, error, response } of failed) {
    const code = error?.code ?? (response !== null && "error" in response.body ? response.body.error.code : null) ?? "?";
    codes[code] = (codes[code] ?? 0) + 1;
    if (linePosition(id)?.refusedLine !== null) refused[code] = (refused[code] ?? 0) + 1;
  }
  return { codes, refused };
}

function lineOf(batchId: string, item: number, fails: ErrorCode | null): ResultLine {
  const identity = { batchId, item, customId: `item ${item}` };
  if (fails !== null) return failedLine(identity, fails, "It failed.");
  return succeededLine(identity, {
    created: 1,
    model: "demo",
    choices: [
      { index: 0, message: { role: "assistant", content: `answer ${item}`, refusal: null }, finish_reason: "stop", logprobs: null },
    ],
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2, prompt_tokens_details: { cached_tokens: 0 } },
  });
}
