import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { JobAborted, type Handler } from "./consume.ts";
import type { Queue } from "./queue.ts";
import { requestOf, startTestRedis, stateOf, tallyOf, until, type TestRedis } from "./test-redis.ts";
import { newUlid } from "./ulid.ts";

let redis: TestRedis;
let queue: Queue;
let hasty: Queue;
// A job of a silent consumer is soon another's; the others' times are long, so that a slow machine doesn't look like a dead one.
const short = { lockMs: 400, stalledIntervalMs: 200 };
beforeAll(async () => {
  redis = await startTestRedis();
  queue = await redis.queue();
  hasty = await redis.queue(short);
});
afterEach(() => void vi.useRealTimers());
afterAll(() => redis.close());

/** A batch in progress, its chunks handed out. */
async function running(chunks: number) {
  const request = requestOf();
  const { id } = request;
  const model = request.model.key;
  const plan = newUlid();
  await queue.submit(request);
  await queue.adoptPlan({ id, plan, items: chunks, chunks, refused: 0 });
  await queue.announce({ worker: "w", model, slots: chunks }, 60_000);
  await queue.dispatch(model);
  return { id, model, plan };
}

/** A worker's handler: claims, records, seals after the last. */
const work: Handler = async ({ id, chunk, dispatch }) => {
  const attempt = newUlid();
  const claim = await queue.claim({ id, chunk, attempt, dispatch, worker: "w" });
  if (claim.kind !== "run") return "done";
  const answer = await queue.record({ id, chunk, plan: claim.plan, attempt, cut: false, tally: tallyOf(1) });
  if (answer.kind === "recorded" && answer.last) await queue.seal({ id, seal: newUlid(), outcome: "completed" });
  return "done";
};

const jobKeys = (model: string) => redis.raw.keys(`flamboyance:chunk-${model}:batch_*`);

async function aborted(signal: AbortSignal): Promise<unknown> {
  if (!signal.aborted) await once(signal, "abort");
  return signal.reason;
}

describe("a consumer", () => {
  it("runs a batch's chunks, each once, and its jobs vanish", async () => {
    const { id, model } = await running(20);
    const ran: string[] = [];
    const consumer = queue.consume({ kind: "chunk", model, concurrency: 4 }, async (job, signal) => {
      ran.push(`${job.id}-${job.chunk}`);
      return work(job, signal);
    });
    await until(async () => (await queue.batch(id))?.status === "finalizing");
    await consumer.close();
    expect(new Set(ran).size).toBe(20);
    expect(ran).toHaveLength(20);
    expect(await queue.batch(id)).toMatchObject({ recorded: 20, completed: 20 });
    await until(async () => (await jobKeys(model)).length === 0);
  });

  it("gets plan and finalize jobs by their batch", async () => {
    const { id } = await running(0);
    const seen: string[] = [];
    const consumers = (["plan", "finalize"] as const).map((kind) =>
      queue.consume({ kind, concurrency: 1 }, (job) => {
        seen.push(`${kind} ${job.id}`);
        return Promise.resolve("done");
      }),
    );
    await until(() => seen.includes(`plan ${id}`) && seen.includes(`finalize ${id}`));
    await Promise.all(consumers.map((consumer) => consumer.close()));
  });

  it.each([
    { whose: "its clock is", itsMs: 86_400_000, othersMs: 0, putOff: 1 },
    { whose: "all others' clocks are", itsMs: 0, othersMs: -86_400_000, putOff: 0 },
  ])("that dies while $whose wrong by a day: its failed job is tried again by the others", async ({ itsMs, othersMs, putOff }) => {
    const { id, model } = await running(1);
    const at = (offsetMs: number) => vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + offsetMs });
    const delayed = () => redis.raw.zcard(`flamboyance:chunk-${model}:delayed`);
    at(itsMs);
    const first = queue.consume({ kind: "chunk", model, concurrency: 1 }, () => Promise.reject(new Error("S3 is away")));
    await until(async () => (await delayed()) === 1);
    await first.close();
    vi.useRealTimers();
    at(othersMs);
    const second = queue.consume({ kind: "chunk", model, concurrency: 1 }, work);
    const { signal } = new AbortController();
    let found = 0;
    await until(async () => {
      found += await queue.promoteDelayed(signal);
      return (await delayed()) === 0;
    });
    expect(found).toBe(putOff);
    await until(async () => (await queue.batch(id))?.recorded === 1);
    await second.close();
  });

  it("leaves a job that is to be tried again soon where it is, and promotes one once where two look", async () => {
    const { model } = await running(1);
    const consumer = queue.consume({ kind: "chunk", model, concurrency: 1 }, () => Promise.reject(new Error("S3 is away")));
    const key = `flamboyance:chunk-${model}:delayed`;
    await until(async () => (await redis.raw.zcard(key)) === 1);
    await consumer.close();
    const { signal } = new AbortController();
    const patient = await redis.queue({ graceMs: 60_000 });
    expect(await patient.promoteDelayed(signal)).toBe(0);
    const [jobId = ""] = await redis.raw.zrange(key, "0", "0");
    await redis.raw.zadd(key, String((Date.now() + 86_400_000) * 0x1000), jobId);
    const [first, second] = await Promise.all([patient.promoteDelayed(signal), patient.promoteDelayed(signal)]);
    expect(first + second).toBe(1);
    expect(await redis.raw.zcard(key)).toBe(0);
  });

  it("tries a job again whose handler threw, without end", async () => {
    const { id, model } = await running(1);
    let tries = 0;
    const consumer = queue.consume({ kind: "chunk", model, concurrency: 1 }, (job, signal) => {
      tries += 1;
      return tries < 6 ? Promise.reject(new Error("S3 is away")) : work(job, signal);
    });
    await until(async () => (await queue.batch(id))?.recorded === 1);
    expect(tries).toBe(6);
    await consumer.close();
  });

  it("hands a job back unharmed that its handler doesn't want", async () => {
    const { id, model } = await running(1);
    const dispatches: number[] = [];
    const consumer = queue.consume({ kind: "chunk", model, concurrency: 1 }, (job, signal) => {
      dispatches.push(job.dispatch);
      return dispatches.length < 3 ? Promise.resolve("hand_back") : work(job, signal);
    });
    await until(async () => (await queue.batch(id))?.recorded === 1);
    // The same job: not a new hand-out.
    expect(dispatches).toEqual([1, 1, 1]);
    await consumer.close();
  });
});

