/** Plan, hand-out, claim, release and record, each law of their scripts. One file, for all begin with the batch in progress that `running` makes. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Queue } from "./queue.ts";
import { requestOf, startTestRedis, tallyOf, type TestRedis } from "./test-redis.ts";
import { newUlid } from "./ulid.ts";

let redis: TestRedis;
let queue: Queue;
beforeAll(async () => {
  redis = await startTestRedis();
  queue = await redis.queue();
});
afterAll(() => redis.close());

/** A batch in progress whose chunks are handed out. */
async function running({ chunks = 2, refused = 0, slots = 10 } = {}) {
  const request = requestOf();
  const { id } = request;
  const model = request.model.key;
  const plan = newUlid();
  await queue.submit(request);
  await queue.adoptPlan({ id, plan, items: 2 * chunks, chunks, refused });
  await queue.announce({ worker: "w", model, slots }, 60_000);
  await queue.dispatch(model);
  return { id, plan, model };
}

const claimPlan = (id: string) => queue.claimPlan({ id, attempt: newUlid(), worker: "w" });
const put = (id: string, field: string, value: string) => redis.raw.hset(`flamboyance:batch:${id}`, field, value);

describe("adoptPlan", () => {
  it("adopts one plan; its planner gets the same answer again, another loses", async () => {
    const request = requestOf();
    await queue.submit(request);
    const plan = { id: request.id, plan: newUlid(), items: 5, chunks: 2, refused: 1 };
    expect(await claimPlan(request.id)).toEqual({ kind: "run", suspect: false, convicted: [] });
    expect(await queue.adoptPlan(plan)).toEqual({ kind: "adopted", sealed: false });
    expect(await queue.adoptPlan(plan)).toEqual({ kind: "adopted", sealed: false });
    expect(await queue.adoptPlan({ ...plan, plan: newUlid(), items: 9 })).toEqual({ kind: "lost", status: "in_progress" });
    expect(await claimPlan(request.id)).toEqual({ kind: "stopped", status: "in_progress" });
    // Refused lines are failed ones from the start.
    expect(await queue.batch(request.id)).toMatchObject({ plan: plan.plan, items: 5, chunks: 2, refused: 1, failed: 1, completed: 0 });
    expect((await queue.batch(request.id))?.inProgressAt).toEqual(expect.any(Number));
  });

  it("seals at once where there is nothing to run", async () => {
    const { id } = await running({ chunks: 0, refused: 3 });
    expect(await queue.batch(id)).toMatchObject({ status: "finalizing", outcome: "completed", failed: 3, items: 0 });
    expect(await queue.claimFinalize(id)).toMatchObject({ kind: "run" });
  });

  it("loses once the batch was cancelled", async () => {
    const request = requestOf();
    await queue.submit(request);
    await queue.applyCancel({ id: request.id, number: 1 });
    expect(await queue.adoptPlan({ id: request.id, plan: newUlid(), items: 1, chunks: 1, refused: 0 })).toEqual({
      kind: "lost",
      status: "cancelling",
    });
    expect((await queue.batch(request.id))?.plan).toBeNull();
  });

  it("answers gone for an id without a record, and refuses a plan that isn't a ULID in lower case", async () => {
    expect(await queue.adoptPlan({ id: "batch_x", plan: newUlid(), items: 1, chunks: 1, refused: 0 })).toEqual({ kind: "gone" });
    await expect(queue.adoptPlan({ id: "batch_x", plan: newUlid().toUpperCase(), items: 1, chunks: 1, refused: 0 })).rejects.toThrow(
      TypeError,
    );
  });
});

