/** Expiry, seal, refusal, end, sweep and repair, each law of their scripts. One file, for all begin with the batch in progress made below. */
import { limits } from "@flamboyance/contracts";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { partsOf } from "./parts.ts";
import type { Queue } from "./queue.ts";
import { endOf, requestOf, startTestRedis, tallyOf, type TestRedis } from "./test-redis.ts";
import { newUlid } from "./ulid.ts";

let redis: TestRedis;
let queue: Queue;
beforeAll(async () => {
  redis = await startTestRedis();
  queue = await redis.queue();
});
afterAll(() => redis.close());

const put = (id: string, field: string, value: string | number) => redis.raw.hset(`flamboyance:batch:${id}`, field, value);

/** A batch in progress with `chunks` chunks of one item, `recorded` of them recorded, the rest claimed. */
async function running({
  chunks = 2,
  recorded = 0,
  ...fields
}: { chunks?: number; recorded?: number; expires_at?: number; output?: string } = {}) {
  const request = requestOf(fields);
  const { id } = request;
  const [plan, attempt] = [newUlid(), newUlid()];
  await queue.submit(request);
  await queue.adoptPlan({ id, plan, items: chunks, chunks, refused: 0 });
  await queue.announce({ worker: "w", model: request.model.key, slots: 50 }, 60_000);
  await queue.dispatch(request.model.key);
  for (let chunk = 0; chunk < chunks; chunk += 1) {
    if (chunk < recorded) await queue.record({ id, chunk, plan, attempt, cut: false, tally: tallyOf(1) });
    else await queue.claim({ id, chunk, attempt, dispatch: chunk + 1, worker: "w" });
  }
  return { id, plan, attempt, model: request.model.key };
}

describe("expire", () => {
  it("waits for the deadline by Redis's clock, then stops every status before the seal", async () => {
    const { id } = await running();
    expect(await queue.expire(id)).toMatchObject({ kind: "not_due" });
    for (const status of ["validating", "in_progress", "paused"]) {
      await put(id, "status", status);
      await put(id, "expires_at", 1);
      expect(await queue.expire(id)).toEqual({ kind: "expiring" });
      expect(await queue.expire(id)).toEqual({ kind: "expiring" });
    }
    expect((await queue.batch(id))?.expiringAt).toEqual(expect.any(Number));
    // A cancel still turns it: an answered cancel isn't forgotten.
    expect(await queue.applyCancel({ id, number: 1 })).toEqual({ kind: "cancelling", status: "cancelling" });
    expect(await queue.expire(id)).toEqual({ kind: "refused", status: "cancelling" });
    expect(await queue.expire("batch_x")).toEqual({ kind: "gone" });
  });
});

