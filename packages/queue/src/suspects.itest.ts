/** Chunks whose claimants die: suspicion, notes, charges, quarantine. A worker lives as long as it is announced. */
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
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

let batch: { id: string; model: string; plan: string };
beforeEach(async () => {
  const request = requestOf();
  const { id } = request;
  const model = request.model.key;
  const plan = newUlid();
  await queue.submit(request);
  await queue.adoptPlan({ id, plan, items: 8, chunks: 2, refused: 0 });
  await queue.announce({ worker: "others", model, slots: 4 }, 60_000);
  await queue.dispatch(model);
  batch = { id, model, plan };
});

/** A worker claims the chunk, and lives. */
async function claim(worker: string, chunk = 0) {
  const { id, model } = batch;
  await queue.announce({ worker, model, slots: 1 }, 60_000);
  const attempt = newUlid();
  const answer = await queue.claim({ id, chunk, attempt, dispatch: chunk + 1, worker });
  const found = answer.kind === "run" ? { suspect: answer.suspect, quarantined: answer.quarantined } : answer;
  return {
    ...found,
    attempt,
    dies: () => queue.withdraw(worker, model),
    note: (item: number | null) => queue.note({ id, chunk, attempt, item }),
    release: () => queue.release({ id, chunk, attempt }),
    record: () => queue.record({ id, chunk, plan: batch.plan, attempt, cut: false, tally: tallyOf(4) }),
  };
}

/** The worker runs its suspect chunk up to this item, and dies over it. */
async function dieOver(item: number, worker = newUlid()): Promise<void> {
  const claimed = await claim(worker);
  expect(await claimed.note(item)).toBe(true);
  await claimed.dies();
}

it("a chunk is suspect from the death of its claimant on, until it has its part; the chunk beside it isn't", async () => {
  const first = await claim("one");
  expect(first).toMatchObject({ suspect: false, quarantined: [] });
  await first.dies();
  expect(await claim("two")).toMatchObject({ suspect: true, quarantined: [] });
  expect(await claim("three", 1)).toMatchObject({ suspect: false });
  // Once suspect it stays so, whatever becomes of the second claimant.
  const third = await claim("four");
  expect(third).toMatchObject({ suspect: true });
  await third.record();
  expect(await redis.raw.exists(`flamboyance:suspects:${batch.id}`)).toBe(0);
});

it("a chunk whose claimant lives, or gave it back, isn't suspect", async () => {
  const first = await claim("alive");
  expect(await claim("twin")).toMatchObject({ suspect: false });
  const second = await claim("leaves");
  await second.release();
  await second.dies();
  await first.dies();
  expect(await claim("next")).toMatchObject({ suspect: false });
});

it("the noted item of three deaths is quarantined, and no other", async () => {
  await (await claim("first")).dies();
  await dieOver(2);
  await dieOver(1);
  await dieOver(2);
  expect(await claim("looks")).toMatchObject({ suspect: true, quarantined: [] });
  await dieOver(2);
  expect(await claim("last")).toMatchObject({ suspect: true, quarantined: [2] });
});

it("a death between two items, one before any, and one of a claimant that gave its chunk back charge nobody", async () => {
  await (await claim("first")).dies();
  for (let time = 0; time < 4; time += 1) {
    const between = await claim(newUlid());
    await between.note(3);
    await between.note(null);
    await between.dies();
    const leaves = await claim(newUlid());
    await leaves.note(3);
    await leaves.release();
    await leaves.dies();
    const before = await claim(newUlid());
    await before.dies();
  }
  expect(await claim("last")).toMatchObject({ suspect: true, quarantined: [] });
});

it("a claimant that was overtaken notes nothing any more, and isn't charged for", async () => {
  await (await claim("first")).dies();
  const late = await claim("late");
  await late.note(0);
  const next = await claim("next");
  expect(await late.note(1)).toBe(false);
  await late.dies();
  await next.note(2);
  await next.dies();
  expect(await redis.raw.hgetall(`flamboyance:deaths:${batch.id}`)).toEqual({});
  await claim("last");
  expect(await redis.raw.hgetall(`flamboyance:deaths:${batch.id}`)).toEqual({ 2: "1" });
});

it("the seal forgets suspicions and charges", async () => {
  await (await claim("first")).dies();
  await dieOver(2);
  await claim("second");
  const { id } = batch;
  await queue.applyCancel({ id, number: 1 });
  await redis.raw.hset(`flamboyance:batch:${id}`, "quiet_from_ms", 0);
  expect(await queue.seal({ id, seal: newUlid(), outcome: "cancelled" })).toMatchObject({ kind: "sealed" });
  expect(await redis.raw.exists(`flamboyance:suspects:${id}`, `flamboyance:deaths:${id}`)).toBe(0);
  expect(await queue.note({ id, chunk: 0, attempt: newUlid(), item: 1 })).toBe(false);
});
