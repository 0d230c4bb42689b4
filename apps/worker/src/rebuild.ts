/**
 * Takes up from S3 what Redis lost: the service's epoch, what is left removed, each open batch as it stands in S3, the sentinel last. Owns the order of a rebuild,
 * and what becomes of a batch that can't be read. One process at a time, under a lease whose loss ends it; nothing it wrote before counts until it is published.
 */
import {
  after as afterSchema,
  batchRequest,
  end as endSchema,
  rebuilt as rebuiltSchema,
  seal as sealSchema,
  type BatchRequest,
  type End,
  type Rebuilt,
} from "@flamboyance/contracts";
import type { Queue, Rebuild } from "@flamboyance/queue";
import { batchesPrefix, batchKeys, jsonLine, openPrefix, readJson, type Storage } from "@flamboyance/storage";
import { chooseState } from "./choose-state.ts";
import { countParts } from "./count-parts.ts";
import { takeEpoch } from "./epoch.ts";
import { isAway } from "./fate.ts";
import { Gate } from "./gate.ts";
import { failure, type Log } from "./log.ts";
import type { Metrics } from "./metrics.ts";
import { repeat } from "./repeat.ts";
import { readStoredState } from "./stored-state.ts";

export interface RebuildDependencies {
  readonly storage: Storage;
  readonly queue: Queue;
  readonly serviceBucket: string;
  readonly metrics: Metrics;
  readonly log: Log;
  /** How long a rebuild outlives the silence of the process that does it. */
  readonly rebuildLeaseMs: number;
}

const batchesAtOnce = 8;

/** Where Redis isn't believed: rebuilds every open batch, and answers true once it is believed again. False where there was nothing to do, or another is at it. */
export async function rebuildLost(dependencies: RebuildDependencies, signal: AbortSignal): Promise<boolean> {
  const { queue, metrics, log } = dependencies;
  if ((await queue.believed()) !== null) return false;
  const done = await underLease(dependencies, signal, async (rebuild, epoch, held) => {
    if (!rebuild.lost) return false;
    log.warn({ epoch }, "Redis is new, emptied or restarted: what is open is rebuilt from S3");
    await rebuild.forget(held);
    const { batches, failed } = await rebuildOpen(dependencies, rebuild, epoch, held);
    await rebuild.believe(epoch);
    metrics.repaired("redis");
    log.warn({ epoch, batches, failed }, "Redis is rebuilt");
    return true;
  });
  return done ?? false;
}

/** One batch that has no record though Redis is believed: its rebuild failed, or it was lost by itself. Under an epoch of its own. */
export async function rebuildAlone(dependencies: RebuildDependencies, id: string, signal: AbortSignal): Promise<void> {
  await underLease(dependencies, signal, async (rebuild, epoch, held) => {
    // Rebuilt by another meanwhile: a choice under a higher epoch than its record's must never stand.
    if (rebuild.lost || (await dependencies.queue.batch(id)) !== null) return;
    await rebuildBatch(dependencies, rebuild, { id, epoch }, held);
  });
}

/** Null where another holds the lease. */
async function underLease<Result>(
  { queue, storage, serviceBucket, rebuildLeaseMs }: RebuildDependencies,
  signal: AbortSignal,
  work: (rebuild: Rebuild, epoch: number, signal: AbortSignal) => Promise<Result>,
): Promise<Result | null> {
  const rebuild = await queue.beginRebuild(rebuildLeaseMs);
  if (rebuild === null) return null;
  const over = new AbortController();
  const held = AbortSignal.any([signal, over.signal]);
  const renewing = repeat({ everyMs: rebuildLeaseMs / 3, signal: held, onFailure: (error) => over.abort(error) }, () => rebuild.renew());
  try {
    const epoch = await takeEpoch(storage, serviceBucket, held);
    // Whoever takes the lease from here on takes a higher epoch: only so may anything be written under this one.
    await rebuild.renew();
    return await work(rebuild, epoch, held);
  } finally {
    over.abort();
    await renewing;
    await rebuild.release().catch(() => {});
  }
}

/**
 * After a rebuild: gives the next `limit` batches that are settled, and have no row, their rows again, so that lists show them. Open ones have theirs by now.
 */
export async function relistEnded(
  { queue, storage, serviceBucket: bucket, rebuildLeaseMs, log }: RebuildDependencies,
  signal: AbortSignal,
  limit = 1_000,
): Promise<void> {
  const after = await queue.relistAfter();
  const rebuild = after === null ? null : await queue.beginRebuild(rebuildLeaseMs);
  if (after === null || rebuild === null) return;
  try {
    if (rebuild.lost) return;
    const startAfter = after === "" ? {} : { startAfter: batchKeys(after).folderPrefix };
    let looked = 0;
    for await (const folder of storage.folders({ bucket, key: batchesPrefix }, { signal, ...startAfter })) {
      const id = folder.slice(batchesPrefix.length, -1);
      await relist({ queue, storage, bucket }, rebuild, id, signal).catch((error: unknown) => {
        if (isAway(error)) throw error;
        log.error({ batch: id, ...failure(error) }, "an ended batch can't be listed");
      });
      looked += 1;
      if (looked === limit) return await rebuild.relisted(id);
      if (looked % batchesPerRenewal === 0) await rebuild.renew();
    }
    await rebuild.relisted(null);
  } finally {
    await rebuild.release().catch(() => {});
  }
}

const batchesPerRenewal = 50;