describe("closing", () => {
  it("lets running handlers finish within the drain", async () => {
    const { id, model } = await running(1);
    const gate = Promise.withResolvers<undefined>();
    const consumer = queue.consume({ kind: "chunk", model, concurrency: 1 }, async (job, signal) => {
      await gate.promise;
      return work(job, signal);
    });
    await until(() => consumer.running() === 1);
    const closed = consumer.close({ drainMs: 20_000 });
    gate.resolve(undefined);
    await closed;
    expect(await queue.batch(id)).toMatchObject({ recorded: 1 });
  });

  it("aborts those that don't, and their jobs go back without an attempt spent", async () => {
    const { id, model } = await running(1);
    const reasons: unknown[] = [];
    const attempt = newUlid();
    const consumer = queue.consume({ kind: "chunk", model, concurrency: 1 }, async ({ chunk, dispatch }, signal) => {
      await queue.claim({ id, chunk, attempt, dispatch, worker: "w" });
      reasons.push(await aborted(signal));
      await queue.release({ id, chunk, attempt });
      return "hand_back";
    });
    await until(() => consumer.running() === 1);
    await consumer.close();
    expect(reasons).toEqual([expect.any(JobAborted)]);
    expect(reasons[0]).toMatchObject({ why: "shutdown", code: "aborted" });
    const [key = ""] = await jobKeys(model);
    expect(await redis.raw.hget(key, "atm")).toBeNull();
    expect((await queue.depths()).find((depth) => depth.model === model)).toMatchObject({ ready: 1, running: 0 });
    // The claim is gone, so a cancel is quiet at once.
    await queue.applyCancel({ id, number: 1 });
    expect(await queue.repair(id)).toEqual([{ kind: "sealed", outcome: "cancelled" }]);
  });

  it("hands back also what a handler gave up by throwing", async () => {
    const { model } = await running(1);
    const consumer = queue.consume({ kind: "chunk", model, concurrency: 1 }, async (_job, signal) => {
      throw await aborted(signal);
    });
    await until(() => consumer.running() === 1);
    await consumer.close();
    const [key = ""] = await jobKeys(model);
    expect(await redis.raw.hget(key, "atm")).toBeNull();
    expect((await queue.depths()).find((depth) => depth.model === model)).toMatchObject({ ready: 1, running: 0 });
  });

  it("reaches a job that was lost and came back to the same consumer, also after its first handler ended", async () => {
    const { id, model } = await running(1);
    const [first, second] = [Promise.withResolvers<undefined>(), Promise.withResolvers<unknown>()];
    let calls = 0;
    const consumer = hasty.consume({ kind: "chunk", model, concurrency: 2 }, async (_job, signal) => {
      calls += 1;
      if (calls === 1) await first.promise;
      else second.resolve(await aborted(signal));
      return "hand_back";
    });
    await until(() => calls === 1);
    // Again and again: the lock may just be being renewed.
    await until(async () => {
      if (calls === 1) await redis.raw.del(`flamboyance:chunk-${model}:${id}-0-1:lock`);
      // The last removal may have taken the second one's lock, too.
      return calls >= 2;
    });
    first.resolve(undefined);
    await until(() => consumer.running() === 1);
    await consumer.close();
    expect(await second.promise).toMatchObject({ code: "aborted" });
  });

  it("comes with the signal too, and takes no more jobs", async () => {
    const { id, model } = await running(1);
    const stop = new AbortController();
    stop.abort();
    let ran = 0;
    const consumer = queue.consume({ kind: "chunk", model, concurrency: 1, signal: stop.signal }, (job, signal) => {
      ran += 1;
      return work(job, signal);
    });
    await consumer.close();
    expect(ran).toBe(0);
    expect(await queue.batch(id)).toMatchObject({ recorded: 0 });
  });
});