describe("seal", () => {
  it("as completed needs every part; the first seal wins and is answered the same again", async () => {
    const { id, plan, attempt } = await running({ recorded: 1 });
    const [mine, other] = [newUlid(), newUlid()];
    expect(await queue.seal({ id, seal: mine, outcome: "completed" })).toEqual({ kind: "refused", status: "in_progress" });
    await queue.record({ id, chunk: 1, plan, attempt, cut: false, tally: tallyOf(1) });
    expect(await queue.seal({ id, seal: mine, outcome: "completed" })).toEqual({ kind: "sealed", outcome: "completed" });
    expect(await queue.seal({ id, seal: mine, outcome: "completed" })).toEqual({ kind: "sealed", outcome: "completed" });
    expect(await queue.seal({ id, seal: other, outcome: "completed" })).toEqual({ kind: "lost", seal: mine, outcome: "completed" });
    expect(await queue.batch(id)).toMatchObject({ status: "finalizing", outcome: "completed", seal: mine });
    expect((await queue.batch(id))?.finalizingAt).toEqual(expect.any(Number));
    expect(await queue.seal({ id: "batch_x", seal: mine, outcome: "completed" })).toEqual({ kind: "gone" });
  });

  it("from paused is completed, from cancelling always cancelled, from expiring always expired", async () => {
    const ends = { paused: "completed", cancelling: "cancelled", expiring: "expired" } as const;
    for (const [status, outcome] of Object.entries(ends)) {
      const { id } = await running({ recorded: 2 });
      await put(id, "status", status);
      expect(await queue.seal({ id, seal: newUlid(), outcome: "completed" })).toEqual({ kind: "sealed", outcome });
    }
  });

  it("as cancelled or expired only from its own status", async () => {
    const { id } = await running();
    expect(await queue.seal({ id, seal: newUlid(), outcome: "cancelled" })).toEqual({ kind: "refused", status: "in_progress" });
    expect(await queue.seal({ id, seal: newUlid(), outcome: "expired" })).toEqual({ kind: "refused", status: "in_progress" });
    await queue.applyCancel({ id, number: 1 });
    expect(await queue.seal({ id, seal: newUlid(), outcome: "expired" })).toEqual({ kind: "refused", status: "cancelling" });
  });

  it("waits after a cancel for running chunks to hand in their parts, at most a minute", async () => {
    const { id, plan, attempt } = await running({ recorded: 1, chunks: 3 });
    await queue.applyCancel({ id, number: 1 });
    const seal = newUlid();
    const sealing = () => queue.seal({ id, seal, outcome: "cancelled" });
    const waiting = await sealing();
    expect(waiting).toMatchObject({ kind: "waiting", running: 2 });
    expect(waiting.kind === "waiting" && waiting.leftMs).toBeGreaterThan(30_000);
    await queue.record({ id, chunk: 1, plan, attempt, cut: true, tally: tallyOf(0, 1) });
    expect(await sealing()).toMatchObject({ kind: "waiting", running: 1 });
    await queue.release({ id, chunk: 2, attempt });
    expect(await sealing()).toEqual({ kind: "sealed", outcome: "cancelled" });
    expect(await queue.parts({ id })).toEqual([{ attempt, cut: false }, { attempt, cut: true }, null]);

    const late = await running();
    await queue.applyCancel({ id: late.id, number: 1 });
    await put(late.id, "quiet_from_ms", Date.now() - 61_000);
    expect(await queue.seal({ id: late.id, seal: newUlid(), outcome: "cancelled" })).toEqual({ kind: "sealed", outcome: "cancelled" });
    expect(await queue.record({ ...late, chunk: 0, cut: true, tally: tallyOf(0, 1) })).toEqual({ kind: "refused", reason: "sealed" });
  });

  it("before a plan is adopted needs no quiet, and leaves no counts", async () => {
    const request = requestOf();
    await queue.submit(request);
    await queue.applyCancel({ id: request.id, number: 1 });
    expect(await queue.seal({ id: request.id, seal: newUlid(), outcome: "completed" })).toEqual({ kind: "refused", status: "cancelling" });
    expect(await queue.seal({ id: request.id, seal: newUlid(), outcome: "cancelled" })).toEqual({ kind: "sealed", outcome: "cancelled" });
    expect(await queue.batch(request.id)).toMatchObject({ plan: null, completed: 0, failed: 0, items: 0 });
  });

  it("forgets chunks that were handed out, so other batches get their places", async () => {
    const { id, model } = await running();
    await queue.applyCancel({ id, number: 1 });
    await put(id, "quiet_from_ms", 1);
    await queue.seal({ id, seal: newUlid(), outcome: "cancelled" });
    expect(await redis.raw.exists(`flamboyance:out:${id}`, `flamboyance:back:${id}`, `flamboyance:tallies:${id}`)).toBe(0);
    expect(await redis.raw.zcard(`flamboyance:ready:${model}`)).toBe(0);
    expect(await redis.raw.zcard(`flamboyance:running:${model}:birds`)).toBe(0);
  });
});

describe("refusePlan", () => {
  it("fails a validating batch with its reasons, and never one whose plan was adopted", async () => {
    const request = requestOf();
    await queue.submit(request);
    const errors = Array.from({ length: 60 }, (_, index) => ({
      code: "invalid_line",
      message: "no image",
      param: "image",
      line: index + 1,
    }));
    expect(await queue.refusePlan({ id: request.id, errors })).toEqual({ kind: "sealed", outcome: "failed" });
    expect(await queue.batch(request.id)).toMatchObject({
      status: "finalizing",
      outcome: "failed",
      errors: errors.slice(0, limits.errorsShown),
    });

    const { id } = await running();
    expect(await queue.refusePlan({ id, errors })).toEqual({ kind: "refused", status: "in_progress" });
    expect(await queue.batch(id)).toMatchObject({ status: "in_progress", errors: [] });
  });
});

