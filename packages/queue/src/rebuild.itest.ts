/** A Redis that is made to be believed again, step by step: the lease, what goes and what stays, and each kind of batch. One file, for all of it begins with a loss of the same Redis. */
import type { BatchRequest, End, PartChoice, Quotas } from "@flamboyance/contracts";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Queue } from "./queue.ts";
import type { OpenState, Rebuild } from "./rebuild.ts";
import { replayControls } from "./replay.ts";
import { endOf, requestOf, startTestRedis, stateOf, tallyOf, until, type TestRedis } from "./test-redis.ts";
import { newUlid } from "./ulid.ts";

let redis: TestRedis;
let queue: Queue;
const { signal } = new AbortController();
const unavailable = { code: "service_unavailable" };
beforeAll(async () => {
  redis = await startTestRedis({ appendOnly: true });
});
beforeEach(async () => {
  await redis.raw.flushall();
  queue = await redis.queue();
});
afterEach(() => queue.close());
afterAll(() => redis.close());

async function begin(ttlMs = 10_000): Promise<Rebuild> {
  const rebuild = await queue.beginRebuild(ttlMs);
  if (rebuild === null) throw new Error("another holds the lease");
  return rebuild;
}

/** Redis emptied, this batch published, and believed again. */
async function rebuilt(request: BatchRequest, state: OpenState): Promise<void> {
  await redis.raw.flushall();
  const rebuild = await begin();
  expect(await rebuild.publish(request, state)).toBe("published");
  await rebuild.believe(2);
}

const whole = (): PartChoice => ({ attempt: newUlid(), cut: false });

describe("the lease", () => {
  it("is one process's, until it is let go, runs out, or Redis is believed", async () => {
    const first = await begin();
    expect(await queue.beginRebuild(1_000)).toBeNull();
    await first.release();
    const second = await begin(1);
    await until(async () => (await redis.raw.exists("flamboyance:lease:rebuild")) === 0);
    await begin();
    await expect(second.renew()).rejects.toMatchObject(unavailable);
  });

  it("says whether Redis is lost", async () => {
    const found = await begin();
    expect(found.lost).toBe(false);
    await found.release();
    await redis.raw.flushall();
    const lost = await begin();
    expect(lost.lost).toBe(true);
    await lost.believe(7);
    expect(await queue.believed()).toBe(7);
    expect((await begin()).lost).toBe(false);
  });

  it.each([
    ["lost to another", () => redis.raw.del("flamboyance:lease:rebuild").then(() => queue.beginRebuild(10_000))],
    ["gone with another loss of Redis", () => redis.raw.flushall()],
    ["of an earlier run of the server, though it stands", () => redis.restart()],
  ])("%s, allows no step any more", async (_name, lose) => {
    const request = requestOf();
    const rebuild = await begin();
    await lose();
    const steps = [
      () => rebuild.renew(),
      () => rebuild.forget(signal),
      () => rebuild.publish(request, stateOf(request, 1)),
      () => rebuild.publishEnded(request, { end: endOf(newUlid(), "completed", [1, 1, 0]), plan: null, after: null }),
      () => rebuild.believe(9),
    ];
    // Something for `forget` to meet.
    await redis.raw.set(`flamboyance:parts:${request.id}`, "x");
    for (const step of steps) await expect(step(), String(step)).rejects.toMatchObject(unavailable);
    expect(await redis.raw.exists(`flamboyance:parts:${request.id}`)).toBe(1);
    expect(await redis.raw.exists(`flamboyance:batch:${request.id}`)).toBe(0);
    expect(await queue.believed()).not.toBe(9);
    await rebuild.release();
  });
});