describe("when Redis is started anew", () => {
  it("consumers go on once it is rebuilt, and the batch ends with every chunk once", async () => {
    const restarted = await startTestRedis({ appendOnly: true });
    const other = await restarted.queue(short);
    const request = requestOf();
    const { id } = request;
    const model = request.model.key;
    const state = stateOf(request, 6);
    await other.submit(request);
    await other.adoptPlan({ id, plan: state.plan?.plan ?? "", items: 24, chunks: 6, refused: 0 });
    await other.announce({ worker: "w", model, slots: 6 }, 60_000);
    await other.dispatch(model);
    const gate = Promise.withResolvers<undefined>();
    const refused: unknown[] = [];
    let claimed = 0;
    const consumer = other.consume({ kind: "chunk", model, concurrency: 2 }, async ({ chunk, dispatch }) => {
      const attempt = newUlid();
      const claim = await other.claim({ id, chunk, attempt, dispatch, worker: "w" });
      claimed += 1;
      await gate.promise;
      if (claim.kind === "run") {
        const part = { id, chunk, plan: claim.plan, attempt, cut: false, tally: tallyOf(1) };
        await other.record(part).catch((error: unknown) => {
          refused.push(error);
          throw error;
        });
      }
      return "done";
    });
    // In hand isn't enough: a claim that the restart overtakes is refused instead of its part.
    await until(() => claimed === 2);
    expect(consumer.running()).toBe(2);
    await restarted.restart();
    gate.resolve(undefined);
    await until(() => refused.length >= 2);
    expect(refused[0]).toMatchObject({ code: "service_unavailable" });

    const rebuild = await other.beginRebuild(10_000);
    expect(rebuild?.lost).toBe(true);
    await rebuild?.forget(new AbortController().signal);
    await rebuild?.publish(request, state);
    await rebuild?.believe(2);
    await other.announce({ worker: "w", model, slots: 6 }, 60_000);
    await other.dispatch(model);
    await until(async () => (await other.batch(id))?.recorded === 6);
    expect(await other.batch(id)).toMatchObject({ completed: 6 });
    expect(await other.repair(id)).toEqual([{ kind: "sealed", outcome: "completed" }]);
    await restarted.close();
  });
});

describe("a consumer that dies", () => {
  it("has its chunk taken over by another", async () => {
    const { id, model } = await running(1);
    const child = fork(new URL("./test-consumer.ts", import.meta.url), [redis.url, model, "hold"], {
      execArgv: ["--conditions=@flamboyance/source"],
    });
    await message(child, "claimed");
    child.kill("SIGKILL");
    const consumer = hasty.consume({ kind: "chunk", model, concurrency: 1 }, work);
    await until(async () => (await queue.batch(id))?.recorded === 1);
    expect(await queue.batch(id)).toMatchObject({ status: "finalizing", completed: 1 });
    await consumer.close();
  });

  it("and wakes after its chunk was taken over records nothing twice, and hears that its lock was lost", async () => {
    const { id, model } = await running(1);
    const child = fork(new URL("./test-consumer.ts", import.meta.url), [redis.url, model, "record late"], {
      execArgv: ["--conditions=@flamboyance/source"],
    });
    await message(child, "claimed");
    child.kill("SIGSTOP");
    const consumer = hasty.consume({ kind: "chunk", model, concurrency: 1 }, work);
    await until(async () => (await queue.batch(id))?.recorded === 1);
    child.kill("SIGCONT");
    expect(await message(child, "late")).toEqual({ late: { kind: "refused", reason: "sealed" }, why: "lock_lost" });
    expect(await queue.batch(id)).toMatchObject({ recorded: 1, completed: 1 });
    child.kill("SIGKILL");
    await consumer.close();
  });
});

async function message(child: ChildProcess, name: string): Promise<unknown> {
  for (;;) {
    const [received]: unknown[] = await once(child, "message", { signal: AbortSignal.timeout(20_000) });
    if (received === name || (typeof received === "object" && received !== null && name in received)) return received;
  }
}