describe("dispatch", () => {
  it("keeps two a slot and two more ready, oldest batch first, each chunk once", async () => {
    const model = newUlid();
    const old = requestOf({ model: { name: "m", key: model }, created_at: 10 });
    const young = requestOf({ model: { name: "m", key: model }, created_at: 20 });
    for (const request of [young, old]) {
      await queue.submit(request);
      await queue.adoptPlan({ id: request.id, plan: newUlid(), items: 6, chunks: 3, refused: 0 });
    }
    expect(await queue.dispatch(model)).toBe(2);
    expect(await queue.dispatch(model)).toBe(0);
    expect(await redis.raw.hkeys(`flamboyance:out:${old.id}`)).toEqual(["0", "1"]);

    await queue.announce({ worker: "w", model, slots: 1 }, 60_000);
    expect(await queue.dispatch(model)).toBe(2);
    expect(await redis.raw.hkeys(`flamboyance:out:${old.id}`)).toEqual(["0", "1", "2"]);
    expect(await redis.raw.hkeys(`flamboyance:out:${young.id}`)).toEqual(["0"]);
    expect((await queue.depths()).find((depth) => depth.model === model)).toEqual({ kind: "chunk", model, ready: 4, running: 0 });

    // What is claimed isn't ready any more: the next dispatch fills up; then all are out.
    await queue.claim({ id: old.id, chunk: 0, attempt: newUlid(), dispatch: 1, worker: "w" });
    // BullMQ's own list still counts until a consumer takes the job.
    await redis.raw.lpop(`flamboyance:chunk-${model}:wait`);
    expect(await queue.dispatch(model)).toBe(1);
    expect(await redis.raw.hkeys(`flamboyance:out:${young.id}`)).toEqual(["0", "1"]);
  });

  it("counts jobs that sealed batches left behind, so that many small batches don't flood", async () => {
    const model = newUlid();
    for (let batch = 0; batch < 3; batch += 1) {
      const request = requestOf({ model: { name: "m", key: model } });
      await queue.submit(request);
      await queue.adoptPlan({ id: request.id, plan: newUlid(), items: 2, chunks: 2, refused: 0 });
      await queue.dispatch(model);
      await queue.applyCancel({ id: request.id, number: 1 });
      await queue.seal({ id: request.id, seal: newUlid(), outcome: "cancelled" });
    }
    expect(await redis.raw.llen(`flamboyance:chunk-${model}:wait`)).toBe(2);
  });

  it("hands nothing out of a batch that was cancelled, and doesn't count workers that fell silent", async () => {
    const { id, model } = await running({ chunks: 9, slots: 1 });
    await queue.announce({ worker: "silent", model, slots: 50 }, 0);
    expect(await queue.dispatch(model)).toBe(0);
    await queue.applyCancel({ id, number: 1 });
    await redis.raw.del(`flamboyance:chunk-${model}:wait`, `flamboyance:ready:${model}`);
    expect(await queue.dispatch(model)).toBe(0);
  });
});