describe("what is left", () => {
  it("goes, but for the rows of settled batches, their lists, reservations, and what processes say of themselves", async () => {
    const [running, ended] = [requestOf(), requestOf()];
    const model = running.model.key;
    await queue.announce({ worker: "w", model, slots: 2 }, 60_000);
    for (const request of [running, ended]) await queue.submit(request);
    await queue.adoptPlan({ id: running.id, plan: newUlid(), items: 8, chunks: 2, refused: 0 });
    await queue.dispatch(model);
    await queue.record({ id: running.id, chunk: 0, plan: (await queue.batch(running.id))?.plan ?? "", ...whole(), tally: tallyOf(4) });
    await queue.copyEnd({ id: ended.id, end: endOf(newUlid(), "completed", [1, 1, 0]) });
    await queue.settle({ id: ended.id, after: { delivery: null } });
    const key = await queue.reserve({ tenant: "birds", bodyHash: "b", idempotencyKey: "k" });
    // A queue beside ours, whose prefix begins like it.
    await redis.raw.set("flamboyance-2:batch:x", "theirs");

    await redis.restart();
    const rebuild = await begin();
    await rebuild.forget(signal);
    const left = (await redis.raw.keys("*")).map((name) => name.replace(/^flamboyance:/, "").replace(/^key:.*/, "key")).toSorted();
    expect(left).toEqual(
      [`batch:${ended.id}`, "flamboyance-2:batch:x", "kept", "key", "lease:rebuild", "list:birds", "models", "relist", "sentinel", "sweep"]
        .concat(`serving:${model}`)
        .toSorted(),
    );
    await rebuild.believe(2);
    expect((await queue.batches({ tenant: "birds", limit: 10 })).records.map(({ id }) => id)).toEqual([ended.id]);
    expect(await queue.reserved({ tenant: "birds", bodyHash: "b", idempotencyKey: "k" })).toBe(key.id);
  });

  it("goes lists first: BullMQ would take up an id that it finds in one, and write to a job that is none any more", async () => {
    const jobs = Array.from({ length: 60 }, () => requestOf());
    for (const request of jobs) await queue.submit(request);
    const keys = jobs.map(({ id }) => `flamboyance:plan:${id}`);
    const removed: string[] = [];
    const monitor = await redis.raw.monitor();
    monitor.on("monitor", (_time: string, [command = "", key = ""]: string[]) => {
      if (command.toLowerCase() === "unlink") removed.push(key);
    });
    const rebuild = await begin();
    await rebuild.forget(signal);
    await until(() => keys.every((key) => removed.includes(key)));
    monitor.disconnect();
    const list = removed.indexOf("flamboyance:plan:prioritized");
    expect(list).toBeGreaterThanOrEqual(0);
    expect(keys.filter((key) => removed.indexOf(key) < list)).toEqual([]);
    await rebuild.release();
  });
});

