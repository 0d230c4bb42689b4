/** In which order batches are planned, whoever submitted first: real jobs, taken by one consumer. */
import { afterEach, beforeEach, expect, it } from "vitest";
import type { Queue } from "./queue.ts";
import { requestOf, retryCapMs, startTestRedis, until, type TestRedis } from "./test-redis.ts";

let redis: TestRedis;
let queue: Queue;
beforeEach(async () => {
  redis = await startTestRedis();
  queue = await redis.queue();
});
afterEach(() => redis.close());

const names = new Map<string, string>();

/** Named by its tenant and a number, as `a1`. */
async function submit(tenant: string, numbers: readonly number[], weight = 1): Promise<void> {
  for (const number of numbers) {
    const request = requestOf({ tenant, weight });
    names.set(request.id, `${tenant}${number}`);
    await queue.submit(request);
  }
}

/** Takes so many plan jobs, one after the other, the first of them when `held` resolves. */
async function plan(count: number, held: () => Promise<void> = () => Promise.resolve()): Promise<string> {
  const taken: string[] = [];
  const enough = Promise.withResolvers<void>();
  const consumer = queue.consume({ kind: "plan", concurrency: 1 }, async ({ id }) => {
    if (taken.length === count) return "hand_back";
    if (taken.length === 0) await held();
    taken.push(names.get(id) ?? id);
    if (taken.length === count) enough.resolve(consumer.close());
    return "done";
  });
  await enough.promise;
  return taken.join(" ");
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

it("is the submits' where one tenant has them", async () => {
  await submit("a", upTo(5));
  expect(await plan(5)).toBe("a1 a2 a3 a4 a5");
});

it("gives a tenant that comes later its turn beside one that has many", async () => {
  await submit("a", upTo(40));
  expect(await plan(3)).toBe("a1 a2 a3");
  await submit("b", upTo(3));
  expect(await plan(9)).toBe("a4 b1 a5 b2 a6 b3 a7 a8 a9");
  // It has no credit for having been away.
  await submit("b", [4, 5]);
  expect(await plan(5)).toBe("a10 b4 a11 b5 a12");
});

it("gives as many in a turn as a tenant's weight says", async () => {
  await submit("a", upTo(6));
  await submit("b", upTo(9), 3);
  expect((await plan(12)).split(" ").filter((name) => name.startsWith("b"))).toHaveLength(9);
});

it("lets a tenant's own batches keep their order, whenever they came", async () => {
  await submit("a", upTo(4));
  await submit("b", [1]);
  expect(await plan(2)).toBe("a1 b1");
  await submit("a", [5, 6]);
  await submit("b", [2]);
  expect((await plan(6)).split(" ").filter((name) => name.startsWith("a"))).toEqual(["a2", "a3", "a4", "a5", "a6"]);
});

it("keeps the turn of a plan that waits to be tried again", async () => {
  await submit("a", upTo(6));
  const failed = Promise.withResolvers<void>();
  const consumer = queue.consume({ kind: "plan", concurrency: 1 }, ({ id }) => {
    if (names.get(id) !== "a6") return Promise.resolve("done");
    failed.resolve();
    return Promise.reject(new Error("its bucket is away"));
  });
  await failed.promise;
  await consumer.close();
  // Nobody waits just now.
  await submit("b", upTo(10));
  const dueMs = Date.now() + retryCapMs;
  expect(await plan(11, () => until(() => Date.now() > dueMs))).toBe("b1 a6 b2 b3 b4 b5 b6 b7 b8 b9 b10");
});