describe("claim", () => {
  it("runs under the adopted plan; the same attempt may ask again, a twin of the job may run too", async () => {
    const { id, plan } = await running();
    const claim = { id, chunk: 0, attempt: newUlid(), dispatch: 1, worker: "w" };
    const run = { kind: "run", plan, expiresAt: (await queue.batch(id))?.expiresAt, suspect: false, quarantined: [] };
    expect(await queue.claim(claim)).toEqual(run);
    expect(await queue.claim(claim)).toEqual(run);
    expect(await queue.claim({ ...claim, attempt: newUlid(), worker: "twin" })).toEqual(run);
  });

  it("is superseded once the chunk was handed out again", async () => {
    const { id, plan, model } = await running();
    await redis.raw.del(`flamboyance:chunk-${model}:${id}-0-1`);
    expect(await queue.repair(id)).toEqual([{ kind: "chunks_again", chunks: [0] }]);
    const claim = { id, chunk: 0, attempt: newUlid(), worker: "w" };
    expect(await queue.claim({ ...claim, dispatch: 1 })).toEqual({ kind: "superseded" });
    expect(await queue.claim({ ...claim, dispatch: 3 })).toMatchObject({ kind: "run", plan });
  });

  it("is superseded for a chunk that doesn't exist or was never handed out", async () => {
    const { id } = await running({ chunks: 30, slots: 0 });
    const claim = { id, attempt: newUlid(), dispatch: 1, worker: "w" };
    expect(await queue.claim({ ...claim, chunk: 30 })).toEqual({ kind: "superseded" });
    expect(await queue.claim({ ...claim, chunk: 5 })).toEqual({ kind: "superseded" });
  });

  it("parks in a paused batch, and the chunk is handed out again later", async () => {
    const { id, model } = await running({ chunks: 1 });
    await queue.applyPause({ id, number: 1 });
    expect(await queue.claim({ id, chunk: 0, attempt: newUlid(), dispatch: 1, worker: "w" })).toEqual({ kind: "parked" });
    await queue.applyResume({ id, number: 2 });
    await redis.raw.del(`flamboyance:chunk-${model}:wait`);
    expect(await queue.dispatch(model)).toBe(1);
    expect(await queue.claim({ id, chunk: 0, attempt: newUlid(), dispatch: 1, worker: "w" })).toEqual({ kind: "superseded" });
    expect(await queue.claim({ id, chunk: 0, attempt: newUlid(), dispatch: 2, worker: "w" })).toMatchObject({ kind: "run" });
  });

  it("takes a chunk out again that was taken back while its job stood", async () => {
    const { id, model } = await running({ chunks: 1 });
    await queue.applyPause({ id, number: 1 });
    await queue.claim({ id, chunk: 0, attempt: newUlid(), dispatch: 1, worker: "w" });
    await queue.applyResume({ id, number: 2 });
    expect(await queue.claim({ id, chunk: 0, attempt: newUlid(), dispatch: 1, worker: "w" })).toMatchObject({ kind: "run" });
    await redis.raw.del(`flamboyance:chunk-${model}:wait`);
    expect(await queue.dispatch(model)).toBe(0);
  });

  it("says stopped when cancelling, recorded when the chunk has its part, sealed and gone", async () => {
    const { id, plan } = await running();
    const attempt = newUlid();
    await queue.record({ id, chunk: 0, plan, attempt, cut: false, tally: tallyOf(2) });
    const claim = { id, attempt: newUlid(), dispatch: 9, worker: "w" };
    expect(await queue.claim({ ...claim, chunk: 0 })).toEqual({ kind: "recorded" });
    await queue.applyCancel({ id, number: 1 });
    expect(await queue.claim({ ...claim, chunk: 1 })).toEqual({ kind: "stopped" });
    await queue.seal({ id, seal: newUlid(), outcome: "cancelled" });
    expect(await queue.claim({ ...claim, chunk: 1 })).toEqual({ kind: "sealed" });
    expect(await queue.claim({ ...claim, id: "batch_x", chunk: 1 })).toEqual({ kind: "gone" });
  });
});

describe("release", () => {
  it("ends the attempt's own claim, not another's; the chunk stays handed out", async () => {
    const { id } = await running({ chunks: 1 });
    const attempt = newUlid();
    const claimed = async () => (await redis.raw.hget(`flamboyance:out:${id}`, "0"))?.includes(attempt);
    await queue.claim({ id, chunk: 0, attempt, dispatch: 1, worker: "w" });
    await queue.release({ id, chunk: 0, attempt: newUlid() });
    expect(await claimed()).toBe(true);
    await queue.release({ id, chunk: 0, attempt });
    expect(await claimed()).toBe(false);
    expect(await queue.claim({ id, chunk: 0, attempt: newUlid(), dispatch: 1, worker: "w" })).toMatchObject({ kind: "run" });
  });
});