describe("a rebuilt batch", () => {
  it("in progress hands out exactly the chunks without a part, takes theirs, and completes", async () => {
    const request = requestOf();
    const { id } = request;
    const model = request.model.key;
    const parts = [whole(), whole(), null, whole(), null, whole()];
    const state = stateOf(request, 6, {
      parts,
      tally: tallyOf(13, 3),
      loose: new Map([
        [3, tallyOf(4)],
        [5, tallyOf(3, 1)],
      ]),
      plan: { plan: newUlid(), items: 24, chunks: 6, refused: 2, stored_bytes: 100 },
    });
    const plan = state.plan?.plan ?? "";
    await rebuilt(request, state);
    expect(await queue.batch(id)).toMatchObject({
      status: "in_progress",
      epoch: 2,
      plan,
      items: 24,
      chunks: 6,
      refused: 2,
      inProgressAt: request.created_at,
      recorded: 4,
      frontier: 2,
      confirmed: 2,
      completed: 13,
      failed: 5,
      outputTokens: 39,
      storedBytes: 100 + 7 * 16,
    });
    expect(await queue.parts({ id })).toEqual(parts);
    expect(await queue.unconfirmedParts(id)).toEqual([]);
    expect(await Array.fromAsync(queue.openBatches())).toEqual([id]);

    await queue.announce({ worker: "w", model, slots: 4 }, 60_000);
    expect(await queue.dispatch(model)).toBe(2);
    expect(await queue.dispatch(model)).toBe(0);
    expect((await redis.raw.hkeys(`flamboyance:out:${id}`)).toSorted()).toEqual(["2", "4"]);
    await queue.record({ id, chunk: 2, plan, ...whole(), tally: tallyOf(4) });
    // The frontier passes over the part that stood behind the gap, with its tally.
    expect((await queue.unconfirmedParts(id)).map(({ chunk, tally }) => [chunk, tally])).toEqual([
      [2, tallyOf(4)],
      [3, tallyOf(4)],
    ]);
    expect(await queue.confirmFrontier({ id, epoch: 1, chunks: 4 })).toBe(false);
    expect(await queue.confirmFrontier({ id, epoch: 2, chunks: 4 })).toBe(true);
    expect(await queue.record({ id, chunk: 4, plan, ...whole(), tally: tallyOf(4) })).toEqual({ kind: "recorded", last: true });
    expect(await queue.repair(id)).toEqual([{ kind: "sealed", outcome: "completed" }]);
    expect(await queue.batch(id)).toMatchObject({ completed: 21, failed: 5, frontier: 6, storedBytes: 100 + 7 * 24 });
  });

  it("with all its parts needs no turn", async () => {
    const request = requestOf();
    await rebuilt(request, stateOf(request, 2, { parts: [whole(), whole()] }));
    await queue.announce({ worker: "w", model: request.model.key, slots: 4 }, 60_000);
    expect(await queue.dispatch(request.model.key)).toBe(0);
    expect(await queue.repair(request.id)).toEqual([{ kind: "sealed", outcome: "completed" }]);
  });

  it("that has a record already keeps it", async () => {
    const request = requestOf();
    await queue.submit(request);
    const rebuild = await begin();
    expect(await rebuild.publish(request, stateOf(request, 1))).toBe("exists");
    expect(await queue.batch(request.id)).toMatchObject({ status: "validating", plan: null });
  });

  it("goes on from validating with a plan job", async () => {
    const request = requestOf();
    await rebuilt(request, stateOf(request, 0, { status: "validating", plan: null }));
    expect(await queue.repair(request.id)).toEqual([{ kind: "plan_job" }]);
    expect(await queue.batch(request.id)).toMatchObject({ inProgressAt: null, plan: null });
  });

  it("keeps its pause, and what it was asked in which order", async () => {
    const request = requestOf();
    const { id } = request;
    const controls = replayControls("in_progress", request, [
      { number: 3, at: 50, control: { kind: "pause" } },
      { number: 2, at: 40, control: { kind: "priority", priority: 7 } },
    ]);
    await rebuilt(request, stateOf(request, 2, { status: "paused", controls }));
    expect(await queue.batch(id)).toMatchObject({ status: "paused", priority: 7 });
    await queue.announce({ worker: "w", model: request.model.key, slots: 4 }, 60_000);
    expect(await queue.dispatch(request.model.key)).toBe(0);
    // What was numbered before the loss and comes late is older than whatever is asked now, and than what was read.
    expect(await queue.applyResume({ id, number: 1 })).toEqual({ kind: "superseded", status: "paused" });
    expect(await queue.applyPriority({ id, number: 1, priority: 0 })).toMatchObject({ kind: "superseded" });
    const taken = await queue.takeNumber({ id, kind: "resume" });
    expect(taken).toMatchObject({ kind: "taken" });
    if (taken.kind !== "taken") return;
    expect(taken.number).toBeGreaterThan(100);
    expect(await queue.applyResume({ id, number: taken.number })).toEqual({ kind: "applied", status: "in_progress" });
    expect(await queue.applyPause({ id, number: 4 })).toMatchObject({ kind: "superseded" });
    expect(await queue.dispatch(request.model.key)).toBe(2);
  });

  it.each([
    ["cancelling", "cancelled"],
    ["expiring", "expired"],
  ] as const)("that was %s ends as %s, without a chunk started", async (status, outcome) => {
    const request = requestOf();
    await rebuilt(request, stateOf(request, 2, { status, parts: [{ attempt: newUlid(), cut: true }, null] }));
    await queue.announce({ worker: "w", model: request.model.key, slots: 4 }, 60_000);
    expect(await queue.dispatch(request.model.key)).toBe(0);
    expect(await queue.repair(request.id)).toEqual([{ kind: "sealed", outcome }]);
    expect(await queue.parts({ id: request.id })).toEqual([expect.objectContaining({ cut: true }), null]);
  });

  it("that was sealed is sealed so: its fence opens for that seal alone", async () => {
    const request = requestOf();
    const { id } = request;
    const terms = { completion_window: "3h", expires_at: request.created_at + 10_800, priority: -2 };
    const seal = { seal: newUlid(), outcome: "cancelled" as const, sealed_at: 70, cancelling_at: 60, errors: [], terms };
    await rebuilt(request, stateOf(request, 2, { parts: [whole(), null], seal }));
    expect(await queue.batch(id)).toMatchObject({
      status: "finalizing",
      seal: seal.seal,
      outcome: "cancelled",
      finalizingAt: 70,
      cancellingAt: 60,
      recorded: 1,
      completionWindow: "3h",
      expiresAt: terms.expires_at,
      priority: -2,
    });
    expect(await queue.record({ id, chunk: 1, plan: (await queue.batch(id))?.plan ?? "", ...whole(), tally: tallyOf(4) })).toEqual({
      kind: "refused",
      reason: "sealed",
    });
    expect(await queue.sealed({ id, seal: newUlid() })).toMatchObject({ kind: "refused" });
    expect(await queue.sealed({ id, seal: seal.seal })).toEqual({ kind: "sealed" });
    expect(await queue.repair(id)).toEqual([{ kind: "finalize_job" }]);
    expect(await queue.end({ id, end: endOf(seal.seal, "cancelled", [8, 4, 4]) })).toEqual({ kind: "ended", status: "cancelled" });
  });

  it("that has ended has its row; settled, it isn't open and is swept once more", async () => {
    const [settled, unsettled] = [requestOf(), requestOf({ output: "s3://out/" })];
    const written = { key: "written", sha256: "0", lines: 2 };
    const end = { ...endOf(newUlid(), "completed", [4, 3, 1]), files: { output: written, errors: written, summary: written } };
    const plan = newUlid();
    await redis.raw.flushall();
    const rebuild = await begin();
    await rebuild.publishEnded(settled, { end, plan, after: { delivery: null } });
    await rebuild.publishEnded(unsettled, { end, plan, after: null });
    await rebuild.believe(2);
    const row = { status: "completed", plan, items: 4, completed: 3, failed: 1, endedAt: end.ended_at, seal: end.seal };
    expect(await queue.batch(settled.id)).toMatchObject({ ...row, settled: true, delivery: null });
    expect(await queue.batch(unsettled.id)).toMatchObject({ ...row, settled: false, delivery: { status: "pending" } });
    expect(await Array.fromAsync(queue.openBatches())).toEqual([unsettled.id]);
    expect(await queue.sweepable({ ageMs: 0, limit: 10 })).toEqual([settled.id]);
    expect(await queue.repair(unsettled.id)).toEqual([{ kind: "finalize_job" }]);
    expect(await queue.claimFinalize(unsettled.id)).toMatchObject({ kind: "settle" });
    expect((await queue.batches({ tenant: "birds", limit: 10 })).records).toHaveLength(2);
  });

  it("holds its idempotency key again, for the rest of its day", async () => {
    const keyed = requestOf({ idempotency_key: "k" });
    const old = requestOf({ idempotency_key: "old", created_at: keyed.created_at - 90_000 });
    await redis.raw.flushall();
    const rebuild = await begin();
    for (const request of [keyed, old]) await rebuild.publish(request, stateOf(request, 1));
    await rebuild.believe(2);
    await expect(queue.reserve({ tenant: "birds", bodyHash: "another", idempotencyKey: "k" })).rejects.toMatchObject({
      code: "idempotency_mismatch",
    });
    expect((await queue.reserve({ tenant: "birds", bodyHash: "another", idempotencyKey: "old" })).id).toMatch(/^batch_/);
    const keys = await redis.raw.keys("flamboyance:key:*");
    expect(Math.max(...(await Promise.all(keys.map((key) => redis.raw.ttl(key)))))).toBeLessThanOrEqual(86_400);
  });
});

