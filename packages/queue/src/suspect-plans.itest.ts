/** Plans whose planners die: suspicion, notes, charges, conviction. A planner lives as long as it is announced. */
import { afterAll, beforeAll, beforeEach, expect, it } from "vitest";
import type { Queue } from "./queue.ts";
import { believe, requestOf, startTestRedis, type TestRedis } from "./test-redis.ts";
import { newUlid } from "./ulid.ts";

let redis: TestRedis;
let queue: Queue;
beforeAll(async () => {
  redis = await startTestRedis();
  queue = await redis.queue();
});
afterAll(() => redis.close());

let id: string;
beforeEach(async () => {
  const request = requestOf();
  id = request.id;
  await queue.submit(request);
});
const planning = () => redis.raw.hgetall(`flamboyance:planning:${id}`);

/** A worker claims the plan, and lives. */
async function claim(worker: string = newUlid()) {
  await queue.announcePlanner(worker, 60_000);
  const attempt = newUlid();
  const answer = await queue.claimPlan({ id, attempt, worker });
  return {
    ...answer,
    attempt,
    dies: () => queue.withdraw(worker),
    note: (what: string | null) => queue.notePlan({ id, attempt, what }),
    release: () => queue.releasePlan({ id, attempt }),
  };
}

/** A worker plans up to this, and dies over it. */
async function dieOver(what: string): Promise<void> {
  const claimed = await claim();
  expect(await claimed.note(what)).toBe(true);
  await claimed.dies();
}

it("a plan is suspect from the death of its claimant on, and stays so until it is adopted", async () => {
  const first = await claim();
  expect(first).toMatchObject({ kind: "run", suspect: false, convicted: [] });
  await first.dies();
  expect(await claim()).toMatchObject({ suspect: true, convicted: [] });
  // Whatever becomes of the second claimant.
  expect(await claim()).toMatchObject({ suspect: true });
  await queue.adoptPlan({ id, plan: newUlid(), items: 1, chunks: 1, refused: 0 });
  expect(await planning()).toEqual({});
});

it("a plan whose claimant lives, or gave it back, isn't suspect; nor is one whose claimant serves no model", async () => {
  const first = await claim();
  expect(await claim()).toMatchObject({ suspect: false });
  const leaves = await claim();
  await leaves.release();
  await leaves.dies();
  await first.dies();
  expect(await claim()).toMatchObject({ suspect: false });
});

it("a planner is silent when it hasn't said for as long as it said that it lives", async () => {
  const worker = newUlid();
  await claim(worker);
  await queue.announcePlanner(worker, 0);
  expect(await claim()).toMatchObject({ suspect: true });
});

it("what was noted at three deaths is convicted, and nothing else", async () => {
  await (await claim()).dies();
  await dieOver("example 0");
  await dieOver("manifest 0");
  await dieOver("example 0");
  expect(await claim()).toMatchObject({ suspect: true, convicted: [] });
  await dieOver("example 0");
  expect(await claim()).toMatchObject({ suspect: true, convicted: ["example 0"] });
});

it("the first death, one between two notes, one before any, and one after a hand-back charge nothing", async () => {
  const first = await claim();
  await first.note(null);
  await first.dies();
  for (let time = 0; time < 4; time += 1) {
    const between = await claim();
    await between.note("manifest 0");
    await between.note(null);
    await between.dies();
    const leaves = await claim();
    await leaves.note("manifest 0");
    await leaves.release();
    await leaves.dies();
    await (await claim()).dies();
  }
  expect(await claim()).toMatchObject({ suspect: true, convicted: [] });
});

it("a claimant that was overtaken notes nothing any more, and isn't charged for", async () => {
  await (await claim()).dies();
  const late = await claim();
  await late.note("example 0");
  const next = await claim();
  expect(await late.note("example 1")).toBe(false);
  // Nor does it end the claim of who came behind it.
  await late.release();
  await late.dies();
  await next.note("manifest 0");
  await next.dies();
  await claim();
  const deaths = Object.entries(await planning()).filter(([field]) => field.startsWith("death "));
  expect(deaths).toEqual([["death manifest 0", "1"]]);
});

it("the seal and a loss of Redis forget it, and nothing is planned or noted behind the adoption", async () => {
  await (await claim()).dies();
  await dieOver("manifest 0");
  const last = await claim();
  await queue.refusePlan({ id, errors: [] });
  expect(await planning()).toEqual({});
  expect(await last.note("manifest 0")).toBe(false);
  expect(await claim()).toMatchObject({ kind: "stopped", status: "finalizing" });
  await last.release();
  expect(await planning()).toEqual({});

  const request = requestOf();
  id = request.id;
  await queue.submit(request);
  await (await claim()).dies();
  await claim();
  await redis.raw.del("flamboyance:sentinel");
  await expect(claim()).rejects.toMatchObject({ code: "service_unavailable" });
  const rebuild = await queue.beginRebuild(10_000);
  await rebuild?.forget(new AbortController().signal);
  expect(await planning()).toEqual({});
  await rebuild?.release();
  await believe(queue, 2);
  expect(await claim()).toMatchObject({ kind: "gone" });
});