describe("the end", () => {
  it("follows seal and fence, and never changes", async () => {
    const { id } = await running({ recorded: 2, output: "s3://images/out/" });
    const [seal, other] = [newUlid(), newUlid()];
    expect(await queue.sealed({ id, seal })).toEqual({ kind: "refused", status: "in_progress" });
    expect(await queue.end({ id, end: endOf(seal, "completed", [2, 2, 0]) })).toEqual({ kind: "refused", status: "in_progress" });
    await queue.seal({ id, seal, outcome: "completed" });
    expect(await queue.sealed({ id, seal })).toEqual({ kind: "sealed" });
    expect(await queue.sealed({ id, seal })).toEqual({ kind: "sealed" });
    expect(await queue.sealed({ id, seal: other })).toEqual({ kind: "refused", status: "finalizing" });
    expect(await queue.end({ id, end: endOf(other, "completed", [2, 2, 0]) })).toEqual({ kind: "refused", status: "finalizing" });
    expect(await queue.end({ id, end: endOf(seal, "cancelled", [2, 2, 0]) })).toEqual({ kind: "refused", status: "finalizing" });
    expect(await queue.settle({ id, after: { delivery: null } })).toEqual({ kind: "refused", status: "finalizing" });

    const end = endOf(seal, "completed", [2, 2, 0]);
    expect(await queue.end({ id, end })).toEqual({ kind: "ended", status: "completed" });
    expect(await queue.end({ id, end })).toEqual({ kind: "ended", status: "completed" });
    expect(await queue.copyEnd({ id, end: endOf(other, "cancelled", [2, 0, 2]) })).toEqual({ kind: "refused", status: "completed" });
    expect(await queue.claimFinalize(id)).toMatchObject({ kind: "settle" });
    expect(await queue.batch(id)).toMatchObject({ status: "completed", endedAt: 2_000, completed: 2, delivery: null });
    // It has no files, so there is nothing to deliver.
    expect(await openIds()).toContain(id);

    const after = { delivery: { status: "delivered" as const, error: null } };
    expect(await queue.settle({ id, after })).toEqual({ kind: "ended", status: "completed" });
    expect(await queue.settle({ id, after })).toEqual({ kind: "ended", status: "completed" });
    // A twin whose copy failed late undoes nothing.
    const late = { delivery: { status: "failed" as const, error: "storage_forbidden" } };
    expect(await queue.settle({ id, after: late })).toEqual({ kind: "ended", status: "completed" });
    expect(await queue.batch(id)).toMatchObject({ status: "completed", settled: true, delivery: after.delivery });
    expect(await queue.claimFinalize(id)).toEqual({ kind: "stopped", status: "completed" });
    expect(await openIds()).not.toContain(id);
    // Beside the two jobs, which no consumer took here, only the record stays.
    expect((await redis.raw.keys(`flamboyance:*:${id}`)).toSorted()).toEqual([
      `flamboyance:batch:${id}`,
      `flamboyance:finalize:${id}`,
      `flamboyance:plan:${id}`,
    ]);
  });

  it("that is settled while its parts are read has none, rather than chunks without one", async () => {
    const { id } = await running({ recorded: 2 });
    const seal = newUlid();
    await queue.seal({ id, seal, outcome: "completed" });
    await queue.end({ id, end: endOf(seal, "completed", [2, 2, 0]) });
    const overtaken = partsOf({
      redis: redis.raw,
      prefix: "flamboyance",
      run: () => Promise.reject(new Error("reading runs no script")),
      batch: async (of) => {
        const record = await queue.batch(of);
        await queue.settle({ id: of, after: { delivery: null } });
        return record;
      },
    });
    expect(await overtaken.parts({ id })).toEqual([]);
  });

  it("keeps total = completed + failed where chunks have no part", async () => {
    const { id } = await running({ recorded: 1, chunks: 3 });
    await queue.applyCancel({ id, number: 1 });
    await put(id, "quiet_from_ms", 1);
    const seal = newUlid();
    await queue.seal({ id, seal, outcome: "cancelled" });
    await queue.end({ id, end: endOf(seal, "cancelled", [3, 1, 2]) });
    expect(await queue.batch(id)).toMatchObject({ items: 3, refused: 0, completed: 1, failed: 2 });
  });

  it("is copied where end.json stands and Redis says otherwise", async () => {
    const { id, model } = await running();
    const end = endOf(newUlid(), "completed", [2, 1, 1]);
    expect(await queue.copyEnd({ id, end })).toEqual({ kind: "ended", status: "completed" });
    expect(await queue.batch(id)).toMatchObject({ status: "completed", outcome: "completed", seal: end.seal, completed: 1, failed: 1 });
    expect(await redis.raw.exists(`flamboyance:out:${id}`, `flamboyance:running:${model}:birds`)).toBe(0);
    expect(await queue.copyEnd({ id: "batch_x", end })).toEqual({ kind: "gone" });
  });
});

