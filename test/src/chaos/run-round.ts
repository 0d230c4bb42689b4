/** One round: a batch on three workers, its faults, its owner's wishes, a reader that follows; then the look at what came of it. Owns their order and how long is waited before a batch counts as stuck. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { end as endSchema, isEnded, type Batch, type End, type ResultLine } from "@flamboyance/contracts";
import { noOpModelName } from "@flamboyance/dev/no-op-model";
import { serviceBucket } from "@flamboyance/dev/system";
import { batchKeys, readJson } from "@flamboyance/storage";
import type { Broken, SeenBatch } from "./check-batch.ts";
import type { SeenRetry } from "./check-retry.ts";
import { brokenLaws } from "./check-round.ts";
import { openInjection } from "./inject.ts";
import type { Manifest } from "./manifests.ts";
import { askRetry, grant, insist, lookEveryMs, type RetryAnswer } from "./owner.ts";
import type { Fault, RoundPlan } from "./plan-round.ts";
import type { Stage } from "./stage.ts";

export interface RoundResult {
  readonly id: string | null;
  readonly status: Batch["status"] | null;
  /** What came of asking for a retry: its end, or the refusal's code; null where none was asked for, or nothing came of it. */
  readonly retry: string | null;
  /** The batches that ended, with their ends. */
  readonly ended: ReadonlyMap<string, Batch["status"]>;
  readonly met: readonly Fault[];
  readonly broken: readonly Broken[];
  /** Items that ran more than once. */
  readonly again: number;
  readonly ms: number;
}

/** Long, for a crowded machine: what is stuck stays so. */
const stuckAfterMs = 300_000;

export async function runRound(stage: Stage, plan: RoundPlan, manifest: Manifest): Promise<RoundResult> {
  const startedMs = performance.now();
  const injection = openInjection(stage, plan.faults);
  const rows: string[] = [];
  stage.asks.hear({
    step: async (asked) => {
      // The dead aren't answered.
      if (!(await injection.step(asked))) await new Promise(() => {});
    },
    row: async (row) => {
      rows.push(row);
      injection.rows(rows.length);
      if (plan.rowMs > 0) await sleep(plan.rowMs);
    },
    image: async (sha256, pid) => {
      if (sha256 === manifest.poisonSha256 && !(await injection.poison(pid))) await new Promise(() => {});
    },
  });
  const deadline = AbortSignal.timeout(stuckAfterMs);
  const ended = new Map<string, Batch["status"]>();
  let id: string | null = null;
  let retry: RetryAnswer | null = null;
  const result = (broken: readonly Broken[]): RoundResult => ({
    id,
    status: ended.get(id ?? "") ?? null,
    retry: retry?.kind === "made" ? (ended.get(retry.id) ?? null) : (retry?.code ?? null),
    ended,
    met: injection.met(),
    broken,
    again: rows.length - new Set(rows).size,
    ms: Math.round(performance.now() - startedMs),
  });
  const followToEnd = async (batchId: string): Promise<ResultLine[]> => {
    const shown = await follow(stage, batchId, deadline);
    const { status } = await insist(deadline, () => stage.client.batches.get(batchId));
    if (!isEnded(status)) throw new Error(`a reader came to an end while the batch was ${status}`);
    ended.set(batchId, status);
    return shown;
  };
  try {
    injection.begin();
    const completion_window = plan.wish.kind === "expiry" ? `${plan.wish.seconds}s` : "24h";
    const body = { model: noOpModelName, task: "vqa", input: manifest.input, on_invalid: "skip", completion_window } as const;
    const idempotencyKey = randomUUID();
    const submitted = await insist(deadline, () => stage.client.batches.create(body, { idempotencyKey }));
    id = submitted.id;
    const wished = grant(stage.client, plan, id, () => rows.length, deadline);
    // Where the batch is stuck both give up, and one answer is enough.
    wished.catch(() => {});
    const shown = await followToEnd(id);
    const cancelled = await wished;
    const endBefore = await insist(deadline, () => readEnd(stage, submitted.id, deadline));
    // At once: what follows the end isn't done, and the round's faults go on.
    if (plan.retry) retry = await askRetry(stage.client, id, deadline);
    const shownRetry = retry?.kind === "made" ? await followToEnd(retry.id) : [];
    for (const batchId of ended.keys()) await settled(stage, batchId, deadline);
    await injection.over();
    // Redis may have been emptied just now: api and queue say so until it is rebuilt.
    const look = await insist(deadline, () => lookAt(stage, submitted.id, shown, deadline));
    const lookAtRetry = async (made: string): Promise<SeenRetry> => ({
      kind: "ran",
      retry: await lookAt(stage, made, shownRetry, deadline),
      merged: await linesOf(stage, submitted.id, true),
      endBefore,
    });
    const answered = retry;
    const seenRetry = answered?.kind === "made" ? await insist(deadline, () => lookAtRetry(answered.id)) : answered;
    const counted = { asked: rows.length, different: new Set(rows).size };
    return result(brokenLaws({ ...look, plan, manifest, cancelled, retry: seenRetry, rows: counted, met: injection.met() }));
  } catch (error) {
    await injection.over();
    const what = error instanceof Error ? error.message : String(error);
    return result([
      deadline.aborted ? { law: "stuck", what: `nothing came of it in ${stuckAfterMs / 1_000} s: ${what}` } : { law: "wrong", what },
    ]);
  } finally {
    stage.asks.hear(null);
  }
}

/** Reads lines as they come, to the batch's end. */
async function follow(stage: Stage, id: string, signal: AbortSignal): Promise<ResultLine[]> {
  const lines: ResultLine[] = [];
  for (let after: string | undefined; ;) {
    const options = { limit: 1_000, ...(after === undefined ? {} : { after }) };
    const page = await insist(signal, () => stage.client.batches.resultsPage(id, options));
    lines.push(...page.data);
    if (page.next === null) return lines;
    after = page.next;
    if (!page.has_more) await sleep(lookEveryMs, undefined, { signal });
  }
}

/** The marker goes last of all. */
async function settled(stage: Stage, id: string, signal: AbortSignal): Promise<void> {
  const marker = { bucket: serviceBucket, key: batchKeys(id).marker };
  const stands = () => stage.storage.describe(marker, { signal }).then((found) => found !== null);
  // S3's weather is ours as well.
  while (await stands().catch(() => true)) await sleep(lookEveryMs, undefined, { signal });
}

async function lookAt(stage: Stage, id: string, shown: readonly ResultLine[], signal: AbortSignal): Promise<SeenBatch> {
  const lines = await linesOf(stage, id, false);
  const end = await readEnd(stage, id, signal);
  const read = async (key: string) => (await stage.storage.read({ bucket: serviceBucket, key }, { signal })).bytes;
  const files = end?.files == null ? null : { output: await read(end.files.output.key), errors: await read(end.files.errors.key) };
  const batch = await stage.client.batches.get(id);
  return { batch, record: await stage.queue.batch(id), end, lines, shown, files };
}

async function linesOf({ client }: Stage, id: string, lineage: boolean): Promise<ResultLine[]> {
  const lines: ResultLine[] = [];
  for await (const line of client.batches.results(id, { limit: 1_000, lineage })) lines.push(line);
  return lines;
}

function readEnd({ storage }: Stage, id: string, signal: AbortSignal): Promise<End | null> {
  return readJson(storage, { bucket: serviceBucket, key: batchKeys(id).end }, endSchema, signal);
}
