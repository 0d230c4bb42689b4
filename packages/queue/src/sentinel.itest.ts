import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openQueue } from "./open.ts";
import { endOf, requestOf, startTestRedis, tallyOf, type TestRedis } from "./test-redis.ts";
import { newUlid } from "./ulid.ts";

let redis: TestRedis;
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(() => redis.close());

const sentinel = "flamboyance:sentinel";

describe.each([
  ["without the sentinel", () => redis.raw.rename(sentinel, "kept"), () => redis.raw.rename("kept", sentinel)],
  [
    "with the sentinel of another run of the server",
    async () => {
      await redis.raw.copy(sentinel, "kept");
      await redis.raw.hset(sentinel, "run_id", "f".repeat(40));
    },
    () => redis.raw.rename("kept", sentinel),
  ],
])("%s", (_name, lose, find) => {
  it("every writing step is refused as unavailable, and changes nothing", async () => {
    const queue = await redis.queue();
    const request = requestOf();
    await queue.submit(request);
    const { id } = request;
    const [plan, attempt, seal] = [newUlid(), newUlid(), newUlid()];
    await lose();
    expect(await queue.believed()).toBeNull();
    const before = await redis.raw.hgetall(`flamboyance:batch:${id}`);

    const steps = [
      () => queue.reserve({ tenant: "birds", bodyHash: "x", idempotencyKey: "k" }),
      () => queue.reserve({ tenant: "birds", bodyHash: "x" }),
      () => queue.submit(requestOf()),
      () => queue.takeNumber({ id, kind: "cancel" }),
      () => queue.applyCancel({ id, number: 1 }),
      () => queue.applyPause({ id, number: 1 }),
      () => queue.applyResume({ id, number: 1 }),
      () => queue.claimPlan({ id, attempt, worker: "w" }),
      () => queue.notePlan({ id, attempt, what: "x" }),
      () => queue.releasePlan({ id, attempt }),
      () => queue.adoptPlan({ id, plan, items: 1, chunks: 1, refused: 0 }),
      () => queue.refusePlan({ id, errors: [] }),
      () => queue.dispatch(request.model.key),
      () => queue.claim({ id, chunk: 0, attempt, dispatch: 1, worker: "w" }),
      () => queue.note({ id, chunk: 0, attempt, item: 1 }),
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
    await find();
    expect(await queue.claimPlan({ id, attempt: newUlid(), worker: "w" })).toMatchObject({ kind: "run" });
  });

  it("nothing is taken for gone, or for what it was before its last step; what is settled may be read", async () => {
    const queue = await redis.queue();
    const [open, ended] = [requestOf(), requestOf()];
    await queue.submit(open);
    await queue.submit(ended);
    await queue.copyEnd({ id: ended.id, end: endOf(newUlid(), "completed", [1, 1, 0]) });
    await queue.settle({ id: ended.id, after: { delivery: null } });
    await lose();

    const readings = [
      () => queue.batch(open.id),
      () => queue.batch("batch_unknown"),
      () => queue.batches({ tenant: "birds", limit: 10 }),
      () => queue.batches({ tenant: "nobody", limit: 10 }),
      () => queue.claimFinalize(open.id),
      () => queue.parts({ id: open.id }),
      () => queue.unconfirmedParts(open.id),
      () => queue.repair(open.id),
      () => queue.stopping([open.id]),
      () => Array.fromAsync(queue.openBatches()),
    ];
    for (const reading of readings) await expect(reading(), String(reading)).rejects.toMatchObject({ code: "service_unavailable" });
    expect(await queue.batch(ended.id)).toMatchObject({ status: "completed" });
    await find();
    expect(await queue.batch(open.id)).toMatchObject({ status: "validating" });
  });
});

describe("Redis started anew", () => {
  it("isn't believed, though everything is there again, by no process and on no connection", async () => {
    const other = await startTestRedis({ appendOnly: true });
    const queue = await other.queue();
    const request = requestOf();
    await queue.submit(request);
    // A command that waits for the connection to come back must find no other belief than one that comes later.
    const restarting = other.restart();
    await once(other.raw, "close");
    const early = Promise.allSettled([queue.takeNumber({ id: request.id, kind: "cancel" }), queue.batch(request.id)]);
    await restarting;
    expect(await other.raw.hget(`flamboyance:batch:${request.id}`, "status")).toBe("validating");
    for (const outcome of await early) expect(outcome).toMatchObject({ status: "rejected", reason: { code: "service_unavailable" } });
    await expect(queue.takeNumber({ id: request.id, kind: "cancel" })).rejects.toMatchObject({ code: "service_unavailable" });
    expect(await queue.believed()).toBeNull();
    await other.close();
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
