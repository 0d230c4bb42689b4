/**
 * The laws under chance: seeded interleavings of all steps over a few small batches, with workers that crash, stall and wake late, jobs that are lost,
 * cancels, pauses and resumes that come late, priorities, and deadlines, of two tenants with unlike weights. S3 is a plain map here. After every step the batch
 * that it touched is held against what the answers promised. One file: the steps, the faults and the laws only mean something beside each other.
 */
import { isEnded, type BatchOutcome, type PartChoice, type Tally } from "@flamboyance/contracts";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseJobId } from "./jobs.ts";
import type { Queue } from "./queue.ts";
import { mulberry32 } from "./test-random.ts";
import { endOf, requestOf, startTestRedis, tallyOf, type TestRedis } from "./test-redis.ts";
import { newUlid } from "./ulid.ts";

const seeds = [1, 2, 3, 4, 5, 6];
const steps = 400;

let redis: TestRedis;
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(() => redis.close());

describe("whatever the order of steps and crashes", () => {
  it.each(seeds)("every chunk takes one part, counts are their tallies, ends never change, every batch ends (seed %i)", async (seed) => {
    const world = await openWorld(seed);
    for (let step = 0; step < steps; step += 1) await world.step();
    await world.settleAll();
    await world.close();
  });
});

interface Ghost {
  readonly id: string;
  readonly tenant: string;
  readonly chosen: Map<number, { part: PartChoice; tally: Tally }>;
  plan: string | null;
  chunks: number;
  refused: number;
  cancelled: boolean;
  /** Pauses and resumes that have their number and aren't applied yet. */
  readonly underWay: { readonly kind: "pause" | "resume"; readonly number: number }[];
  /** The one of them with the highest number that was applied; at first, as if a resume were. */
  control: { readonly kind: "pause" | "resume"; readonly number: number };
  seal: { token: string; outcome: BatchOutcome } | null;
  /** end.json: the first one written. */
  end: ReturnType<typeof endOf> | null;
}

/** A worker's hands: at `job` it has a job, at `claimed` it runs, at `written` its part stands in S3. `holds`: BullMQ thinks so too. */
type Hands =
  | { readonly at: "idle" }
  | { readonly at: "job"; readonly jobId: string; readonly holds: boolean }
  | {
      readonly at: "claimed" | "written";
      readonly jobId: string;
      readonly holds: boolean;
      readonly plan: string;
      readonly attempt: string;
      readonly cut: boolean;
    };