async function relist(
  { queue, storage, bucket }: { readonly queue: Queue; readonly storage: Storage; readonly bucket: string },
  rebuild: Rebuild,
  id: string,
  signal: AbortSignal,
): Promise<void> {
  const keys = batchKeys(id);
  // Its sweep goes on; also where its row is back, with a Redis that came without its last second.
  if ((await storage.describe({ bucket, key: keys.deleted }, { signal })) !== null) return void (await queue.startDelete({ id }));
  if ((await queue.batch(id)) !== null) return;
  const after = await readJson(storage, { bucket, key: keys.after }, afterSchema, signal);
  const request = after === null ? null : await readJson(storage, { bucket, key: keys.request }, batchRequest, signal);
  const end = request === null ? null : await readJson(storage, { bucket, key: keys.end }, endSchema, signal);
  if (request === null || end === null) return;
  await publishEnded({ storage, bucket }, rebuild, request, end, signal);
}

async function rebuildOpen(dependencies: RebuildDependencies, rebuild: Rebuild, epoch: number, signal: AbortSignal) {
  const { storage, serviceBucket: bucket, metrics, log } = dependencies;
  const stopped = new AbortController();
  const either = AbortSignal.any([signal, stopped.signal]);
  const gate = new Gate({ holders: batchesAtOnce });
  const underWay = new Set<Promise<void>>();
  const count = { batches: 0, failed: 0 };
  try {
    for await (const { key } of storage.list({ bucket, key: openPrefix }, { signal: either })) {
      const id = key.slice(openPrefix.length);
      const pass = await gate.enter(either);
      const done: Promise<void> = rebuildBatch(dependencies, rebuild, { id, epoch }, either)
        .then(() => {
          count.batches += 1;
          metrics.repaired("rebuild");
        })
        .catch((error: unknown) => {
          if (isAway(error)) return stopped.abort(error);
          // Its own trouble keeps no other from going on; reconcile tries it again.
          count.failed += 1;
          log.error({ batch: id, ...failure(error) }, "a batch can't be rebuilt");
        })
        .finally(() => {
          pass.release();
          underWay.delete(done);
        });
      underWay.add(done);
    }
  } finally {
    await Promise.all(underWay);
  }
  stopped.signal.throwIfAborted();
  return count;
}

async function rebuildBatch(
  { storage, serviceBucket: bucket, log }: RebuildDependencies,
  rebuild: Rebuild,
  { id, epoch }: { readonly id: string; readonly epoch: number },
  signal: AbortSignal,
): Promise<void> {
  const keys = batchKeys(id);
  const json = { contentType: "application/json", signal };
  const request = await readJson(storage, { bucket, key: keys.request }, batchRequest, signal);
  if (request === null) return;
  if ((await storage.describe({ bucket, key: keys.deleted }, { signal })) !== null) {
    await storage.remove([{ bucket, key: keys.marker }], { signal });
    return;
  }
  const end = await readJson(storage, { bucket, key: keys.end }, endSchema, signal);
  if (end !== null) {
    await publishEnded({ storage, bucket }, rebuild, request, end, signal);
    return;
  }
  const stored = await readStoredState({ storage, bucket, signal }, id);
  const chosen = chooseState(stored, request, rebuild.now);
  const { tally, shown, loose } = await countParts({ storage, bucket, signal }, { id, base: stored.base }, chosen);
  const { status, controls, plan, parts, seal } = chosen;
  const sealed = rebuiltSchema.shape.seal.parse(seal);
  const written: Rebuilt = { epoch, status, plan: plan?.plan ?? null, parts: [...parts], shown, seal: sealed };
  await storage.write({ bucket, key: keys.rebuilt(epoch) }, jsonLine(written), json);
  const inProgressAt = seal?.in_progress_at ?? (plan === null ? null : await plannedAt({ storage, bucket }, id, plan.plan, signal));
  const published = await rebuild.publish(request, { epoch, status, controls, plan, parts, tally, loose, inProgressAt, seal });
  log.info({ batch: id, status, seal: seal?.seal, chunks: parts.length, shown: shown.chunks, published }, "rebuilt");
}

/** Also of a batch whose end isn't followed up yet. */
async function publishEnded(
  { storage, bucket }: { readonly storage: Storage; readonly bucket: string },
  rebuild: Rebuild,
  request: BatchRequest,
  end: End,
  signal: AbortSignal,
): Promise<void> {
  const keys = batchKeys(request.id);
  const after = await readJson(storage, { bucket, key: keys.after }, afterSchema, signal);
  let plan: string | null = null;
  // A batch without files had no plan. Its seal has the name of any epoch.
  if (end.files !== null) {
    for await (const { key } of storage.list({ bucket, key: keys.sealPrefix }, { signal })) {
      if (!key.endsWith(`-${end.seal}.json`)) continue;
      plan = (await readJson(storage, { bucket, key }, sealSchema, signal))?.plan ?? null;
      break;
    }
  }
  await rebuild.publishEnded(request, { end, plan, after });
}

/** When its plan became whole, about when the batch came to be in progress. */
async function plannedAt(
  { storage, bucket }: { readonly storage: Storage; readonly bucket: string },
  id: string,
  plan: string,
  signal: AbortSignal,
): Promise<number | null> {
  const manifest = await storage.describe({ bucket, key: batchKeys(id).plan(plan).manifest }, { signal });
  return manifest === null ? null : Math.floor(manifest.lastModified.getTime() / 1_000);
}
