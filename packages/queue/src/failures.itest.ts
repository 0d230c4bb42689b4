/** `max_failed`: the script that counts pauses the batch, once, and a resume takes the limit off. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { MaxFailed } from "@flamboyance/contracts";
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

/** A batch in progress of chunks with ten items each, and what is done with it. */
async function running({ max_failed, chunks = 10, refused = 0 }: { max_failed?: MaxFailed; chunks?: number; refused?: number }) {
  const request = requestOf(max_failed === undefined ? {} : { max_failed });
  const { id, model } = request;
  const [plan, attempt] = [newUlid(), newUlid()];
  await queue.submit(request);
  await queue.adoptPlan({ id, plan, items: 10 * chunks, chunks, refused });
  await queue.announce({ worker: "w", model: model.key, slots: 100 }, 60_000);
  return {
    id,
    model: model.key,
    record: (chunk: number, failed: number) => queue.record({ id, chunk, plan, attempt, cut: false, tally: tallyOf(10 - failed, failed) }),
    claim: (chunk: number, dispatch: number) => queue.claim({ id, chunk, attempt, dispatch, worker: "w" }),
    look: async () => {
      const { status, pausedReason } = (await queue.batch(id)) ?? {};
      return [status, pausedReason];
    },
  };
}

const paused = (reason: string) => ["paused", reason];

describe("max_failed", () => {
  it("as a number pauses once more lines failed than that, refused ones too, and not before", async () => {
    const { record, look, model, claim } = await running({ max_failed: 12, refused: 2 });
    await queue.dispatch(model);
    await record(0, 9);
    await record(3, 1);
    expect(await look()).toEqual(["in_progress", null]);
    expect(await record(1, 1)).toEqual({ kind: "recorded", last: false });
    expect(await look()).toEqual(paused("13 of 102 items failed, more than max_failed (12) allows"));
    // As any pause: nothing starts, what runs finishes and counts on.
    expect(await claim(2, 3)).toEqual({ kind: "parked" });
    await redis.raw.del(`flamboyance:chunk-${model}:wait`);
    expect(await queue.dispatch(model)).toBe(0);
    await record(4, 10);
    expect(await look()).toEqual(paused("13 of 102 items failed, more than max_failed (12) allows"));
  });

  it("as a share is of all lines, known from the plan on", async () => {
    const { record, look } = await running({ max_failed: "29%", chunks: 10 });
    for (const chunk of [0, 1]) await record(chunk, 10);
    await record(2, 9);
    expect(await look()).toEqual(["in_progress", null]);
    await record(3, 1);
    expect(await look()).toEqual(paused("30 of 100 items failed, more than max_failed (29%) allows"));
    const small = await running({ max_failed: "0.5%", chunks: 1_000 });
    await small.record(0, 10);
    for (const chunk of [1, 2, 3, 4]) await small.record(chunk, 10);
    expect(await small.look()).toEqual(["in_progress", null]);
    await small.record(5, 1);
    expect((await small.look())[0]).toBe("paused");
  });

  it("of 0 bears no failure, and refused lines alone pause at the plan", async () => {
    const { look } = await running({ max_failed: 0, refused: 1 });
    expect(await look()).toEqual(paused("1 of 101 items failed, more than max_failed (0) allows"));
    const fine = await running({ max_failed: 0 });
    await fine.record(0, 0);
    expect(await fine.look()).toEqual(["in_progress", null]);
  });

  it("pauses nobody who gave none, and no batch whose last part it was", async () => {
    const free = await running({});
    await free.record(0, 10);
    expect(await free.look()).toEqual(["in_progress", null]);
    const last = await running({ max_failed: 1, chunks: 1 });
    expect(await last.record(0, 10)).toEqual({ kind: "recorded", last: true });
    expect(await last.look()).toEqual(["in_progress", null]);
    expect(await queue.seal({ id: last.id, seal: newUlid(), outcome: "completed" })).toMatchObject({
      kind: "sealed",
      outcome: "completed",
    });
  });

  it("is taken off by the resume that says so, and holds through any other", async () => {
    const { id, record, look, model } = await running({ max_failed: 5 });
    await queue.applyPause({ id, number: 1 });
    await record(0, 6);
    // Its owner's pause: the reason comes where it counts next.
    expect(await look()).toEqual(["paused", null]);
    await queue.applyResume({ id, number: 2 });
    await record(1, 1);
    expect(await look()).toEqual(paused("7 of 100 items failed, more than max_failed (5) allows"));
    expect(await queue.applyResume({ id, number: 3, lifts: true })).toEqual({ kind: "applied", status: "in_progress" });
    expect(await queue.dispatch(model)).toBeGreaterThan(0);
    await record(2, 10);
    expect(await look()).toEqual(["in_progress", null]);
  });

  it("doesn't stop a cancel or the deadline, and leaves those alone", async () => {
    const { id, record, look, claim, model } = await running({ max_failed: 0 });
    await queue.dispatch(model);
    await claim(0, 1);
    await claim(1, 2);
    await record(0, 1);
    expect((await look())[0]).toBe("paused");
    await queue.applyCancel({ id, number: 1 });
    await record(1, 5);
    expect(await look()).toEqual(["cancelling", null]);
  });
});