describe("record", () => {
  it("takes the first part whole with its tally; its writer gets the same answer again, another is refused", async () => {
    const { id, plan } = await running({ refused: 1 });
    const first = { id, chunk: 1, plan, attempt: newUlid(), cut: false, tally: tallyOf(1, 1) };
    const last = { id, chunk: 0, plan, attempt: newUlid(), cut: false, tally: tallyOf(2) };
    expect(await queue.record(first)).toEqual({ kind: "recorded", last: false });
    expect(await queue.record({ ...first, attempt: newUlid(), tally: tallyOf(9) })).toEqual({ kind: "refused", reason: "has_part" });
    expect(await queue.batch(id)).toMatchObject({ recorded: 1, frontier: 0 });
    expect(await queue.record(last)).toEqual({ kind: "recorded", last: true });

    // Again, and after the seal too.
    expect(await queue.record(first)).toEqual({ kind: "recorded", last: false });
    expect(await queue.record(last)).toEqual({ kind: "recorded", last: true });
    await queue.seal({ id, seal: newUlid(), outcome: "completed" });
    expect(await queue.record(first)).toEqual({ kind: "recorded", last: false });
    expect(await queue.record(last)).toEqual({ kind: "recorded", last: true });
    expect(await queue.record({ ...first, attempt: newUlid() })).toEqual({ kind: "refused", reason: "sealed" });

    expect(await queue.parts({ id })).toEqual([
      { attempt: last.attempt, cut: false },
      { attempt: first.attempt, cut: false },
    ]);
    const counts = { recorded: 2, frontier: 2, completed: 3, failed: 2, inputTokens: 30, cachedTokens: 15, outputTokens: 9 };
    expect(await queue.batch(id)).toMatchObject(counts);
  });

  it("is refused under another plan, for no such chunk, and for an id without a record", async () => {
    const { id, plan } = await running();
    const part = { id, chunk: 0, plan, attempt: newUlid(), cut: false, tally: tallyOf(2) };
    expect(await queue.record({ ...part, plan: newUlid() })).toEqual({ kind: "refused", reason: "other_plan" });
    expect(await queue.record({ ...part, chunk: 2 })).toEqual({ kind: "refused", reason: "no_such_chunk" });
    expect(await queue.record({ ...part, id: "batch_x" })).toEqual({ kind: "refused", reason: "gone" });
    expect(await queue.batch(id)).toMatchObject({ recorded: 0, completed: 0 });
  });

  it("counts a cut part only in cancelling and expiring", async () => {
    const { id, plan } = await running();
    const part = { id, plan, attempt: newUlid(), cut: true, tally: tallyOf(1, 1) };
    expect(await queue.record({ ...part, chunk: 0 })).toEqual({ kind: "refused", reason: "not_cut" });
    await put(id, "status", "paused");
    expect(await queue.record({ ...part, chunk: 0 })).toEqual({ kind: "refused", reason: "not_cut" });
    await put(id, "status", "expiring");
    expect(await queue.record({ ...part, chunk: 0 })).toEqual({ kind: "recorded", last: false });
    await put(id, "status", "cancelling");
    expect(await queue.record({ ...part, chunk: 1 })).toEqual({ kind: "recorded", last: true });
    expect(await queue.parts({ id })).toEqual([
      { attempt: part.attempt, cut: true },
      { attempt: part.attempt, cut: true },
    ]);
  });

  it("takes a part whose claim another attempt holds: its bytes are as good", async () => {
    const { id, plan } = await running({ chunks: 1 });
    const [slow, quick] = [newUlid(), newUlid()];
    await queue.claim({ id, chunk: 0, attempt: slow, dispatch: 1, worker: "slow" });
    await queue.claim({ id, chunk: 0, attempt: quick, dispatch: 1, worker: "quick" });
    const part = { id, chunk: 0, plan, cut: false, tally: tallyOf(2) };
    expect(await queue.record({ ...part, attempt: slow })).toEqual({ kind: "recorded", last: true });
    expect(await queue.record({ ...part, attempt: quick })).toEqual({ kind: "refused", reason: "has_part" });
    expect(await queue.batch(id)).toMatchObject({ completed: 2 });
  });

  it("of a chunk that waits to be claimed makes room for another", async () => {
    const { id, plan, model } = await running({ chunks: 9, slots: 0 });
    await queue.record({ id, chunk: 0, plan, attempt: newUlid(), cut: false, tally: tallyOf(2) });
    expect(await redis.raw.zrange(`flamboyance:ready:${model}`, 0, "-1")).toEqual([`${id}-1`]);
  });

  it("keeps 17 bytes a chunk, and nothing of chunks that are neither out nor recorded", async () => {
    const { id, plan } = await running({ chunks: 1_000, slots: 1 });
    const part = { id, plan, cut: false, tally: tallyOf(1) };
    await Promise.all(Array.from({ length: 500 }, (_, chunk) => queue.record({ ...part, chunk, attempt: newUlid() })));
    await queue.confirmFrontier({ id, epoch: 1, chunks: 500 });
    expect(await redis.raw.strlen(`flamboyance:parts:${id}`)).toBe(500 * 17);
    expect(await redis.raw.hlen(`flamboyance:out:${id}`)).toBeLessThanOrEqual(4);
    expect(await redis.raw.exists(`flamboyance:tallies:${id}`)).toBe(0);
  });
});

