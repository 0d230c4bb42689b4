import { recordStatus, type Control, type RecordStatus } from "@flamboyance/contracts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
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

/** A batch in progress with chunks of one item, two of them handed out, as many as are ready where no worker is live. */
async function running({ chunks = 3 } = {}) {
  const request = requestOf();
  const { id } = request;
  const model = request.model.key;
  const [plan, attempt] = [newUlid(), newUlid()];
  await queue.submit(request);
  await queue.adoptPlan({ id, plan, items: chunks, chunks, refused: 0 });
  await queue.dispatch(model);
  const part = { id, plan, attempt, cut: false, tally: tallyOf(1) };
  return {
    id,
    model,
    claim: (chunk: number, dispatch: number) => queue.claim({ id, chunk, attempt, dispatch, worker: "w" }),
    record: (chunk: number) => queue.record({ ...part, chunk }),
    seal: (seal: string) => queue.seal({ id, seal, outcome: "completed" }),
    status: async () => (await queue.batch(id))?.status,
  };
}

const steps = {
  cancel: (control: { id: string; number: number }) => queue.applyCancel(control),
  pause: (control: { id: string; number: number }) => queue.applyPause(control),
  resume: (control: { id: string; number: number }) => queue.applyResume(control),
  priority: (control: { id: string; number: number }) => queue.applyPriority({ ...control, priority: 5 }),
  deadline: (control: { id: string; number: number }) =>
    queue.applyDeadline({ ...control, completionWindow: "2h", expiresAt: 4_000_000_000 }),
};
const apply = (kind: Control["kind"], control: { id: string; number: number }) => steps[kind](control);

describe("a control", () => {
  /** Where each control leads from each status; null where it is a conflict. */
  const leads: Record<RecordStatus, Record<Control["kind"], RecordStatus | null>> = {
    validating: { cancel: "cancelling", pause: null, resume: null, priority: "validating", deadline: "validating" },
    in_progress: { cancel: "cancelling", pause: "paused", resume: "in_progress", priority: "in_progress", deadline: "in_progress" },
    paused: { cancel: "cancelling", pause: "paused", resume: "in_progress", priority: "paused", deadline: "paused" },
    cancelling: { cancel: "cancelling", pause: null, resume: null, priority: null, deadline: null },
    expiring: { cancel: "cancelling", pause: null, resume: null, priority: null, deadline: null },
    finalizing: { cancel: null, pause: null, resume: null, priority: null, deadline: null },
    completed: { cancel: null, pause: null, resume: null, priority: null, deadline: null },
    failed: { cancel: null, pause: null, resume: null, priority: null, deadline: null },
    expired: { cancel: null, pause: null, resume: null, priority: null, deadline: null },
    cancelled: { cancel: null, pause: null, resume: null, priority: null, deadline: null },
  };
  const kinds = ["cancel", "pause", "resume", "priority", "deadline"] as const;
  const cases = recordStatus.options.flatMap((status) => kinds.map((kind) => ({ status, kind, to: leads[status][kind] })));

  it.each(cases)("$kind of a batch that is $status leads to $to", async ({ status, kind, to }) => {
    const { id, status: now } = await running();
    await redis.raw.hset(`flamboyance:batch:${id}`, { status });
    const taken = await queue.takeNumber({ id, kind });
    const applied = await apply(kind, { id, number: 1 });
    if (to === null) {
      expect([taken, applied]).toEqual([
        { kind: "conflict", status },
        { kind: "conflict", status },
      ]);
      expect(await now()).toBe(status);
    } else {
      expect(taken).toEqual({ kind: "taken", number: 1 });
      expect(applied).toEqual({ kind: kind === "cancel" ? "cancelling" : "applied", status: to });
      expect(await now()).toBe(to);
    }
  });

  it("takes growing numbers, whatever its kind, and is gone where there is no record", async () => {
    const { id } = await running();
    for (const [index, kind] of [...kinds, ...kinds].entries()) {
      expect(await queue.takeNumber({ id, kind })).toEqual({ kind: "taken", number: index + 1 });
    }
    for (const kind of kinds) {
      expect(await queue.takeNumber({ id: "batch_x", kind })).toEqual({ kind: "gone" });
      expect(await apply(kind, { id: "batch_x", number: 1 })).toEqual({ kind: "gone" });
    }
  });
});

