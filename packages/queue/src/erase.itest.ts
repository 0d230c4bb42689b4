import { afterAll, beforeAll, expect, it } from "vitest";
import { eraseQueue } from "./erase.ts";
import { requestOf, startTestRedis, type TestRedis } from "./test-redis.ts";

let redis: TestRedis;
beforeAll(async () => {
  redis = await startTestRedis();
});
afterAll(() => redis.close());

it("removes every key of its prefix, BullMQ's too, and nobody else's", async () => {
  const queue = await redis.queue({ prefix: "demo" });
  await queue.submit(requestOf());
  await queue.close();
  await redis.raw.mset("demo2:mine", "1", "demo", "1", "other:demo:x", "1");
  expect((await redis.raw.keys("demo:*")).length).toBeGreaterThan(2);

  await eraseQueue({ url: redis.url, prefix: "demo" });

  expect((await redis.raw.keys("*")).toSorted()).toEqual(["demo", "demo2:mine", "other:demo:x"]);
});
