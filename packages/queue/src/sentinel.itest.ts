import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openQueue } from "./open.ts";
import { endOf, requestOf, startTestRedis, tallyOf, until, type TestRedis } from "./test-redis.ts";
import { newUlid } from "./ulid.ts";

let redis: TestRedis;
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(() => redis.close());

describe("without the sentinel", () => {
  it("every writing step is refused as unavailable, and changes nothing", async () => {
    const queue = await redis.queue();
    const request = requestOf();
    await queue.submit(request);
    const { id } = request;
    const [plan, attempt, seal] = [newUlid(), newUlid(), newUlid()];
    await redis.raw.rename("flamboyance:sentinel", "kept");
    const before = await redis.raw.hgetall(`flamboyance:batch:${id}`);

    const steps = [
      () => queue.reserve({ tenant: "birds", bodyHash: "x", idempotencyKey: "k" }),
      () => queue.reserve({ tenant: "birds", bodyHash: "x" }),
      () => queue.submit(requestOf()),
      () => queue.takeNumber({ id, kind: "cancel" }),
      () => queue.applyCancel({ id, number: 1 }),
      () => queue.applyPause({ id, number: 1 }),
      () => queue.applyResume({ id, number: 1 }),
      () => queue.adoptPlan({ id, plan, items: 1, chunks: 1, refused: 0 }),
      () => queue.refusePlan({ id, errors: [] }),
      () => queue.dispatch(request.model.key),
      () => queue.claim({ id, chunk: 0, attempt, dispatch: 1, worker: "w" }),
      () => queue.release({ id, chunk: 0, attempt }),
      () => queue.record({ id, chunk: 0, plan, attempt, cut: false, tally: tallyOf(1) }),
      () => queue.expire(id),
      () => queue.seal({ id, seal, outcome: "completed" }),
      () => queue.sealed({ id, seal }),
      () => queue.end({ id, end: endOf(seal, "completed", [1, 1, 0]) }),
      () => queue.copyEnd({ id, end: endOf(seal, "completed", [1, 1, 0]) }),
      () => queue.settle({ id, after: { delivery: null } }),
      () => queue.confirmFrontier({ id, epoch: 1, chunks: 0 }),
      () => queue.swept({ id, again: true }),
    ];
    for (const step of steps) await expect(step(), String(step)).rejects.toMatchObject({ code: "service_unavailable" });

    expect(await redis.raw.hgetall(`flamboyance:batch:${id}`)).toEqual(before);
    // A missing record says nothing then; one that is there may be read.
    await expect(queue.batch("batch_unknown")).rejects.toMatchObject({ code: "service_unavailable" });
    expect(await queue.batch(id)).toMatchObject({ status: "validating" });
    await redis.raw.rename("kept", "flamboyance:sentinel");
    expect(await queue.claimPlan(id)).toMatchObject({ kind: "run" });
  });
});

describe("the sentinel", () => {
  it("is made once, above the epoch it is told, and seen by every process", async () => {
    const first = await redis.queue({ prefix: "other", sentinelIntervalMs: 10 });
    const epoch = first.epoch();
    const second = await openQueue({ url: redis.url, prefix: "other", sentinelIntervalMs: 10 });
    expect(second.epoch()).toBe(epoch);
    await second.ensureSentinel(epoch + 10);
    expect(second.epoch()).toBe(epoch);

    await redis.raw.del("other:sentinel");
    await second.ensureSentinel(epoch + 10_000);
    expect(second.epoch()).toBeGreaterThan(epoch + 10_000);
    await until(() => first.epoch() === second.epoch());
    await second.close();
  });
});

describe("Redis away", () => {
  it("is service_unavailable when the queue opens", async () => {
    await expect(openQueue({ url: "redis://127.0.0.1:1" })).rejects.toMatchObject({ code: "service_unavailable" });
  });

  it("is service_unavailable in a running queue", async () => {
    const lost = await startTestRedis();
    const queue = await lost.queue();
    await lost.raw.call("SHUTDOWN", "NOSAVE").catch(() => {});
    await expect(queue.batch("batch_x")).rejects.toMatchObject({ code: "service_unavailable" });
    await expect(queue.takeNumber({ id: "batch_x", kind: "cancel" })).rejects.toMatchObject({ code: "service_unavailable" });
    await expect(queue.depths()).rejects.toMatchObject({ code: "service_unavailable" });
    expect(await queue.ping()).toBe(false);
    await lost.close();
  });
});
