/**
 * What a worker makes of S3 after Redis was lost: a batch in every status, losses during a rebuild and between two, and what a stalled process puts late under an old epoch.
 * One file, for all of it begins in the same world (world.ts) and is held to the same end: every item one line, and lines that were shown unchanged.
 */
import { completionWindowSeconds, end as endSchema, rebuilt as rebuiltSchema, type BatchRequest } from "@flamboyance/contracts";
import { newUlid } from "@flamboyance/queue";
import { batchKeys, jsonLine, readJson } from "@flamboyance/storage";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { takeEpoch } from "../src/epoch.ts";
import { runFinalize } from "../src/finalize.ts";
import { rebuildAlone, rebuildLost, relistEnded } from "../src/rebuild.ts";
import { bucket, startWorld, type World } from "./world.ts";

let world: World;
const { signal } = new AbortController();
beforeAll(async () => {
  world = await startWorld();
  await world.rebuild();
});
afterAll(() => world.close());

const none = "none";
/** Redis is emptied, and rebuilt. */
async function loseAndRebuild(): Promise<void> {
  await world.lose();
  expect(await world.rebuild()).toBe(true);
}
/** Of two attempts, the first by name. */
const attempts = (count: number): string[] => Array.from({ length: count }, () => newUlid()).toSorted();