describe("the sweep", () => {
  const settled = async () => {
    const { id } = await running({ recorded: 2 });
    const seal = newUlid();
    await queue.seal({ id, seal, outcome: "completed" });
    await queue.end({ id, end: endOf(seal, "completed", [2, 2, 0]) });
    await queue.settle({ id, after: { delivery: null } });
    return id;
  };
  beforeEach(() => redis.raw.del("flamboyance:sweep"));
  const age = (id: string, ms: number) => redis.raw.zincrby("flamboyance:sweep", -ms, id);

  it("is due for a batch a while after it was settled, the longest wait first, and not before", async () => {
    const [first, second] = [await settled(), await settled()];
    await age(first, 50_000);
    await age(second, 70_000);
    expect(await queue.sweepable({ ageMs: 60_000, limit: 10 })).toEqual([second]);
    expect(await queue.sweepable({ ageMs: 40_000, limit: 10 })).toEqual([second, first]);
    expect(await queue.sweepable({ ageMs: 40_000, limit: 1 })).toEqual([second]);
  });

  it("comes again as long as a look finds something, and then no more", async () => {
    const id = await settled();
    await age(id, 50_000);
    await queue.swept({ id, again: true });
    expect(await queue.sweepable({ ageMs: 40_000, limit: 10 })).toEqual([]);
    expect(await queue.sweepable({ ageMs: 0, limit: 10 })).toEqual([id]);
    await queue.swept({ id, again: false });
    // Neither a twin's late look nor a late settling brings it back.
    await queue.swept({ id, again: true });
    await queue.settle({ id, after: { delivery: null } });
    expect(await queue.sweepable({ ageMs: 0, limit: 10 })).toEqual([]);
  });
});

