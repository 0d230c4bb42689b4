/** One round: a batch on three workers, its faults, its owner's wish, a reader that follows; then the look at what came of it. Owns their order and how long is waited before a batch counts as stuck. */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { FlamboyanceError } from "@flamboyance/client";
import { CodedError, end as endSchema, isEnded, type Batch, type ResultLine } from "@flamboyance/contracts";
import { noOpModelName } from "@flamboyance/dev/no-op-model";
import { serviceBucket } from "@flamboyance/dev/system";
import { batchKeys, readJson } from "@flamboyance/storage";
import { brokenLaws, type Broken } from "./check-round.ts";
import { openInjection } from "./inject.ts";
import type { Manifest } from "./manifests.ts";
import type { Fault, RoundPlan } from "./plan-round.ts";
import type { Stage } from "./stage.ts";

export interface RoundResult {
  readonly id: string | null;
  readonly status: Batch["status"] | null;
  readonly met: readonly Fault[];
  readonly broken: readonly Broken[];
  /** Nobody sweeps after it: Redis was lost when it was settled. */
  readonly unswept: boolean;
  /** Items that ran more than once. */
  readonly again: number;
  readonly ms: number;
}

/** Long, for a crowded machine: what is stuck stays so. */
const stuckAfterMs = 300_000;
const lookEveryMs = 50;

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
  let id: string | null = null;
  let status: Batch["status"] | null = null;
  const result = (broken: readonly Broken[]): RoundResult => ({
    id,
    status,
    met: injection.met(),
    broken,
    unswept: injection.lostSettled(),
    again: rows.length - new Set(rows).size,
    ms: Math.round(performance.now() - startedMs),
  });
  try {
    injection.begin();
    const completion_window = plan.wish.kind === "expiry" ? `${plan.wish.seconds}s` : "24h";
    const body = { model: noOpModelName, task: "vqa", input: manifest.input, on_invalid: "skip", completion_window } as const;
    const idempotencyKey = randomUUID();
    const submitted = await insist(deadline, () => stage.client.batches.create(body, { idempotencyKey }));
    id = submitted.id;
    const wished = grant(stage, plan, id, () => rows.length, deadline);
    const shown = await follow(stage, id, deadline);
    const cancelled = await wished;
    const batch = await insist(deadline, () => stage.client.batches.get(submitted.id));
    status = batch.status;
    if (!isEnded(status)) throw new Error(`a reader came to an end while the batch was ${status}`);
    await settled(stage, id, deadline);
    await injection.over();
    // Redis may have been emptied just now: api and queue say so until it is rebuilt.
    const look = await insist(deadline, () => lookAt(stage, submitted.id, deadline));
    const counted = { asked: rows.length, different: new Set(rows).size };
    return result(brokenLaws({ plan, manifest, shown, cancelled, rows: counted, met: injection.met(), ...look }));
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

/** Asks again until there is an answer; a refusal is one. */
async function insist<Answer>(signal: AbortSignal, ask: () => Promise<Answer>): Promise<Answer> {
  for (;;) {
    try {
      return await ask();
    } catch (error) {
      if (!isPassing(error) || signal.aborted) throw error;
      await sleep(lookEveryMs, undefined, { signal });
    }
  }
}

function isPassing(error: unknown): boolean {
  return error instanceof FlamboyanceError || error instanceof CodedError ? error.retryable : false;
}

/** What the owner wishes. True where a cancel was answered as done. */
async function grant(stage: Stage, { wish }: RoundPlan, id: string, rows: () => number, signal: AbortSignal): Promise<boolean> {
  if (wish.kind === "none" || wish.kind === "expiry") return false;
  const { batches } = stage.client;
  while (rows() < wish.rows) {
    if (isEnded((await insist(signal, () => batches.get(id))).status)) return false;
    await sleep(lookEveryMs, undefined, { signal });
  }
  // A conflict: it was over before.
  const asked = async (ask: () => Promise<Batch>): Promise<boolean> => {
    try {
      await insist(signal, ask);
      return true;
    } catch (error) {
      if (error instanceof FlamboyanceError && error.code === "conflict") return false;
      throw error;
    }
  };
  if (wish.kind === "cancel") return asked(() => batches.cancel(id));
  if (await asked(() => batches.pause(id))) {
    await sleep(wish.forMs, undefined, { signal });
    await asked(() => batches.resume(id));
  }
  return false;
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

async function lookAt(stage: Stage, id: string, signal: AbortSignal) {
  const lines: ResultLine[] = [];
  for await (const line of stage.client.batches.results(id, { limit: 1_000 })) lines.push(line);
  const at = (key: string) => ({ bucket: serviceBucket, key });
  const end = await readJson(stage.storage, at(batchKeys(id).end), endSchema, signal);
  const read = async (key: string) => (await stage.storage.read(at(key), { signal })).bytes;
  const files = end?.files == null ? null : { output: await read(end.files.output.key), errors: await read(end.files.errors.key) };
  const batch = await stage.client.batches.get(id);
  return { batch, record: await stage.queue.batch(id), end, lines, files };
}