describe("cancel", () => {
  it("is answered the same however often it comes", async () => {
    const { id } = await running();
    expect(await queue.applyCancel({ id, number: 2 })).toEqual({ kind: "cancelling", status: "cancelling" });
    const { cancellingAt } = (await queue.batch(id)) ?? {};
    expect(cancellingAt).toEqual(expect.any(Number));
    expect(await queue.applyCancel({ id, number: 1 })).toEqual({ kind: "cancelling", status: "cancelling" });
    expect(await queue.applyCancel({ id, number: 2 })).toEqual({ kind: "cancelling", status: "cancelling" });
    expect(await queue.batch(id)).toMatchObject({ status: "cancelling", cancellingAt });
  });

  it("of a sealed batch is a conflict, unless it was sealed by a cancel", async () => {
    const done = await running({ chunks: 1 });
    await done.record(0);
    await done.seal(newUlid());
    expect(await queue.takeNumber({ id: done.id, kind: "cancel" })).toEqual({ kind: "conflict", status: "finalizing" });
    expect(await queue.applyCancel({ id: done.id, number: 1 })).toEqual({ kind: "conflict", status: "finalizing" });

    const { id, record, seal } = await running({ chunks: 1 });
    await record(0);
    await queue.applyCancel({ id, number: 7 });
    const token = newUlid();
    await seal(token);
    expect(await queue.takeNumber({ id, kind: "cancel" })).toMatchObject({ kind: "taken" });
    expect(await queue.applyCancel({ id, number: 8 })).toEqual({ kind: "cancelling", status: "finalizing" });
    await queue.end({ id, end: endOf(token, "cancelled", [1, 1, 0]) });
    expect(await queue.applyCancel({ id, number: 8 })).toEqual({ kind: "conflict", status: "cancelled" });
    expect(await queue.applyCancel({ id, number: 7 })).toEqual({ kind: "cancelling", status: "cancelled" });
  });
});

describe("pause", () => {
  it("hands out no chunk and parks those that wait, which come back after the resume", async () => {
    const { id, model, claim, record } = await running();
    expect(await claim(0, 1)).toMatchObject({ kind: "run" });
    await queue.applyPause({ id, number: 1 });
    expect(await claim(1, 2)).toEqual({ kind: "parked" });
    await redis.raw.del(`flamboyance:chunk-${model}:wait`);
    expect(await queue.dispatch(model)).toBe(0);
    // What runs finishes.
    expect(await record(0)).toEqual({ kind: "recorded", last: false });
    expect(await queue.stopping([id])).toEqual(new Map());

    await queue.applyResume({ id, number: 2 });
    expect(await queue.dispatch(model)).toBe(2);
    expect(await claim(1, 2)).toEqual({ kind: "superseded" });
    expect(await claim(1, 3)).toMatchObject({ kind: "run" });
    expect(await claim(2, 4)).toMatchObject({ kind: "run" });
  });

  it("leaves the places of its chunks to other batches", async () => {
    const { id, model, claim } = await running();
    const other = requestOf({ model: { name: "m", key: model } });
    await queue.submit(other);
    await queue.adoptPlan({ id: other.id, plan: newUlid(), items: 2, chunks: 2, refused: 0 });
    await queue.applyPause({ id, number: 1 });
    for (const chunk of [0, 1]) expect(await claim(chunk, chunk + 1)).toEqual({ kind: "parked" });
    await redis.raw.del(`flamboyance:chunk-${model}:wait`);
    expect(await queue.dispatch(model)).toBe(2);
    expect(await redis.raw.hkeys(`flamboyance:out:${other.id}`)).toEqual(["0", "1"]);
  });

  it("lets the last running chunks complete the batch", async () => {
    const { id, claim, record, seal, status } = await running({ chunks: 2 });
    for (const chunk of [0, 1]) await claim(chunk, chunk + 1);
    await queue.applyPause({ id, number: 1 });
    expect(await record(0)).toEqual({ kind: "recorded", last: false });
    expect(await record(1)).toEqual({ kind: "recorded", last: true });
    expect(await status()).toBe("paused");
    expect(await seal(newUlid())).toEqual({ kind: "sealed", outcome: "completed" });
  });

  it("doesn't stop the deadline's clock: the batch expires, and no resume brings it back", async () => {
    const { id, claim, status } = await running();
    await claim(0, 1);
    await queue.applyPause({ id, number: 1 });
    expect(await queue.repair(id)).toEqual([]);
    await redis.raw.hset(`flamboyance:batch:${id}`, "expires_at", 1);
    expect(await queue.repair(id)).toEqual([{ kind: "expiring" }]);
    expect(await queue.applyResume({ id, number: 2 })).toEqual({ kind: "conflict", status: "expiring" });
    await redis.raw.hset(`flamboyance:batch:${id}`, "quiet_from_ms", 1);
    expect(await queue.repair(id)).toEqual([{ kind: "sealed", outcome: "expired" }]);
    expect(await status()).toBe("finalizing");
  });

  it("and a cancel: the cancel wins", async () => {
    const { id, claim } = await running();
    await queue.applyPause({ id, number: 1 });
    expect(await queue.applyCancel({ id, number: 2 })).toEqual({ kind: "cancelling", status: "cancelling" });
    expect(await claim(0, 1)).toEqual({ kind: "stopped" });
    expect(await queue.repair(id)).toEqual([{ kind: "sealed", outcome: "cancelled" }]);
  });
});