describe("a batch whose Redis is lost", () => {
  it("before its plan is whole is planned anew", async () => {
    const request = await world.submit();
    await world.put(batchKeys(request.id).plan(newUlid()).items, "half");
    await loseAndRebuild();
    expect(await world.queue.batch(request.id)).toMatchObject({ status: "validating", plan: null });
    expect(await world.queue.claimPlan({ id: request.id, attempt: newUlid(), worker: "w" })).toMatchObject({ kind: "run" });
    await world.adopt(request, 2);
    await world.finish(request);
    expect(await world.chunkWriters(request)).toHaveLength(2);
  });

  it("before its whole plan is adopted goes on with it, and its planner comes too late", async () => {
    const request = await world.submit();
    const plan = await world.writePlan(request, 2);
    const other = await world.writePlan(request, 2);
    await loseAndRebuild();
    const adoption = { id: request.id, items: 8, chunks: 2, refused: 0 };
    const first = [plan, other].toSorted()[0] ?? "";
    expect(await world.queue.batch(request.id)).toMatchObject({ status: "in_progress", plan: first, chunks: 2, items: 8 });
    expect(await world.queue.adoptPlan({ ...adoption, plan: first === plan ? other : plan })).toMatchObject({ kind: "lost" });
    await world.finish(request);
    expect(await world.chunkWriters(request)).toHaveLength(2);
  });

  it("in progress keeps its parts, those too that were refused or never recorded, and runs the others", async () => {
    const request = await world.submit();
    const plan = await world.adopt(request, 4);
    const recorded = await world.record(request, plan, 2);
    const unrecorded = await world.writePart(request, plan, 1);
    await world.lose();
    const refused = await world.writePart(request, plan, 3);
    await expect(world.queue.record(refused)).rejects.toMatchObject({ code: "service_unavailable" });
    expect(await world.rebuild()).toBe(true);
    expect(await world.queue.batch(request.id)).toMatchObject({
      status: "in_progress",
      recorded: 3,
      confirmed: 0,
      completed: 12,
      outputTokens: 12,
    });
    // The worker that was refused tries again, as its job does.
    expect(await world.queue.record(refused)).toMatchObject({ kind: "recorded" });
    await world.finish(request);
    expect(await world.chunkWriters(request)).toEqual([expect.any(String), unrecorded.attempt, recorded, refused.attempt]);
  });

  it("shows the same lines as before, though other attempts come first by name", async () => {
    const request = await world.submit();
    const plan = await world.adopt(request, 3);
    const [early = "", shown = ""] = attempts(2);
    await world.writePart(request, plan, 0, { attempt: early });
    await world.record(request, plan, 0, { attempt: shown });
    await world.confirm(request);
    expect(await world.shown(request)).toEqual([shown]);
    await loseAndRebuild();
    expect(await world.shown(request)).toEqual([shown]);
    expect(await world.queue.batch(request.id)).toMatchObject({ completed: 4, confirmed: 1 });
    await world.finish(request);
    expect((await world.chunkWriters(request))[0]).toBe(shown);
  });

  it("stays paused, and what it was resumed to stays too", async () => {
    const [paused, resumed] = [await world.submit(), await world.submit()];
    for (const request of [paused, resumed]) await world.adopt(request, 2);
    await world.control(paused, "pause");
    await world.control(resumed, "pause");
    await world.control(resumed, "resume");
    await loseAndRebuild();
    expect(await world.queue.batch(paused.id)).toMatchObject({ status: "paused" });
    expect(await world.queue.batch(resumed.id)).toMatchObject({ status: "in_progress" });
    await world.control(paused, "resume");
    for (const request of [paused, resumed]) await world.finish(request);
    expect(await world.chunkWriters(paused)).not.toContain(none);
  });

  it("that was cancelled ends cancelled, with its parts, cut ones too, and a line for all the rest", async () => {
    const request = await world.submit();
    const plan = await world.adopt(request, 3);
    const whole = await world.record(request, plan, 0);
    await world.control(request, "cancel");
    const cut = await world.record(request, plan, 1, { cut: true, attempt: newUlid() });
    await loseAndRebuild();
    expect(await world.queue.batch(request.id)).toMatchObject({ status: "cancelling", completed: 5, failed: 3 });
    await world.finish(request);
    expect(await world.chunkWriters(request)).toEqual([whole, cut, none]);
    expect(await world.queue.batch(request.id)).toMatchObject({ status: "cancelled", completed: 5, failed: 7 });
  });

  it("whose cancel was written and not answered is cancelled", async () => {
    const request = await world.submit();
    await world.adopt(request, 1);
    await world.put(batchKeys(request.id).control(1, newUlid()), jsonLine({ kind: "cancel" }));
    await loseAndRebuild();
    expect(await world.queue.batch(request.id)).toMatchObject({ status: "cancelling", cancellingAt: expect.any(Number) });
    await world.finish(request);
    expect(await world.chunkWriters(request)).toEqual([none]);
  });

  it("whose deadline has passed expires, with the parts that stand", async () => {
    const now = Math.floor(Date.now() / 1_000);
    const request = await world.submit({ created_at: now - 100, expires_at: now - 1 });
    const plan = await world.adopt(request, 2);
    const whole = await world.record(request, plan, 1);
    await world.queue.expire(request.id);
    const cut = await world.record(request, plan, 0, { cut: true });
    await loseAndRebuild();
    expect(await world.queue.batch(request.id)).toMatchObject({ status: "expiring" });
    await world.finish(request);
    expect(await world.chunkWriters(request)).toEqual([cut, whole]);
    expect(await world.queue.batch(request.id)).toMatchObject({ status: "expired" });
  });

  it("sealed, but before the seal's object stands, is sealed anew over the same parts", async () => {
    const request = await world.submit();
    const plan = await world.adopt(request, 2);
    const writers = [await world.record(request, plan, 0), await world.record(request, plan, 1)];
    await world.queue.seal({ id: request.id, seal: newUlid(), outcome: "completed" });
    await loseAndRebuild();
    expect(await world.queue.batch(request.id)).toMatchObject({ status: "in_progress", recorded: 2 });
    await world.finish(request);
    expect(await world.chunkWriters(request)).toEqual(writers);
  });

  it.each([
    ["before the fence", /never/, 0],
    ["before its final files", /\/final\//, 1],
    ["before its end", /\/end\.json$/, 1],
  ])("sealed, the seal's object written, lost %s, ends by that seal", async (_name, step, met) => {
    const request = await world.submit();
    const plan = await world.adopt(request, 2);
    const [early = "", late = ""] = attempts(2);
    const first = await world.record(request, plan, 0);
    await world.control(request, "cancel");
    await world.record(request, plan, 1, { attempt: late, cut: true });
    const seal = newUlid();
    expect(await world.queue.seal({ id: request.id, seal, outcome: "cancelled" })).toMatchObject({ kind: "sealed" });
    let happened = 0;
    const losing = world.before(async (key) => {
      if (!step.test(key) && !(met === 0 && happened === 0 && key.includes("/final/"))) return;
      happened += 1;
      await world.lose();
    });
    const fenced =
      met === 0
        ? {
            ...losing,
            write: async (...written: Parameters<typeof losing.write>) => {
              const answer = await world.storage.write(...written);
              if (written[0].key.includes("/seals/")) await world.lose();
              return answer;
            },
          }
        : losing;
    await expect(runFinalize(world.worker(fenced), request.id, signal)).rejects.toMatchObject({ code: "service_unavailable" });
    // What would be the first by name, if the seal didn't say otherwise.
    await world.writePart(request, plan, 1, { attempt: early });
    expect(await world.rebuild()).toBe(true);
    await world.finish(request);
    expect(await world.chunkWriters(request)).toEqual([first, late]);
    expect(await world.queue.batch(request.id)).toMatchObject({ status: "cancelled", seal });
  });

  it("that has ended, but isn't settled, is settled", async () => {
    const request = await world.submit();
    await world.adopt(request, 1);
    const stopping = world.before((key) =>
      key.endsWith("/after.json") ? Promise.reject(new Error("the worker dies")) : Promise.resolve(),
    );
    const plan = (await world.queue.batch(request.id))?.plan ?? "";
    await world.record(request, plan, 0);
    await world.queue.seal({ id: request.id, seal: newUlid(), outcome: "completed" });
    await expect(runFinalize(world.worker(stopping), request.id, signal)).rejects.toThrow("the worker dies");
    const before = await world.queue.batch(request.id);
    expect(before).toMatchObject({ status: "completed", settled: false });
    await loseAndRebuild();
    expect(await world.queue.batch(request.id)).toMatchObject({
      status: "completed",
      settled: false,
      plan,
      completed: 4,
      endedAt: before?.endedAt,
    });
    await world.finish(request);
    expect(await world.chunkWriters(request)).toHaveLength(1);
  });

  it("that is settled, but whose marker stands, has its row, and loses the marker", async () => {
    const request = await world.submit();
    await world.adopt(request, 1);
    await world.finish(request);
    await world.put(batchKeys(request.id).marker, "");
    await loseAndRebuild();
    expect(await world.queue.batch(request.id)).toMatchObject({ status: "completed", settled: true });
    await world.chunkWriters(request);
  });

  it("whose submit broke off goes on", async () => {
    const request = await world.submit();
    await loseAndRebuild();
    expect(await world.queue.batch(request.id)).toMatchObject({ status: "validating", createdAt: request.created_at });
    expect(await world.queue.submit(request)).toBe("exists");
    await world.control(request, "cancel");
    await world.finish(request);
  });
});

describe("Redis lost twice", () => {
  it("between two rebuilds, a batch keeps what either showed", async () => {
    const request = await world.submit();
    const plan = await world.adopt(request, 4);
    const first = await world.record(request, plan, 0);
    await world.confirm(request);
    const loose = await world.record(request, plan, 3);
    await loseAndRebuild();
    const second = await world.record(request, plan, 1);
    await world.confirm(request);
    await loseAndRebuild();
    expect(await world.shown(request)).toEqual([first, second]);
    expect(await world.queue.batch(request.id)).toMatchObject({ recorded: 3, completed: 12 });
    await world.finish(request);
    expect(await world.chunkWriters(request)).toEqual([first, second, expect.any(String), loose]);
  });

  it("what a process that stalled puts under the first epoch late isn't believed: neither its frontier nor its seal", async () => {
    const request = await world.submit();
    const plan = await world.adopt(request, 2);
    const { epoch = 0 } = (await world.queue.batch(request.id)) ?? {};
    const stalled = await world.writePart(request, plan, 0);
    await world.lose();
    // The rebuild doesn't see the part: S3 has it only later.
    const key = batchKeys(request.id).part(plan, 0, stalled.attempt, false);
    await world.storage.remove([{ bucket, key }], { signal });
    expect(await world.rebuild()).toBe(true);
    const shown = await world.record(request, plan, 0);
    await world.confirm(request);
    await world.writePart(request, plan, 0, { attempt: stalled.attempt });
    const { attempt, tally } = stalled;
    const frontier = { epoch, plan, from: 0, chunks: 1, parts: [{ attempt, cut: false, tally }] };
    await world.put(batchKeys(request.id).frontier(epoch, 1), jsonLine(frontier));
    const times = { sealed_at: 1, in_progress_at: null, cancelling_at: null };
    const seal = { seal: newUlid(), outcome: "cancelled", plan, parts: [{ attempt, cut: false }, null], ...times, errors: [] };
    await world.put(batchKeys(request.id).seal(epoch, seal.seal), jsonLine(seal));
    await loseAndRebuild();
    expect(await world.shown(request)).toEqual([shown]);
    await world.finish(request);
    expect((await world.chunkWriters(request))[0]).toBe(shown);
    expect(await world.queue.batch(request.id)).toMatchObject({ status: "completed" });
  });

  it("while a frontier is read: its object has the epoch of what was read, and isn't confirmed or believed", async () => {
    const request = await world.submit();
    const plan = await world.adopt(request, 1);
    const read = await world.record(request, plan, 0);
    const { epoch = 0 } = (await world.queue.batch(request.id)) ?? {};
    const key = batchKeys(request.id).part(plan, 0, read, false);
    let shown = "";
    const unconfirmedParts: World["queue"]["unconfirmedParts"] = async (id) => {
      const found = await world.queue.unconfirmedParts(id);
      await world.lose();
      // The rebuild doesn't see the part, and another takes its place.
      await world.storage.remove([{ bucket, key }], { signal });
      await world.rebuild();
      shown = await world.record(request, plan, 0);
      await world.confirm(request);
      await world.writePart(request, plan, 0, { attempt: read });
      return found;
    };
    const slow = { ...world.worker(), queue: { ...world.queue, unconfirmedParts } };
    expect(await world.confirm(request, slow)).toBe(false);
    expect(await world.storage.describe({ bucket, key: batchKeys(request.id).frontier(epoch, 1) }, { signal })).not.toBeNull();
    await loseAndRebuild();
    expect(await world.shown(request)).toEqual([shown]);
    await world.finish(request);
    expect(await world.chunkWriters(request)).toEqual([shown]);
  });

  it("during the rebuild: that one publishes nothing more, the next one does all", async () => {
    const requests = [await world.submit(), await world.submit()];
    const writers = new Map<BatchRequest, string>();
    for (const request of requests) {
      const plan = await world.adopt(request, 2);
      writers.set(request, await world.record(request, plan, 0));
      await world.confirm(request);
    }
    await world.lose();
    let losses = 0;
    const losing = world.before(async (key) => {
      if (!key.includes("/rebuilt/") || losses > 0) return;
      losses += 1;
      await world.lose();
    });
    await expect(world.rebuild(world.worker(losing))).rejects.toMatchObject({ code: "service_unavailable" });
    expect(await world.queue.believed()).toBeNull();
    expect(await world.rebuild()).toBe(true);
    for (const request of requests) {
      expect(await world.shown(request)).toEqual([writers.get(request)]);
      await world.finish(request);
      expect((await world.chunkWriters(request))[0]).toBe(writers.get(request));
    }
  });
});

describe("a rebuild", () => {
  it("that stalls past its lease and wakes after another's changes nothing, now or at the next loss", async () => {
    const request = await world.submit();
    const plan = await world.adopt(request, 2);
    const [early = "", shown = ""] = attempts(2);
    await world.lose();
    const stalled = Promise.withResolvers<undefined>();
    const woken = Promise.withResolvers<undefined>();
    const stalling = world.before(async (key) => {
      if (!key.startsWith(batchKeys(request.id).rebuiltPrefix)) return;
      stalled.resolve(undefined);
      await woken.promise;
    });
    // What stalls doesn't renew its lease either.
    const frozen = {
      ...world.queue,
      beginRebuild: async () => {
        const rebuild = await world.queue.beginRebuild(1);
        return rebuild === null ? null : { ...rebuild, renew: () => Promise.resolve() };
      },
    };
    const late = rebuildLost({ ...world.worker(stalling), queue: frozen }, signal);
    await stalled.promise;
    expect(await world.rebuild()).toBe(true);
    const { epoch } = (await world.queue.batch(request.id)) ?? {};
    await world.record(request, plan, 0, { attempt: shown });
    await world.confirm(request);
    await world.writePart(request, plan, 0, { attempt: early });
    woken.resolve(undefined);
    await expect(late).rejects.toMatchObject({ code: "service_unavailable" });
    expect(await world.queue.batch(request.id)).toMatchObject({ epoch, recorded: 1 });
    expect(await world.queue.believed()).toBe(epoch);
    await loseAndRebuild();
    expect(await world.shown(request)).toEqual([shown]);
    await world.finish(request);
    expect((await world.chunkWriters(request))[0]).toBe(shown);
  });

  it("that stalls before it has its epoch writes nothing when it wakes, though its epoch is the highest then", async () => {
    const request = await world.submit();
    const plan = await world.adopt(request, 1);
    await world.lose();
    const stalled = Promise.withResolvers<undefined>();
    const woken = Promise.withResolvers<undefined>();
    let claims = 0;
    const stalling = world.before(async (key) => {
      if (!key.startsWith("epochs/")) return;
      claims += 1;
      stalled.resolve(undefined);
      await woken.promise;
    });
    const frozen = {
      ...world.queue,
      beginRebuild: async () => {
        const rebuild = await world.queue.beginRebuild(1);
        return rebuild === null ? null : { ...rebuild, renew: () => woken.promise.then(() => rebuild.renew()) };
      },
    };
    const late = rebuildLost({ ...world.worker(stalling), queue: frozen }, signal);
    await stalled.promise;
    expect(await world.rebuild()).toBe(true);
    const { epoch = 0 } = (await world.queue.batch(request.id)) ?? {};
    const shown = await world.record(request, plan, 0);
    await world.confirm(request);
    woken.resolve(undefined);
    await expect(late).rejects.toMatchObject({ code: expect.stringMatching(/^(service_unavailable|aborted)$/) });
    expect(claims).toBeGreaterThan(0);
    const written = await Array.fromAsync(world.storage.list({ bucket, key: batchKeys(request.id).rebuiltPrefix }, { signal }));
    expect(written.map(({ key }) => key)).toEqual([batchKeys(request.id).rebuilt(epoch)]);
    await loseAndRebuild();
    expect(await world.shown(request)).toEqual([shown]);
    await world.finish(request);
  });

  it("is one process's at a time, and leaves a Redis that is believed alone", async () => {
    const request = await world.submit();
    expect(await world.rebuild()).toBe(false);
    await world.lose();
    const outcomes = await Promise.all([world.rebuild(), world.rebuild(), world.rebuild()]);
    expect(outcomes.filter(Boolean)).toEqual([true]);
    expect(await world.queue.batch(request.id)).toMatchObject({ status: "validating" });
    await world.control(request, "cancel");
    await world.finish(request);
  });

  it("passes over a batch that can't be read; reconcile rebuilds it once it can, under an epoch of its own", async () => {
    const [broken, other] = [await world.submit(), await world.submit()];
    const plan = await world.adopt(broken, 2);
    const [shown, late] = [await world.record(broken, plan, 0), newUlid()];
    await world.confirm(broken);
    const control = batchKeys(broken.id).control(1, newUlid());
    await world.put(control, "no JSON");
    await loseAndRebuild();
    expect(await world.queue.batch(other.id)).toMatchObject({ status: "validating" });
    expect(await world.queue.batch(broken.id)).toBeNull();
    await world.reconcile();
    expect(await world.queue.batch(broken.id)).toBeNull();
    await world.storage.remove([{ bucket, key: control }], { signal });
    await world.reconcile();
    const { epoch = 0 } = (await world.queue.batch(broken.id)) ?? {};
    expect(epoch).toBeGreaterThan((await world.queue.believed()) ?? Infinity);
    expect(await readJson(world.storage, { bucket, key: batchKeys(broken.id).rebuilt(epoch) }, rebuiltSchema, signal)).toMatchObject({
      epoch,
      shown: { chunks: 1 },
    });
    // One that looked before that, and comes to it now, leaves no choice under a higher epoch.
    await rebuildAlone(world.worker(), broken.id, signal);
    const choices = await Array.fromAsync(world.storage.list({ bucket, key: batchKeys(broken.id).rebuiltPrefix }, { signal }));
    expect(choices.at(-1)?.key).toBe(batchKeys(broken.id).rebuilt(epoch));
    await world.record(broken, plan, 1, { attempt: late });
    await world.confirm(broken);
    expect(await world.shown(broken)).toEqual([shown, late]);
    await loseAndRebuild();
    expect(await world.shown(broken)).toEqual([shown, late]);
    await world.control(other, "cancel");
    for (const request of [broken, other]) await world.finish(request);
    expect(await world.chunkWriters(broken)).toEqual([shown, late]);
  });

  it("reads only what isn't known yet: a part that a frontier object counted isn't opened again", async () => {
    const request = await world.submit();
    const plan = await world.adopt(request, 2);
    await world.record(request, plan, 0);
    await world.confirm(request);
    await world.record(request, plan, 1);
    await world.lose();
    const opened: string[] = [];
    const storage = {
      ...world.storage,
      stream: (...asked: Parameters<typeof world.storage.stream>) => {
        opened.push(asked[0].key);
        return world.storage.stream(...asked);
      },
    };
    expect(await world.rebuild(world.worker(storage))).toBe(true);
    expect(opened.filter((key) => key.includes(request.id)).map((key) => Number(key.split("/").at(-1)?.split("-")[0]))).toEqual([1]);
    await world.finish(request);
  });
});

describe("what its owner changed of a batch", () => {
  const changed = { completionWindow: "48h", priority: 7 };
  /** As the api does both; a `late` one is in the log, and never applied. */
  async function change({ id, created_at }: BatchRequest, completion_window: string, priority: number, late = false): Promise<void> {
    for (const control of [{ kind: "deadline", completion_window } as const, { kind: "priority", priority } as const]) {
      const taken = await world.queue.takeNumber({ id, kind: control.kind });
      if (taken.kind !== "taken") throw new Error(taken.kind);
      const { number } = taken;
      await world.put(batchKeys(id).control(number, newUlid()), jsonLine(control));
      if (late) continue;
      const expiresAt = created_at + completionWindowSeconds(completion_window);
      await (control.kind === "priority"
        ? world.queue.applyPriority({ id, number, priority })
        : world.queue.applyDeadline({ id, number, completionWindow: completion_window, expiresAt }));
    }
  }
  const held = async ({ id }: BatchRequest) => {
    const { completionWindow, expiresAt, priority } = (await world.queue.batch(id)) ?? {};
    return { completionWindow, expiresAt, priority };
  };

  it("stands in its end, and in its row after a loss", async () => {
    const request = await world.submit();
    await world.adopt(request, 1);
    await change(request, "48h", 7);
    const shown = { ...changed, expiresAt: request.created_at + 172_800 };
    expect(await held(request)).toEqual(shown);
    await world.finish(request);
    expect(await held(request)).toEqual(shown);
    const end = await readJson(world.storage, { bucket, key: batchKeys(request.id).end }, endSchema, signal);
    expect(end?.terms).toEqual({ completion_window: "48h", expires_at: shown.expiresAt, priority: 7 });
    await loseAndRebuild();
    await relistEnded(world.worker(), signal);
    expect(await held(request)).toEqual(shown);
  });

  it("is what held at the seal, whatever came too late for it", async () => {
    const request = await world.submit();
    const plan = await world.adopt(request, 1);
    await change(request, "48h", 7);
    await change(request, "72h", 8, true);
    await world.record(request, plan, 0);
    expect(await world.queue.seal({ id: request.id, seal: newUlid(), outcome: "completed" })).toMatchObject({ kind: "sealed" });
    const losing = world.before((key) => (key.endsWith("/end.json") ? world.lose() : Promise.resolve()));
    // end.json stands, and nobody was told: it goes, as if the process had died before.
    await expect(runFinalize(world.worker(losing), request.id, signal)).rejects.toMatchObject({ code: "service_unavailable" });
    const at = { bucket, key: batchKeys(request.id).end };
    const first = (await world.storage.read(at, { signal })).bytes;
    await world.storage.remove([at], { signal });
    expect(await world.rebuild()).toBe(true);
    expect(await held(request)).toEqual({ ...changed, expiresAt: request.created_at + 172_800 });
    await world.finish(request);
    // A second writer writes the same bytes.
    expect((await world.storage.read(at, { signal })).bytes).toEqual(first);
  });

  it("is taken over by a record that learns of the end from S3 alone", async () => {
    const request = await world.submit();
    await world.adopt(request, 1);
    await change(request, "48h", 7);
    await world.finish(request);
    const end = await readJson(world.storage, { bucket, key: batchKeys(request.id).end }, endSchema, signal);
    if (end === null) throw new Error("it has no end");
    const twin = await world.submit();
    await world.queue.copyEnd({ id: twin.id, end });
    expect(await held(twin)).toEqual({ ...changed, expiresAt: end.terms?.expires_at });
  });
});

describe("ended batches", () => {
  it("are in their lists again by and by, each once, with its figures; deleted ones and those of others aren't", async () => {
    const tenant = `tenant-${newUlid()}`;
    const requests: BatchRequest[] = [];
    for (let index = 0; index < 5; index += 1) {
      const request = await world.submit({ tenant, created_at: 1_000 + index, expires_at: 4_000_000_000, idempotency_key: `key ${index}` });
      await world.adopt(request, 1);
      await world.finish(request);
      requests.push(request);
    }
    const ids = requests.map(({ id }) => id).toReversed();
    const listed = async () => (await world.queue.batches({ tenant, limit: 10 })).records.map(({ id }) => id);
    const before = await world.queue.batches({ tenant, limit: 10 });
    expect(await listed()).toEqual(ids);
    await world.put(batchKeys(ids[1] ?? "").deleted, "{}");
    await loseAndRebuild();
    expect(await listed()).toEqual([]);
    // A piece at a time, and on from there; a second process at it changes nothing.
    const folders = await Array.fromAsync(world.storage.folders({ bucket, key: "batches/" }, { signal }));
    for (let looked = 0; looked <= folders.length; looked += 3) {
      expect(await world.queue.relistAfter()).not.toBeNull();
      await Promise.all([relistEnded(world.worker(), signal, 3), relistEnded(world.worker(), signal, 3)]);
    }
    expect(await world.queue.relistAfter()).toBeNull();
    expect(await listed()).toEqual(ids.filter((_, index) => index !== 1));
    const { records } = await world.queue.batches({ tenant, limit: 10 });
    const figures = ({ id, status, plan, completed, items, endedAt, delivery, settled }: (typeof records)[number]) => ({
      id,
      status,
      plan,
      completed,
      items,
      endedAt,
      delivery,
      settled,
    });
    expect(records.map(figures)).toEqual(before.records.filter((_, index) => index !== 1).map(figures));
    // Redis started anew keeps the rows: nothing is missing, at no time.
    await world.restart();
    expect(await world.rebuild()).toBe(true);
    expect(await listed()).toHaveLength(4);
    await world.reconcile();
    expect(await world.queue.relistAfter()).toBeNull();
    expect(await listed()).toHaveLength(4);
  });

  it("that were deleted in the last second that Redis lost go again, with what they are said to keep", async () => {
    const tenant = `tenant-${newUlid()}`;
    const request = await world.submit({ tenant });
    await world.adopt(request, 1);
    await world.finish(request);
    const kept = () => world.queue.admit({ tenant, id: "batch_none", quotas: { stored_bytes: 1 } });
    expect(await kept()).toMatchObject({ kind: "over" });
    // The delete is decided, and the Redis that comes back is of the moment before.
    await world.put(batchKeys(request.id).deleted, JSON.stringify({ tenant, deleted_at: 1, because: "asked" }));
    await world.restart();
    expect(await world.rebuild()).toBe(true);
    expect(await world.queue.batch(request.id)).not.toBeNull();
    // Found in the one round, swept in the next.
    for (let round = 0; round < 2; round += 1) await world.reconcile();
    expect(await world.queue.batch(request.id)).toBeNull();
    expect(await kept()).toEqual({ kind: "admitted" });
  });
});

describe("an epoch", () => {
  it("is higher than all before, and taken by one alone, however many take one at once", async () => {
    const taken: number[] = [];
    for (let round = 0; round < 3; round += 1) {
      const outcomes = await Promise.allSettled(Array.from({ length: 4 }, () => takeEpoch(world.storage, bucket, signal)));
      const won = outcomes.flatMap((outcome) => (outcome.status === "fulfilled" ? [outcome.value] : []));
      expect(new Set(won).size).toBe(won.length);
      for (const epoch of won) expect(epoch).toBeGreaterThan(Math.max(0, ...taken));
      taken.push(...won);
    }
    const next = await takeEpoch(world.storage, bucket, signal);
    expect(next).toBeGreaterThan(Math.max(0, ...taken));
    const left = await Array.fromAsync(world.storage.list({ bucket, key: "epochs/" }, { signal }));
    expect(left).toHaveLength(1);
  });
});