describe("a delete", () => {
  const ended = async () => {
    const { id } = await running({ recorded: 2 });
    const seal = newUlid();
    await queue.seal({ id, seal, outcome: "completed" });
    await queue.end({ id, end: endOf(seal, "completed", [2, 2, 0]) });
    return id;
  };
  beforeEach(() => redis.raw.del("flamboyance:sweep", "flamboyance:kept"));

  it("isn't of what runs, and is due for its sweep at once", async () => {
    const { id } = await running({ recorded: 1 });
    expect(await queue.startDelete({ id })).toEqual({ kind: "refused", status: "in_progress" });
    expect(await queue.sweepable({ ageMs: 60_000, limit: 10 })).toEqual([]);
    const other = await ended();
    expect(await queue.startDelete({ id: other })).toEqual({ kind: "started" });
    // It has no record any more: S3 knows that it ended.
    expect(await queue.startDelete({ id: "batch_old" })).toEqual({ kind: "started" });
    expect(await queue.sweepable({ ageMs: 60_000, limit: 10 })).toEqual([other, "batch_old"].toSorted());
  });

  it("isn't of what a retry is still copied from, and keeps the next retry off until it is decided", async () => {
    const id = await ended();
    const waiting = requestOf();
    await queue.submit(waiting);
    const waits = waiting.id;
    expect(await queue.startDelete({ id, newest: waits })).toEqual({ kind: "retried" });
    // Planned: it has its own copy.
    expect(await queue.startDelete({ id, newest: (await running({ recorded: 0 })).id })).toEqual({ kind: "started" });
    const next = `batch_${newUlid()}`;
    await queue.reserveRetry({ id: next, token: "another request" });
    expect(await queue.startDelete({ id, next })).toEqual({ kind: "retried" });
    const later = `batch_${newUlid()}`;
    for (let time = 0; time < 2; time++) expect(await queue.startDelete({ id, next: later })).toEqual({ kind: "started" });
    expect(await queue.startDelete({ id: await ended(), next: later })).toEqual({ kind: "retried" });
    expect(await queue.reserveRetry({ id: later, token: "a request" })).toBeNull();
    await queue.forgetDeleted({ id, tenant: "birds", next: later });
    expect(await queue.reserveRetry({ id: later, token: "a request" })).toMatchObject({ now: expect.any(Number) });
    expect(await queue.startDelete({ id: await ended(), next: waits })).toEqual({ kind: "retried" });
  });

  it("leaves nothing in Redis but the sweep, also where what follows the end isn't done", async () => {
    const id = await ended();
    await queue.startDelete({ id });
    await queue.forgetDeleted({ id, tenant: "birds" });
    await queue.forgetDeleted({ id, tenant: "birds" });
    expect(await queue.batch(id)).toBeNull();
    expect(await queue.claimFinalize(id)).toEqual({ kind: "gone" });
    expect(await queue.settle({ id, after: { delivery: null } })).toEqual({ kind: "gone" });
    expect(await openIds()).not.toContain(id);
    expect((await queue.batches({ tenant: "birds", limit: 100 })).records.map((record) => record.id)).not.toContain(id);
    expect(await queue.sweepable({ ageMs: 60_000, limit: 10 })).toEqual([id]);
  });

  it("is retention's for what was settled and ended too long ago", async () => {
    const id = await ended();
    expect(await queue.keptTooLong({ beforeSeconds: 3_000, limit: 10 })).toEqual([]);
    await queue.settle({ id, after: { delivery: null } });
    expect(await queue.keptTooLong({ beforeSeconds: 3_000, limit: 10 })).toEqual([id]);
    // Its end's second, and before.
    expect(await queue.keptTooLong({ beforeSeconds: 2_000, limit: 10 })).toEqual([]);
    await queue.forgetDeleted({ id, tenant: "birds" });
    expect(await queue.keptTooLong({ beforeSeconds: 3_000, limit: 10 })).toEqual([]);
  });
});

