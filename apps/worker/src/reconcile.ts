/**
 * Finds what a crash left half done, and takes it up: whatever fell over between any two commands, a batch always ends.
 * Owns the look at the markers in S3 beside Redis; what Redis alone can mend is the queue's `repair`, and a Redis that was lost is rebuild.ts's. One worker at a time, under a lease; harmless if two did it.
 */
import { batchRequest, deletion, end as endSchema, isEnded } from "@flamboyance/contracts";
import type { Lease } from "@flamboyance/queue";
import { batchKeys, hasBegun, openPrefix, readJson } from "@flamboyance/storage";
import { isAway } from "./fate.ts";
import { advanceFrontier } from "./frontier.ts";
import { failure, type Log } from "./log.ts";
import { rebuildAlone, relistEnded, type RebuildDependencies } from "./rebuild.ts";
import { deleteKeptTooLong } from "./retention.ts";
import { storeTime, sweepBatch, sweepDeleted, type Swept } from "./sweep.ts";

export interface ReconcileDependencies extends RebuildDependencies {
  readonly leaseMs: number;
  /** How old left-overs must be to be swept: older than any lock. */
  readonly sweepMs: number;
  /** How long an ended batch is kept; null: for ever. */
  readonly keptMs: number | null;
}

const batchesPerRenewal = 100;
/** So much is swept in one round at most: the rest stays due, and repair never waits long for it. */
const sweptPerRound = { batches: 50, objects: 20_000 };

export interface Reconciler {
  round(signal: AbortSignal): Promise<void>;
}

export function openReconciler(dependencies: ReconcileDependencies): Reconciler {
  // Batches whose end.json this process has looked for: once each.
  const looked = new Set<string>();
  return {
    round: async (signal) => {
      const { queue, leaseMs } = dependencies;
      const lease = await queue.lease("reconcile", leaseMs);
      if (lease === null) return;
      try {
        await promoteDelayed(dependencies, signal);
        await mendBatches(dependencies, lease, signal);
        await mendMarkers(dependencies, lease, looked, signal);
        for (const key of await queue.models()) await queue.dispatch(key);
        await endRetention(dependencies, signal);
        await sweepBatches(dependencies, lease, signal);
        await relistEnded(dependencies, signal);
      } finally {
        await lease.release();
      }
    },
  };
}

async function promoteDelayed({ queue, metrics, log }: ReconcileDependencies, signal: AbortSignal): Promise<void> {
  const putOff = await queue.promoteDelayed(signal);
  if (putOff === 0) return;
  log.warn({ jobs: putOff }, "jobs were put off by a wrong clock, and wait no longer");
  for (let count = 0; count < putOff; count++) metrics.repaired("delay");
}

/** Every batch that isn't settled: lost jobs, missed seals and deadlines, confirmed results. */
async function mendBatches(dependencies: ReconcileDependencies, lease: Lease, signal: AbortSignal): Promise<void> {
  const { queue, metrics, log } = dependencies;
  let looked = 0;
  for await (const id of queue.openBatches()) {
    if (signal.aborted) return;
    await alone(log, id, async () => {
      for (const repair of await queue.repair(id)) {
        metrics.repaired(repair.kind);
        log.info({ batch: id, repair }, "repaired");
      }
      await advanceFrontier(dependencies, id, signal);
    });
    looked += 1;
    if (looked % batchesPerRenewal === 0 && !(await lease.renew())) return;
  }
}

/** Every marker in S3: a submit that broke off, an end that Redis doesn't know, a marker that was left behind. */
async function mendMarkers(dependencies: ReconcileDependencies, lease: Lease, looked: Set<string>, signal: AbortSignal): Promise<void> {
  const { storage, queue, serviceBucket: bucket, log } = dependencies;
  const open = new Set<string>();
  for await (const { key } of storage.list({ bucket, key: openPrefix }, { signal })) {
    const id = key.slice(openPrefix.length);
    open.add(id);
    await alone(log, id, async () => {
      const record = await queue.batch(id);
      if (record === null) await takeUp(dependencies, id, signal);
      else if (record.settled) await storage.remove([{ bucket, key }], { signal });
      else if (!isEnded(record.status) && !looked.has(id)) {
        await copyEnd(dependencies, id, signal);
        looked.add(id);
      }
    });
    if (open.size % batchesPerRenewal === 0 && !(await lease.renew())) return;
  }
  for (const id of looked) if (!open.has(id)) looked.delete(id);
}