async function openWorld(seed: number) {
  const random = mulberry32(seed);
  const pick = (count: number): number => Math.floor(random() * count);
  const model = newUlid();
  const queue: Queue = await redis.queue({ prefix: `law${seed}`, quietMs: 3, graceMs: 0 });
  const key = (name: string): string => `law${seed}:${name}`;
  const jobKey = (name: string): string => key(`chunk-${model}:${name}`);
  const ghosts: Ghost[] = [];
  const workers: Hands[] = [{ at: "idle" }, { at: "idle" }, { at: "idle" }];

  for (let index = 0; index < 3; index += 1) {
    const tenant = index === 1 ? "fish" : "birds";
    const request = requestOf({ model: { name: "m", key: model }, tenant, weight: 1 + index, priority: pick(3) - 1 });
    const ghost: Ghost = {
      id: request.id,
      tenant,
      chosen: new Map(),
      plan: null,
      chunks: 0,
      refused: 0,
      cancelled: false,
      underWay: [],
      control: { kind: "resume", number: 0 },
      seal: null,
      end: null,
    };
    ghosts.push(ghost);
    await queue.submit(request);
  }
  await queue.announce({ worker: "w", model, slots: 1 }, 600_000);

  const ghostOf = (id: string): Ghost => {
    const ghost = ghosts.find((each) => each.id === id);
    if (ghost === undefined) throw new Error(`no such batch: ${id}`);
    return ghost;
  };
  const anyGhost = (): Ghost => ghostOf(ghosts[pick(ghosts.length)]?.id ?? "");

  async function plan(ghost: Ghost): Promise<void> {
    if ((await queue.claimPlan({ id: ghost.id, attempt: newUlid(), worker: newUlid() })).kind !== "run") return;
    if (random() < 0.1) {
      const answer = await queue.refusePlan({ id: ghost.id, errors: [] });
      if (answer.kind === "sealed") ghost.seal = { token: (await queue.batch(ghost.id))?.seal ?? "", outcome: answer.outcome };
      return;
    }
    const adoption = { id: ghost.id, plan: newUlid(), items: 24, chunks: 1 + pick(12), refused: pick(2) };
    const twin = { ...adoption, plan: newUlid() };
    const [answer] = await Promise.all([queue.adoptPlan(adoption), queue.adoptPlan(twin)]);
    Object.assign(ghost, {
      plan: answer.kind === "adopted" ? adoption.plan : twin.plan,
      chunks: adoption.chunks,
      refused: adoption.refused,
    });
    const { chunks, refused } = adoption;
    Object.assign(ghost, { chunks, refused });
  }

  /** The batch that the worker's job is of; null where it has none. */
  const heldBy = (index: number): Ghost | null => {
    const hands = workers[index];
    return hands === undefined || hands.at === "idle" ? null : ghostOf(parseJobId("chunk", hands.jobId).id);
  };

  async function work(index: number): Promise<void> {
    const hands = workers[index] ?? { at: "idle" };
    const become = (next: Hands): void => void (workers[index] = next);
    if (hands.at === "idle") {
      const jobId = await redis.raw.rpop(jobKey("wait"));
      return jobId === null ? undefined : become({ at: "job", jobId, holds: true });
    }
    const { id, chunk, dispatch } = parseJobId("chunk", hands.jobId);
    const finish = async (): Promise<void> => {
      if (hands.holds) await redis.raw.del(jobKey(hands.jobId));
      become({ at: "idle" });
    };
    if (hands.at === "job") {
      const attempt = newUlid();
      const claim = { id, chunk, attempt, dispatch, worker: `w${index}` };
      const answer = await queue.claim(claim);
      if (answer.kind !== "run") return finish();
      expect(ghostOf(id).cancelled, "a chunk starts after its cancel was answered").toBe(false);
      expect(ghostOf(id).control.kind, "a chunk starts in a paused batch").toBe("resume");
      expect(answer.plan).toBe(ghostOf(id).plan);
      return become({ ...hands, at: "claimed", plan: answer.plan, attempt, cut: false });
    }
    if (hands.at === "claimed") {
      const stopping = (await queue.stopping([id])).get(id);
      return become({ ...hands, at: "written", cut: stopping === "cancelling" || stopping === "expiring" });
    }
    const tally = tallyOf(1 + pick(5), pick(3));
    const part = { id, chunk, plan: hands.plan, attempt: hands.attempt, cut: hands.cut, tally };
    const answer = await queue.record(part);
    const ghost = ghostOf(id);
    if (answer.kind === "recorded") {
      expect(ghost.seal, "recorded after the seal").toBeNull();
      expect(ghost.chosen.has(chunk), "a second part for a chunk").toBe(false);
      ghost.chosen.set(chunk, { part: { attempt: hands.attempt, cut: hands.cut }, tally });
      expect(await queue.record(part), "the same answer again").toEqual(answer);
      if (answer.last && random() < 0.5) await seal(ghost, "completed");
    }
    return finish();
  }

  /** A crash gives the job back, a stall leaves the worker going with a job that BullMQ gave to others. */
  async function fault(index: number): Promise<void> {
    const hands = workers[index] ?? { at: "idle" };
    if (hands.at === "idle" || !hands.holds) return;
    if (random() < 0.2) await redis.raw.del(jobKey(hands.jobId));
    else await redis.raw.rpush(jobKey("wait"), hands.jobId);
    workers[index] = random() < 0.5 ? { at: "idle" } : { ...hands, holds: false };
  }

  async function seal(ghost: Ghost, outcome: "completed" | "cancelled" | "expired"): Promise<void> {
    const token = newUlid();
    const answer = await queue.seal({ id: ghost.id, seal: token, outcome });
    if (answer.kind !== "sealed") return;
    expect(ghost.seal, "sealed twice").toBeNull();
    ghost.seal = { token, outcome: answer.outcome };
    expect(await queue.seal({ id: ghost.id, seal: token, outcome })).toEqual(answer);
  }

  async function repair(ghost: Ghost): Promise<void> {
    for (const mended of await queue.repair(ghost.id)) {
      if (mended.kind !== "sealed") continue;
      expect(ghost.seal, "sealed twice").toBeNull();
      ghost.seal = { token: (await queue.batch(ghost.id))?.seal ?? "", outcome: mended.outcome };
    }
  }

  async function finalize(ghost: Ghost): Promise<void> {
    const claim = await queue.claimFinalize(ghost.id);
    if (claim.kind === "settle") await queue.settle({ id: ghost.id, after: { delivery: null } });
    if (claim.kind !== "run") return;
    const { record } = claim;
    expect({ token: record.seal, outcome: record.outcome }).toEqual(ghost.seal);
    if ((await queue.sealed({ id: ghost.id, seal: record.seal ?? "" })).kind !== "sealed" || random() < 0.3) return;
    const total = record.items + record.refused;
    ghost.end ??= endOf(record.seal ?? "", record.outcome ?? "failed", [total, record.completed, total - record.completed]);
    if (random() < 0.3) return;
    await (random() < 0.2 ? queue.copyEnd({ id: ghost.id, end: ghost.end }) : queue.end({ id: ghost.id, end: ghost.end }));
  }

  async function cancel(ghost: Ghost): Promise<void> {
    const number = await queue.takeNumber({ id: ghost.id, kind: "cancel" });
    if (number.kind !== "taken") return;
    const answer = await queue.applyCancel({ id: ghost.id, number: number.number });
    if (answer.kind === "cancelling") ghost.cancelled = true;
  }

  async function take(ghost: Ghost, kind: "pause" | "resume"): Promise<void> {
    const taken = await queue.takeNumber({ id: ghost.id, kind });
    if (taken.kind === "taken") ghost.underWay.push({ kind, number: taken.number });
  }

  /** Any of those under way, in any order. */
  async function apply(ghost: Ghost): Promise<void> {
    const [control] = ghost.underWay.splice(pick(ghost.underWay.length), 1);
    if (control === undefined) return;
    const { kind, number } = control;
    const step = kind === "pause" ? "applyPause" : "applyResume";
    const applied = () => queue[step]({ id: ghost.id, number });
    const answer = await applied();
    if (answer.kind === "applied") {
      expect(number, "a control comes after a later one").toBeGreaterThan(ghost.control.number);
      ghost.control = control;
    }
    if (answer.kind === "superseded") expect(number).toBeLessThan(ghost.control.number);
    expect(await applied(), "the same answer again").toEqual(answer);
  }

  async function confirm(ghost: Ghost): Promise<void> {
    const parts = await queue.unconfirmedParts(ghost.id);
    const last = parts.at(-1);
    for (const { chunk, part, tally } of parts) expect(ghost.chosen.get(chunk)).toEqual({ part, tally });
    if (last !== undefined) expect(await queue.confirmFrontier({ id: ghost.id, epoch: 1, chunks: last.chunk + 1 })).toBe(true);
  }

  async function check(ghost: Ghost): Promise<void> {
    const [record, found] = await Promise.all([queue.batch(ghost.id), queue.parts({ id: ghost.id })]);
    if (record === null) throw new Error("a record vanished");
    const { chosen } = ghost;
    const sum = (of: (tally: Tally) => number): number => [...chosen.values()].reduce((total, { tally }) => total + of(tally), 0);
    if (ghost.seal !== null) {
      expect([record.seal, record.outcome]).toEqual([ghost.seal.token, ghost.seal.outcome]);
      expect(["finalizing", ghost.seal.outcome]).toContain(record.status);
      if (ghost.cancelled) expect(ghost.seal.outcome, "an answered cancel is forgotten").toBe("cancelled");
      if (ghost.seal.outcome === "completed") {
        expect(chosen.size).toBe(ghost.chunks);
        expect([...chosen.values()].some(({ part }) => part.cut)).toBe(false);
      }
    } else if (ghost.cancelled) expect(record.status).toBe("cancelling");
    if (record.status === "in_progress" || record.status === "paused")
      expect(record.status).toBe(ghost.control.kind === "pause" ? "paused" : "in_progress");
    if (isEnded(record.status)) {
      expect([record.completed, record.failed]).toEqual([ghost.end?.counts.completed, ghost.end?.counts.failed]);
      return;
    }
    const gap = Array.from({ length: ghost.chunks }, (_, chunk) => chunk).find((chunk) => !chosen.has(chunk)) ?? ghost.chunks;
    expect(record).toMatchObject({
      plan: ghost.plan,
      recorded: chosen.size,
      frontier: gap,
      completed: sum(({ completed }) => completed),
      failed: ghost.refused + sum(({ failed }) => failed),
      outputTokens: sum(({ output_tokens }) => output_tokens),
    });
    expect(record.confirmed).toBeLessThanOrEqual(record.frontier);
    const parts = Array.from({ length: ghost.chunks }, (_, chunk) => chosen.get(chunk)?.part ?? null);
    expect(found).toEqual(parts);
    if (record.status === "in_progress") await checkTurn(ghost);
  }

  /** A batch in progress with something to hand out has its place, and its tenant its turn. */
  async function checkTurn({ id, tenant, chunks }: Ghost): Promise<void> {
    const [next, back, place, turn] = await Promise.all([
      redis.raw.hget(key(`batch:${id}`), "next"),
      redis.raw.zcard(key(`back:${id}`)),
      redis.raw.zscore(key(`running:${model}:${tenant}`), id),
      redis.raw.zscore(key(`turns:${model}`), tenant),
    ]);
    if (Number(next ?? 0) < chunks || back > 0) expect([place, turn], "a batch has lost its turn").not.toContain(null);
  }

  async function prioritise(ghost: Ghost): Promise<void> {
    const taken = await queue.takeNumber({ id: ghost.id, kind: "priority" });
    if (taken.kind === "taken") await queue.applyPriority({ id: ghost.id, number: taken.number, priority: pick(21) - 10 });
  }

  const actions: readonly (readonly [weight: number, act: (ghost: Ghost) => Promise<void>])[] = [
    [9, plan],
    [6, () => queue.dispatch(model).then(() => {})],
    [6, () => fault(pick(workers.length))],
    [4, repair],
    [0.5, cancel],
    [4, (ghost) => take(ghost, random() < 0.5 ? "pause" : "resume")],
    [4, apply],
    [2, prioritise],
    [0.5, (ghost) => redis.raw.hset(key(`batch:${ghost.id}`), "expires_at", 1).then(() => {})],
    [2, (ghost) => seal(ghost, random() < 0.5 ? "completed" : "cancelled")],
    [3, confirm],
    [4, finalize],
  ];
  const weights = actions.reduce((total, [weight]) => total + weight, 0);

  return {
    async step(): Promise<void> {
      if (random() < 0.6) {
        const index = pick(workers.length);
        const held = heldBy(index);
        await work(index);
        if (held !== null) await check(held);
        return;
      }
      const ghost = anyGhost();
      let left = random() * weights;
      const action = actions.find(([weight]) => (left -= weight) < 0)?.[1] ?? repair;
      await action(ghost);
      await check(ghost);
    },

    /** From any state, honest work and repair end every batch, once the paused ones are resumed. */
    async settleAll(): Promise<void> {
      for (const ghost of ghosts) {
        await take(ghost, "resume");
        while (ghost.underWay.length > 0) await apply(ghost);
      }
      for (let round = 0; round < 500; round += 1) {
        for (const ghost of ghosts) {
          await plan(ghost);
          await repair(ghost);
          await finalize(ghost);
          await check(ghost);
        }
        await queue.dispatch(model);
        for (const index of workers.keys()) await work(index);
        const records = await Promise.all(ghosts.map(({ id }) => queue.batch(id)));
        if (records.every((record) => record?.settled === true)) return;
      }
      throw new Error("a batch never ended");
    },

    close: () => queue.close(),
  };
}
