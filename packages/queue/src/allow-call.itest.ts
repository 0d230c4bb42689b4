import { afterAll, beforeAll, expect, it } from "vitest";
import type { Queue } from "./queue.ts";
import { startTestRedis, type TestRedis } from "./test-redis.ts";

let redis: TestRedis;
let queue: Queue;
beforeAll(async () => {
  redis = await startTestRedis();
  queue = await redis.queue();
});
afterAll(() => redis.close());

// So slow that no further call is earned while a test runs.
const slow = { perSecond: 0.001, burst: 3 };
const waits = async (who: string, calls: number, rate = slow) => {
  const all: number[] = [];
  for (let call = 0; call < calls; call++) all.push(await queue.allowCall({ who, ...rate }));
  return all;
};

it("lets a burst through, then says how long to wait, in whatever process the calls come", async () => {
  const other = await redis.queue();
  expect(await waits("a", 2)).toEqual([0, 0]);
  expect(await other.allowCall({ who: "a", ...slow })).toBe(0);
  const [wait = 0] = await waits("a", 1);
  expect(wait).toBeGreaterThan(900_000);
  expect(wait).toBeLessThanOrEqual(1_000_000);
  expect(await other.allowCall({ who: "a", ...slow })).toBeGreaterThan(900_000);
});

it("counts each caller alone, and a refused call not at all", async () => {
  const [, , , first = 0, ...later] = await waits("b", 8);
  expect(first).toBeGreaterThan(0);
  for (const wait of later) expect(wait).toBeLessThanOrEqual(first);
  expect(await waits("c", 1)).toEqual([0]);
});

it("earns calls back with time, and forgets whoever is quiet", async () => {
  const quick = { perSecond: 20, burst: 1 };
  expect(await waits("d", 1, quick)).toEqual([0]);
  await expect.poll(() => queue.allowCall({ who: "d", ...quick }), { timeout: 20_000 }).toBe(0);
  await expect.poll(() => redis.raw.exists("flamboyance:rate:d"), { timeout: 20_000 }).toBe(0);
});