describe("the order of pause and resume", () => {
  it("is that of their numbers: a pause that comes late after a newer resume doesn't pause", async () => {
    const { id, model, status } = await running();
    expect(await queue.takeNumber({ id, kind: "pause" })).toEqual({ kind: "taken", number: 1 });
    expect(await queue.takeNumber({ id, kind: "resume" })).toEqual({ kind: "taken", number: 2 });
    // The batch runs already, and still the resume takes its place before the pause that is on its way.
    expect(await queue.applyResume({ id, number: 2 })).toEqual({ kind: "applied", status: "in_progress" });
    expect(await queue.applyPause({ id, number: 1 })).toEqual({ kind: "superseded", status: "in_progress" });
    expect(await status()).toBe("in_progress");
    await redis.raw.del(`flamboyance:chunk-${model}:wait`, `flamboyance:ready:${model}`);
    expect(await queue.dispatch(model)).toBe(1);
  });

  it("holds for a late resume too, and for a pause of a paused batch", async () => {
    const { id, model, status } = await running();
    await queue.applyPause({ id, number: 1 });
    expect(await queue.applyPause({ id, number: 3 })).toEqual({ kind: "applied", status: "paused" });
    await redis.raw.del(`flamboyance:chunk-${model}:wait`, `flamboyance:ready:${model}`);
    expect(await queue.applyResume({ id, number: 2 })).toEqual({ kind: "superseded", status: "paused" });
    expect(await queue.dispatch(model)).toBe(0);
    expect(await status()).toBe("paused");
  });

  it("doesn't bring a control back that a cancel or the seal overtook", async () => {
    const cancelled = await running();
    await queue.applyCancel({ id: cancelled.id, number: 2 });
    for (const number of [1, 3]) {
      expect(await queue.applyPause({ id: cancelled.id, number })).toEqual({ kind: "conflict", status: "cancelling" });
    }
    const sealed = await running({ chunks: 1 });
    await sealed.record(0);
    await sealed.seal(newUlid());
    expect(await queue.applyResume({ id: sealed.id, number: 1 })).toEqual({ kind: "conflict", status: "finalizing" });
  });

  it("is answered the same to whoever repeats his step, whatever became of the batch since", async () => {
    const { id, record, seal, status } = await running({ chunks: 1 });
    await queue.applyPause({ id, number: 1 });
    expect(await queue.applyPause({ id, number: 1 })).toEqual({ kind: "applied", status: "paused" });
    await queue.applyResume({ id, number: 2 });
    expect(await queue.applyPause({ id, number: 1 })).toEqual({ kind: "applied", status: "in_progress" });
    expect(await queue.applyResume({ id, number: 2 })).toEqual({ kind: "applied", status: "in_progress" });
    expect(await status()).toBe("in_progress");
    await record(0);
    await seal(newUlid());
    expect(await queue.applyPause({ id, number: 1 })).toEqual({ kind: "applied", status: "finalizing" });
    expect(await queue.applyResume({ id, number: 2 })).toEqual({ kind: "applied", status: "finalizing" });
  });
});

