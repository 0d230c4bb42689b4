import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Queue } from "./queue.ts";
import { requestOf, startTestRedis, type TestRedis } from "./test-redis.ts";
import { newUlid } from "./ulid.ts";

let redis: TestRedis;
let queue: Queue;
beforeAll(async () => {
  redis = await startTestRedis();
  queue = await redis.queue();
});
afterAll(() => redis.close());

describe("submit", () => {
  it("makes a record in validating and one plan job, however often it is repeated", async () => {
    const request = requestOf({ metadata: { project: "owls" }, output: "s3://images/out/" });
    const before = await planJobs(queue);
    expect(await queue.submit(request)).toBe("created");
    expect(await queue.submit(request)).toBe("exists");
    expect(await planJobs(queue)).toBe(before + 1);
    expect(await queue.batch(request.id)).toMatchObject({
      id: request.id,
      tenant: "birds",
      model: request.model,
      status: "validating",
      plan: null,
      items: 0,
      completed: 0,
      failed: 0,
      metadata: { project: "owls" },
      completionWindow: "1h",
      createdAt: request.created_at,
      expiresAt: request.expires_at,
      settled: false,
      errors: [],
      files: null,
      delivery: { status: "pending", error: null },
    });
  });

  it("leaves no prompt, example or question in Redis", async () => {
    const request = requestOf({ question: "how many owls?", examples: [{ text: "two owls on a branch" }] });
    await queue.submit(request);
    expect(JSON.stringify(await redis.raw.hgetall(`flamboyance:batch:${request.id}`))).not.toMatch(/owls/);
  });

  it("answers null for an id that was never submitted", async () => {
    expect(await queue.batch("batch_unknown")).toBeNull();
  });
});

describe("reserve", () => {
  it("gives a fresh id where there is no key", async () => {
    const first = await queue.reserve({ tenant: "birds", bodyHash: "x" });
    expect(first).toEqual({ id: expect.stringMatching(/^batch_[0-9a-z]{26}$/), known: false, now: expect.any(Number) });
    const [seconds] = await redis.raw.time();
    expect(Number(seconds) - first.now).toBeLessThan(60);
    expect((await queue.reserve({ tenant: "birds", bodyHash: "x" })).id).not.toBe(first.id);
  });

  it("gives a client that repeats itself the id of its last try, by tenant and body", async () => {
    const reservation = { tenant: "birds", bodyHash: newUlid() };
    await queue.reserve(reservation);
    const { id } = await queue.reserve(reservation);
    expect(await queue.reserve({ ...reservation, retry: true })).toMatchObject({ id, known: true });
    expect((await queue.reserve({ ...reservation, tenant: "bees", retry: true })).known).toBe(false);
    expect((await queue.reserve({ ...reservation, bodyHash: newUlid(), retry: true })).known).toBe(false);
  });

  it("gives the same id for the same key and body, and refuses the key for another body", async () => {
    const reservation = { tenant: "birds", bodyHash: "x", idempotencyKey: newUlid() };
    const { id } = await queue.reserve(reservation);
    expect(await queue.reserve(reservation)).toMatchObject({ id, known: true });
    await expect(queue.reserve({ ...reservation, bodyHash: "y" })).rejects.toMatchObject({ code: "idempotency_mismatch" });
    expect((await queue.reserve({ ...reservation, tenant: "bees", bodyHash: "y" })).id).not.toBe(id);
  });

  it("derives the id anew where Redis forgot the key, and submit takes the key again", async () => {
    const reservation = { tenant: "birds", bodyHash: "x", idempotencyKey: newUlid() };
    const { id } = await queue.reserve(reservation);
    await redis.raw.del(...(await redis.raw.keys("flamboyance:key:*")));
    expect(await queue.submit(requestOf({ id, idempotency_key: reservation.idempotencyKey }))).toBe("created");
    await expect(queue.reserve({ ...reservation, bodyHash: "y" })).rejects.toMatchObject({ code: "idempotency_mismatch" });
    expect(await queue.reserve(reservation)).toMatchObject({ id, known: true });
  });

  it("refuses to submit where the key went to another body meanwhile", async () => {
    const idempotencyKey = newUlid();
    await queue.reserve({ tenant: "birds", bodyHash: "x", idempotencyKey });
    await expect(queue.submit(requestOf({ idempotency_key: idempotencyKey }))).rejects.toMatchObject({ code: "idempotency_mismatch" });
  });
});