describe("repair", () => {
  const jobs = async (kind: string) => (await queue.depths()).find((depth) => depth.kind === kind)?.ready ?? 0;

  it("adds a plan job that is lost, and none beside one that lives", async () => {
    const request = requestOf();
    await queue.submit(request);
    expect(await queue.repair(request.id)).toEqual([]);
    await loseJobs("plan");
    expect(await queue.repair(request.id)).toEqual([{ kind: "plan_job" }]);
    expect(await queue.repair(request.id)).toEqual([]);
    expect(await jobs("plan")).toBe(1);
  });

  it("hands chunks out again that have no job, under a later number, after one grace", async () => {
    const { id, model } = await running({ recorded: 1, chunks: 3 });
    expect(await queue.repair(id)).toEqual([]);
    await redis.raw.del(...(await redis.raw.keys(`flamboyance:chunk-${model}:*`)));
    const patient = await redis.queue({ graceMs: 60_000 });
    expect(await patient.repair(id)).toEqual([]);
    expect(await queue.repair(id)).toEqual([{ kind: "chunks_again", chunks: [1, 2] }]);
    expect(await queue.repair(id)).toEqual([]);
    const ids = (await redis.raw.keys(`flamboyance:chunk-${model}:${id}-*`)).map((key) => Number(key.split("-").at(-1)));
    expect(ids.every((number) => number > 3)).toBe(true);
  });

  it("takes what BullMQ wrote into the hash of a job that was gone for no job", async () => {
    const request = requestOf();
    await queue.submit(request);
    const { id, model } = await running({ recorded: 1, chunks: 3 });
    await loseJobs("plan");
    await redis.raw.del(...(await redis.raw.keys(`flamboyance:chunk-${model}:*`)));
    // As a failed try leaves it that was taken up from a list while a rebuild removed the job.
    const out = await redis.raw.hgetall(`flamboyance:out:${id}`);
    const ghosts = Object.entries(out).map(([chunk, text]) => `flamboyance:chunk-${model}:${id}-${chunk}-${text.split(" ")[0]}`);
    for (const key of [...ghosts, `flamboyance:plan:${request.id}`])
      await redis.raw.hset(key, { delay: "0", ats: "1", failedReason: "gone" });
    expect(await queue.repair(request.id)).toEqual([{ kind: "plan_job" }]);
    expect(await jobs("plan")).toBe(1);
    expect(await queue.repair(id)).toEqual([{ kind: "chunks_again", chunks: [1, 2] }]);
  });

  it("takes such chunks back in a paused batch", async () => {
    const { id, model } = await running({ recorded: 1 });
    await put(id, "status", "paused");
    await redis.raw.del(...(await redis.raw.keys(`flamboyance:chunk-${model}:*`)));
    expect(await queue.repair(id)).toEqual([{ kind: "chunks_taken_back", chunks: [1] }]);
    expect(await redis.raw.zrange(`flamboyance:back:${id}`, 0, "-1")).toEqual(["1"]);
  });

  it("seals what is recorded, expires what is due, and seals what is quiet", async () => {
    const recorded = await running({ recorded: 2 });
    expect(await queue.repair(recorded.id)).toEqual([{ kind: "sealed", outcome: "completed" }]);

    const due = await running({ expires_at: 1 });
    expect(await queue.repair(due.id)).toEqual([{ kind: "expiring" }]);
    expect(await queue.repair(due.id)).toEqual([]);
    await put(due.id, "quiet_from_ms", 1);
    expect(await queue.repair(due.id)).toEqual([{ kind: "sealed", outcome: "expired" }]);

    const unplanned = requestOf({ expires_at: 1 });
    await queue.submit(unplanned);
    expect(await queue.repair(unplanned.id)).toEqual([{ kind: "expiring" }, { kind: "sealed", outcome: "expired" }]);

    const cancelled = await running();
    await queue.applyCancel({ id: cancelled.id, number: 1 });
    expect(await queue.repair(cancelled.id)).toEqual([]);
    await put(cancelled.id, "quiet_from_ms", 1);
    expect(await queue.repair(cancelled.id)).toEqual([{ kind: "sealed", outcome: "cancelled" }]);
  });

  it("adds a finalize job that is lost, until the batch is settled", async () => {
    const { id } = await running({ recorded: 2 });
    const seal = newUlid();
    await queue.seal({ id, seal, outcome: "completed" });
    expect(await queue.repair(id)).toEqual([]);
    await loseJobs("finalize");
    expect(await queue.repair(id)).toEqual([{ kind: "finalize_job" }]);
    await queue.end({ id, end: endOf(seal, "completed", [2, 2, 0]) });
    await loseJobs("finalize");
    expect(await queue.repair(id)).toEqual([{ kind: "finalize_job" }]);
    await loseJobs("finalize");
    await queue.settle({ id, after: { delivery: null } });
    expect(await queue.repair(id)).toEqual([]);
    expect(await queue.repair("batch_x")).toEqual([]);
  });

  it("looks at every open batch", async () => {
    const ids = await Promise.all(
      Array.from({ length: 250 }, async () => {
        const request = requestOf();
        await queue.submit(request);
        return request.id;
      }),
    );
    const open = await openIds();
    expect(ids.filter((id) => !open.includes(id))).toEqual([]);
  });
});

async function loseJobs(kind: string): Promise<void> {
  await redis.raw.del(...(await redis.raw.keys(`flamboyance:${kind}:*`)));
}

async function openIds(): Promise<string[]> {
  const ids: string[] = [];
  for await (const id of queue.openBatches()) ids.push(id);
  return ids;
}