describe("priority", () => {
  it("holds by the highest number, and is answered the same to whoever repeats his step", async () => {
    const { id, record, seal } = await running({ chunks: 1 });
    const priority = async () => (await queue.batch(id))?.priority;
    expect(await priority()).toBe(0);
    expect(await queue.applyPriority({ id, number: 2, priority: -4 })).toEqual({ kind: "applied", status: "in_progress" });
    expect(await queue.applyPriority({ id, number: 1, priority: 9 })).toEqual({ kind: "superseded", status: "in_progress" });
    expect(await priority()).toBe(-4);
    await record(0);
    await seal(newUlid());
    expect(await queue.applyPriority({ id, number: 2, priority: -4 })).toEqual({ kind: "applied", status: "finalizing" });
    expect(await queue.applyPriority({ id, number: 3, priority: 9 })).toEqual({ kind: "conflict", status: "finalizing" });
    expect(await priority()).toBe(-4);
  });

  it("and a pause are in no order among themselves", async () => {
    const { id, status } = await running();
    await queue.applyPriority({ id, number: 2, priority: 1 });
    expect(await queue.applyPause({ id, number: 1 })).toEqual({ kind: "applied", status: "paused" });
    await queue.applyResume({ id, number: 4 });
    expect(await queue.applyPriority({ id, number: 3, priority: 7 })).toEqual({ kind: "applied", status: "in_progress" });
    expect(await queue.batch(id)).toMatchObject({ priority: 7 });
    expect(await status()).toBe("in_progress");
  });
});

describe("deadline", () => {
  it("holds by the highest number, and is answered the same to whoever repeats his step", async () => {
    const { id, record, seal } = await running({ chunks: 1 });
    const shown = async () => {
      const { completionWindow, expiresAt } = (await queue.batch(id)) ?? {};
      return [completionWindow, expiresAt];
    };
    const set = (number: number, completionWindow: string, expiresAt: number) =>
      queue.applyDeadline({ id, number, completionWindow, expiresAt });
    expect((await shown())[0]).toBe("1h");
    expect(await set(2, "2h", 4_000_000_000)).toEqual({ kind: "applied", status: "in_progress" });
    expect(await set(1, "9h", 4_100_000_000)).toEqual({ kind: "superseded", status: "in_progress" });
    expect(await shown()).toEqual(["2h", 4_000_000_000]);
    await record(0);
    await seal(newUlid());
    expect(await set(2, "2h", 4_000_000_000)).toEqual({ kind: "applied", status: "finalizing" });
    expect(await set(3, "9h", 4_100_000_000)).toEqual({ kind: "conflict", status: "finalizing" });
    expect(await shown()).toEqual(["2h", 4_000_000_000]);
  });

  it("is what the batch expires by from then on, paused too", async () => {
    const { id } = await running();
    await redis.raw.hset(`flamboyance:batch:${id}`, "expires_at", 1);
    await queue.applyDeadline({ id, number: 1, completionWindow: "9h", expiresAt: 4_000_000_000 });
    expect(await queue.repair(id)).toEqual([]);
    await queue.applyPause({ id, number: 2 });
    await queue.applyDeadline({ id, number: 3, completionWindow: "1s", expiresAt: 2 });
    expect((await queue.repair(id))[0]).toEqual({ kind: "expiring" });
    expect(await queue.applyDeadline({ id, number: 4, completionWindow: "9h", expiresAt: 4_000_000_000 })).toEqual({
      kind: "conflict",
      status: expect.stringMatching(/expiring|finalizing/),
    });
  });
});