describe("the frontier", () => {
  it("is what stands without a gap; readers see what is confirmed under this epoch", async () => {
    const { id, plan } = await running({ chunks: 4 });
    const attempts = [newUlid(), newUlid(), newUlid(), newUlid()];
    const recordChunk = (chunk: number) =>
      queue.record({ id, chunk, plan, attempt: attempts[chunk] ?? "", cut: false, tally: tallyOf(chunk + 1) });
    await recordChunk(1);
    await recordChunk(3);
    expect(await queue.unconfirmedParts(id)).toEqual([]);
    await recordChunk(0);
    expect(await queue.batch(id)).toMatchObject({ frontier: 2, confirmed: 0 });
    expect(await queue.unconfirmedParts(id)).toEqual([
      { chunk: 0, part: { attempt: attempts[0], cut: false }, tally: tallyOf(1) },
      { chunk: 1, part: { attempt: attempts[1], cut: false }, tally: tallyOf(2) },
    ]);
    expect(await queue.unconfirmedParts(id, 1)).toHaveLength(1);

    const { epoch = 0 } = (await queue.batch(id)) ?? {};
    expect(await queue.confirmFrontier({ id, epoch: epoch - 1, chunks: 2 })).toBe(false);
    expect(await queue.confirmFrontier({ id, epoch, chunks: 3 })).toBe(false);
    expect(await queue.confirmFrontier({ id, epoch, chunks: 2 })).toBe(true);
    expect(await queue.confirmFrontier({ id, epoch, chunks: 2 })).toBe(true);
    // A slower writer doesn't take back what readers saw.
    expect(await queue.confirmFrontier({ id, epoch, chunks: 1 })).toBe(true);
    expect(await queue.batch(id)).toMatchObject({ confirmed: 2 });
    await recordChunk(2);
    expect(await queue.batch(id)).toMatchObject({ frontier: 4 });
    expect((await queue.unconfirmedParts(id)).map(({ chunk }) => chunk)).toEqual([2, 3]);
  });

  it("catches up over a long stretch, a bounded piece at each record", async () => {
    const { id, plan } = await running({ chunks: 1_502, slots: 0 });
    const part = { id, plan, attempt: newUlid(), cut: false, tally: tallyOf(1) };
    await Promise.all(Array.from({ length: 1_500 }, (_, before) => queue.record({ ...part, chunk: before + 1 })));
    await queue.record({ ...part, chunk: 0 });
    expect(await queue.batch(id)).toMatchObject({ frontier: 1_024 });
    await queue.record({ ...part, chunk: 1_501 });
    expect(await queue.batch(id)).toMatchObject({ frontier: 1_502, recorded: 1_502 });
  });
});

describe("parts", () => {
  it("are read in ranges, null where there is none yet", async () => {
    const { id, plan } = await running({ chunks: 3 });
    const attempt = newUlid();
    await queue.record({ id, chunk: 1, plan, attempt, cut: false, tally: tallyOf(2) });
    const part = { attempt, cut: false };
    expect(await queue.parts({ id })).toEqual([null, part, null]);
    expect(await queue.parts({ id, from: 1, count: 1 })).toEqual([part]);
    expect(await queue.parts({ id, from: 2, count: 9 })).toEqual([null]);
    expect(await queue.parts({ id, from: 3 })).toEqual([]);
    expect(await queue.parts({ id: "batch_x" })).toEqual([]);
  });
});

describe("running chunks", () => {
  it("learn that they should stop, and why", async () => {
    const [free, cancelled, expiring, ended] = [await running(), await running(), await running(), await running({ chunks: 0 })];
    await queue.applyCancel({ id: cancelled.id, number: 1 });
    await put(expiring.id, "status", "expiring");
    const ids = [free.id, cancelled.id, expiring.id, ended.id, "batch_x"];
    expect(await queue.stopping(ids)).toEqual(
      new Map([
        [cancelled.id, "cancelling"],
        [expiring.id, "expiring"],
        [ended.id, "sealed"],
        ["batch_x", "gone"],
      ]),
    );
    expect(await queue.stopping([])).toEqual(new Map());
  });
});