describe("what an owner asked of a rebuilt batch", () => {
  it("holds: its deadline, and the pause over too many failures, unless a resume took that off", async () => {
    const request = requestOf({ max_failed: 3 });
    const parts = [whole(), null];
    const state = (controls: OpenState["controls"]) =>
      stateOf(request, 2, {
        controls,
        parts,
        tally: tallyOf(1, 4),
        plan: { plan: newUlid(), items: 10, chunks: 2, refused: 1, stored_bytes: 100 },
      });
    const later = { number: 1, at: 1, control: { kind: "deadline", completion_window: "9h" } as const };
    const expires_at = request.created_at + 9 * 3_600;
    await rebuilt(request, state(replayControls("in_progress", request, [later])));
    expect(await queue.batch(request.id)).toMatchObject({
      status: "paused",
      pausedReason: "5 of 11 items failed, more than max_failed (3) allows",
      completionWindow: "9h",
      expiresAt: expires_at,
    });
    // A deadline that took its number before the loss, and comes late.
    expect(await queue.applyDeadline({ id: request.id, number: 1, completionWindow: "1s", expiresAt: 1 })).toMatchObject({
      kind: "applied",
    });
    expect((await queue.batch(request.id))?.expiresAt).toBe(expires_at);

    const lifted = { number: 2, at: 2, control: { kind: "resume", lifts: "max_failed" } as const };
    await rebuilt(request, state(replayControls("in_progress", request, [later, lifted])));
    expect(await queue.batch(request.id)).toMatchObject({ status: "in_progress", pausedReason: null });
    expect(await queue.dispatch(request.model.key)).toBe(1);
  });

  it("is what its tenant has under way", async () => {
    const request = requestOf();
    await rebuilt(
      request,
      stateOf(request, 2, { tally: tallyOf(3), plan: { plan: newUlid(), items: 8, chunks: 2, refused: 0, stored_bytes: 100 } }),
    );
    const admit = (quotas: Quotas) => queue.admit({ tenant: request.tenant, id: `batch_${newUlid()}`, quotas });
    expect(await admit({ running_batches: 1 })).toEqual({ kind: "over", quota: "running_batches", have: 1, most: 1 });
    expect(await admit({ items_queued: 5 })).toEqual({ kind: "over", quota: "items_queued", have: 5, most: 5 });
    expect(await admit({ stored_bytes: 121 })).toEqual({ kind: "over", quota: "stored_bytes", have: 121, most: 121 });
    expect(await admit({ items_queued: 6, stored_bytes: 122 })).toEqual({ kind: "admitted" });
  });

  it("is what its tenant keeps, once, though it was left by the Redis before", async () => {
    const [settled, unsettled] = [requestOf(), requestOf()];
    const ends = new Map([settled, unsettled].map(({ id }) => [id, { ...endOf(newUlid(), "completed", [1, 1, 0]), stored_bytes: 500 }]));
    const endedAs = (id: string): End => ends.get(id) ?? endOf(newUlid(), "failed", [0, 0, 0]);
    for (const { id } of [settled, unsettled]) await queue.submit(id === settled.id ? settled : unsettled);
    for (const { id } of [settled, unsettled]) await queue.copyEnd({ id, end: endedAs(id) });
    await queue.settle({ id: settled.id, after: { delivery: null } });
    const kept = () => queue.admit({ tenant: "birds", id: "batch_x", quotas: { stored_bytes: 1 } });
    expect(await kept()).toMatchObject({ kind: "over", have: 1_000 });

    await redis.restart();
    const again = await begin();
    await again.forget(signal);
    expect(await again.publishEnded(settled, { end: endedAs(settled.id), plan: null, after: { delivery: null } })).toBe("exists");
    expect(await again.publishEnded(unsettled, { end: endedAs(unsettled.id), plan: null, after: null })).toBe("published");
    await again.believe(2);
    expect(await kept()).toMatchObject({ have: 1_000 });

    await redis.raw.flushall();
    const anew = await begin();
    await anew.publishEnded(unsettled, { end: endedAs(unsettled.id), plan: null, after: null });
    await anew.believe(3);
    expect(await kept()).toMatchObject({ have: 500 });
    // Listed again after all is believed.
    const relisting = await begin();
    await relisting.publishEnded(settled, { end: endedAs(settled.id), plan: null, after: { delivery: null } });
    await relisting.release();
    expect(await kept()).toMatchObject({ have: 1_000 });
    for (const { id } of [settled, unsettled, settled]) await queue.forgetDeleted({ id, tenant: "birds" });
    expect(await kept()).toEqual({ kind: "admitted" });
  });
});