/** Batches whose time is over; the sweep takes them. */
async function endRetention(
  { storage, queue, serviceBucket, keptMs, metrics, log }: ReconcileDependencies,
  signal: AbortSignal,
): Promise<void> {
  if (keptMs === null) return;
  const each = { keptMs, alone: (id: string, work: () => Promise<void>) => alone(log, id, work) };
  const deleted = await deleteKeptTooLong({ storage, queue, serviceBucket }, each, signal);
  for (let count = 0; count < deleted; count++) metrics.repaired("retention");
}

/** What settled batches left behind. A batch whose look fails waits for its next one like those where something was found: it keeps no other from being swept. */
async function sweepBatches(dependencies: ReconcileDependencies, lease: Lease, signal: AbortSignal): Promise<void> {
  const { queue, metrics, log, sweepMs } = dependencies;
  const due = await queue.sweepable({ ageMs: sweepMs, limit: sweptPerRound.batches });
  if (due.length === 0) return;
  const beforeMs = (await storeTime(dependencies, signal)) - sweepMs;
  let maxObjects = sweptPerRound.objects;
  for (const id of due) {
    if (signal.aborted || maxObjects === 0 || !(await lease.renew())) return;
    await alone(log, id, async () => {
      const { removed, left } = await sweep(dependencies, id, { beforeMs, maxObjects }, signal).catch(async (error: unknown) => {
        if (!isAway(error)) await queue.swept({ id, again: true });
        throw error;
      });
      maxObjects -= removed;
      if (removed > 0) metrics.repaired("sweep");
      if (left !== "more") await queue.swept({ id, again: left === "later" });
    });
  }
}

async function sweep(
  dependencies: ReconcileDependencies,
  id: string,
  bounds: { readonly beforeMs: number; readonly maxObjects: number },
  signal: AbortSignal,
): Promise<Swept> {
  const { storage, queue, serviceBucket: bucket } = dependencies;
  const decided = await readJson(storage, { bucket, key: batchKeys(id).deleted }, deletion, signal);
  if (decided === null) return sweepBatch(dependencies, id, bounds, signal);
  // Whoever wrote it may have fallen over before this.
  await queue.forgetDeleted({ id, tenant: decided.tenant });
  return sweepDeleted(dependencies, id, bounds, signal);
}

/** One batch's own trouble (an object or a record that can't be read) keeps no other from being looked after; what is away is away for all, and ends the round. */
async function alone(log: Log, id: string, look: () => Promise<void>): Promise<void> {
  try {
    await look();
  } catch (error) {
    if (isAway(error)) throw error;
    log.error({ batch: id, ...failure(error) }, "a batch can't be looked after");
  }
}

/** A marker without a record: where only batch.json stands, its submit broke off and goes on here. A batch of which there is more is rebuilt. */
async function takeUp(dependencies: ReconcileDependencies, id: string, signal: AbortSignal): Promise<void> {
  const { storage, queue, serviceBucket: bucket, metrics, log } = dependencies;
  const keys = batchKeys(id);
  if ((await storage.describe({ bucket, key: keys.deleted }, { signal })) !== null) {
    await storage.remove([{ bucket, key: keys.marker }], { signal });
    return;
  }
  if (await hasBegun(storage, bucket, id, signal)) {
    await rebuildAlone(dependencies, id, signal);
    return;
  }
  const request = await readJson(storage, { bucket, key: keys.request }, batchRequest, signal);
  if (request === null) return;
  await queue.submit(request);
  metrics.repaired("submit");
  log.info({ batch: id }, "a submit that broke off goes on");
}

/** end.json stands though the record hasn't ended: it is the truth. */
async function copyEnd(
  { storage, queue, serviceBucket: bucket, metrics, log }: ReconcileDependencies,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  const end = await readJson(storage, { bucket, key: batchKeys(id).end }, endSchema, signal);
  if (end === null) return;
  const answer = await queue.copyEnd({ id, end });
  metrics.repaired("end");
  log.info({ batch: id, answer: answer.kind }, "copied the end");
}