describe("the list", () => {
  it("is the tenant's alone, newest first, in pages without gap or repeat", async () => {
    const tenant = newUlid();
    const ids: string[] = [];
    for (let created_at = 1; created_at <= 5; created_at += 1) {
      const request = requestOf({ tenant, created_at });
      ids.unshift(request.id);
      await queue.submit(request);
    }
    await queue.submit(requestOf({ tenant: newUlid() }));

    const first = await queue.batches({ tenant, limit: 2 });
    expect(first.records.map(({ id }) => id)).toEqual(ids.slice(0, 2));
    expect(first.hasMore).toBe(true);
    const second = await queue.batches({ tenant, limit: 3, after: ids[1] ?? "" });
    expect(second.records.map(({ id }) => id)).toEqual(ids.slice(2));
    expect(second.hasMore).toBe(false);
    expect(await queue.batches({ tenant, limit: 3, after: ids[4] ?? "" })).toEqual({ records: [], hasMore: false });
  });

  it("repeats no batch while others are submitted", async () => {
    const tenant = newUlid();
    let created_at = 1;
    const submit = () => queue.submit(requestOf({ tenant, created_at: created_at++ }));
    for (let count = 0; count < 30; count++) await submit();
    const seen: string[] = [];
    for (let after: string | undefined; ;) {
      const [page] = await Promise.all([
        queue.batches({ tenant, limit: 1, ...(after === undefined ? {} : { after }) }),
        submit(),
        submit(),
      ]);
      seen.push(...page.records.map(({ id }) => id));
      if (!page.hasMore) break;
      after = seen.at(-1);
    }
    expect(new Set(seen).size).toBe(seen.length);
  });

  it("refuses a cursor that isn't its own", async () => {
    await expect(queue.batches({ tenant: "birds", limit: 2, after: "batch_other" })).rejects.toMatchObject({ code: "invalid_cursor" });
  });
});

describe("open batches", () => {
  it("are counted by their status and model", async () => {
    const one = requestOf();
    const model = one.model.key;
    const counted = async () => (await queue.openCounts()).filter((group) => group.model === model);
    await queue.submit(one);
    await queue.submit(requestOf({ model: one.model }));
    expect(await counted()).toEqual([{ model, status: "validating", count: 2 }]);
    await queue.applyCancel({ id: one.id, number: 1 });
    expect(await counted()).toHaveLength(2);
    expect(await counted()).toEqual(
      expect.arrayContaining([
        { model, status: "cancelling", count: 1 },
        { model, status: "validating", count: 1 },
      ]),
    );
  });
});

describe("who serves a model", () => {
  it("is known until it leaves or falls silent", async () => {
    const model = newUlid();
    await queue.announce({ worker: "one", model, slots: 2 }, 60_000);
    await queue.announce({ worker: "two", model, slots: 1 }, 60_000);
    await queue.announce({ worker: "silent", model, slots: 7 }, 0);
    const served = async () => (await queue.liveModels()).filter(({ key }) => key === model);
    expect(await served()).toEqual([{ key: model, slots: 3, workers: 2, itemsPerSecond: null }]);
    // Who hasn't run anything is taken for as fast as the others.
    await queue.announce({ worker: "one", model, slots: 2, itemsPerSecond: 1.25 }, 60_000);
    await queue.announce({ worker: "silent", model, slots: 7, itemsPerSecond: 100 }, 0);
    expect(await served()).toEqual([{ key: model, slots: 3, workers: 2, itemsPerSecond: 2.5 }]);
    await queue.withdraw("one");
    expect(await served()).toEqual([{ key: model, slots: 1, workers: 1, itemsPerSecond: null }]);
    await queue.withdraw("two");
    expect(await served()).toEqual([]);
    expect(await queue.models()).toContain(model);
  });

  it("is left one model at a time, too", async () => {
    const [left, kept] = [newUlid(), newUlid()];
    for (const model of [left, kept]) await queue.announce({ worker: "both", model, slots: 1 }, 60_000);
    await queue.withdraw("both", left);
    const keys = (await queue.liveModels()).map(({ key }) => key);
    expect(keys).toContain(kept);
    expect(keys).not.toContain(left);
  });
});

describe("a lease", () => {
  it("is held by one at a time, and only its holder lets it go", async () => {
    const first = await queue.lease("reconcile", 60_000);
    expect(await queue.lease("reconcile", 60_000)).toBeNull();
    expect(await first?.renew()).toBe(true);
    await redis.raw.del("flamboyance:lease:reconcile");
    const second = await queue.lease("reconcile", 60_000);
    expect(await first?.renew()).toBe(false);
    await first?.release();
    expect(await second?.renew()).toBe(true);
    await second?.release();
    expect(await queue.lease("reconcile", 1)).not.toBeNull();
  });
});

async function planJobs(on: Queue): Promise<number> {
  return (await on.depths()).find(({ kind }) => kind === "plan")?.ready ?? 0;
}
