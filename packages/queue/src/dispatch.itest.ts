/** Fair shares: which chunk runs next, on the real scripts, with one worker by hand. What is counted is what runs. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Queue } from "./queue.ts";
import { openTestLine } from "./test-line.ts";
import { startTestRedis, type TestRedis } from "./test-redis.ts";

let redis: TestRedis;
let queue: Queue;
beforeAll(async () => {
  redis = await startTestRedis();
  queue = await redis.queue();
});
afterAll(() => redis.close());

const openLine = () => openTestLine(redis, queue);
const countOf = (text: string, letter: string): number => text.split(letter).length - 1;

describe("a batch of 100 items that comes later", () => {
  it("behind another tenant's million ends after one chunk of that, and its own", async () => {
    const line = await openLine();
    const huge = await line.submit({ tenant: "a", chunks: 7_813, items: 128 });
    expect(new Set(await line.run(10))).toEqual(new Set([huge]));
    const small = await line.submit({ tenant: "b", chunks: 25 });
    const ran = await line.untilDone(small);
    // Alone it were 25 chunks of 4 items. The huge one's next chunk stands for the one that runs when it comes.
    const items = ran.reduce((sum, id) => sum + (id === huge ? 128 : 4), 0);
    expect(items).toBeLessThanOrEqual(3 * 100 + 128);
    expect(items).toBe(128 + 100);
    // What it was waited for is made up for in nobody's favour: from here on the huge batch has its worker alone.
    expect(new Set(await line.run(5))).toEqual(new Set([huge]));
  });

  it("behind 10,000 small ones of one tenant takes turns with them, and none of those that wait is looked at", async () => {
    const line = await openLine();
    await line.fill("a", 10_000);
    await line.run(3);
    const small = await line.submit({ tenant: "b", chunks: 25 });
    await redis.raw.config("RESETSTAT");
    const ran = await line.untilDone(small);
    expect(ran.length).toBeLessThanOrEqual(2 * 25 + 1);
    expect(await commandsRun()).toBeLessThan(100 * ran.length);
  });
});

describe("tenants who all have chunks to hand out", () => {
  it("take turns, one chunk each, where their chunks and weights are equal", async () => {
    const line = await openLine();
    for (const tenant of ["a", "b", "c"]) await line.submit({ tenant, chunks: 100 });
    await line.run(8);
    const ran = await line.tenants(30);
    for (let round = 0; round < 10; round += 1) expect(new Set(ran.slice(3 * round, 3 * round + 3))).toEqual(new Set("abc"));
  });

  it("of weights 1 and 3 get one and three, within one chunk at any time", async () => {
    const line = await openLine();
    await line.submit({ tenant: "a", chunks: 1_000, weight: 1 });
    await line.submit({ tenant: "b", chunks: 1_000, weight: 3 });
    let ran = "";
    while (ran.length < 200) {
      ran += await line.tenants(1);
      expect(Math.abs(countOf(ran, "b") - (3 / 4) * ran.length)).toBeLessThanOrEqual(1 + 3 / 4);
    }
    expect(countOf(ran, "b")).toBe(150);
  });

  it("get equal items, not equal chunks", async () => {
    const line = await openLine();
    await line.submit({ tenant: "a", chunks: 1_000, items: 40 });
    await line.submit({ tenant: "b", chunks: 1_000, items: 4 });
    await line.run(4);
    expect(countOf(await line.tenants(110), "a")).toBe(10);
  });
});

describe("of one tenant's batches", () => {
  it("the highest priority goes first, then the oldest", async () => {
    const line = await openLine();
    const ready = await line.submit({ tenant: "a", chunks: 4 });
    const [old, high, young, low] = [
      await line.submit({ tenant: "a", chunks: 2 }),
      await line.submit({ tenant: "a", chunks: 2, priority: 1 }),
      await line.submit({ tenant: "a", chunks: 2 }),
      await line.submit({ tenant: "a", chunks: 2, priority: -1 }),
    ];
    const order = [ready, ready, ready, ready, high, high, old, old, young, young, low, low];
    expect(await line.run(20)).toEqual(order);
  });

  it("goes first whose priority is raised while they run, as soon as what is ready has run; lowered, it waits", async () => {
    const line = await openLine();
    const [first, second, other] = [
      await line.submit({ tenant: "a", chunks: 100 }),
      await line.submit({ tenant: "a", chunks: 100 }),
      await line.submit({ tenant: "b", chunks: 100 }),
    ];
    await line.run(20);
    await queue.applyPriority({ id: second, number: 1, priority: 10 });
    await line.run(4);
    expect(new Set(await line.run(10))).toEqual(new Set([second, other]));
    await queue.applyPriority({ id: second, number: 2, priority: -10 });
    await line.run(4);
    // Another tenant's share is the same, whatever the priorities.
    const ran = await line.run(10);
    expect(new Set(ran)).toEqual(new Set([first, other]));
    expect(ran.filter((id) => id === other)).toHaveLength(5);
  });

  it("a paused, cancelled or ended one gives its turn to the next", async () => {
    const line = await openLine();
    const [paused, cancelled, ended, last] = [
      await line.submit({ tenant: "a", chunks: 100 }),
      await line.submit({ tenant: "a", chunks: 100 }),
      await line.submit({ tenant: "a", chunks: 100 }),
      await line.submit({ tenant: "a", chunks: 100 }),
    ];
    await line.submit({ tenant: "b", chunks: 100 });
    await queue.applyPause({ id: paused, number: 1 });
    await queue.applyCancel({ id: cancelled, number: 1 });
    await redis.raw.hset(`flamboyance:batch:${ended}`, "expires_at", 1);
    await queue.repair(ended);
    const ran = await line.run(20);
    expect(ran.filter((id) => line.tenantOf(id) === "a")).toEqual(Array.from({ length: 10 }, () => last));
    await queue.applyResume({ id: paused, number: 2 });
    await line.run(8);
    expect((await line.run(10)).filter((id) => id === paused)).toHaveLength(5);
  });
});

describe("a tenant that comes back", () => {
  it("has neither credit nor debt, however long it was away or alone before", async () => {
    const line = await openLine();
    await line.submit({ tenant: "b", chunks: 10 });
    const away = await line.submit({ tenant: "a", chunks: 400 });
    // b is long done; a was alone for many chunks.
    await line.run(100);
    await line.submit({ tenant: "b", chunks: 50 });
    expect(countOf(await line.tenants(20), "b")).toBeGreaterThanOrEqual(9);
    expect(countOf(await line.tenants(20), "b")).toBe(10);
    // a pauses while b runs on, and comes back as anybody.
    await queue.applyPause({ id: away, number: 1 });
    expect(await line.tenants(5)).toBe("bbbbb");
    await queue.applyResume({ id: away, number: 2 });
    await line.run(2);
    expect(Math.abs(countOf(await line.tenants(20), "a") - 10)).toBeLessThanOrEqual(1);
  });

  it("doesn't owe the turns of chunks that were taken back", async () => {
    const line = await openLine();
    const id = await line.submit({ tenant: "a", chunks: 100 });
    await line.run(4);
    await line.submit({ tenant: "b", chunks: 100 });
    for (let number = 1; number < 20; number += 2) {
      await queue.applyPause({ id, number });
      expect(await line.tenants(1)).toBe("b");
      await queue.applyResume({ id, number: number + 1 });
      expect(countOf(await line.tenants(3), "a")).toBeGreaterThanOrEqual(1);
    }
    const cancelled = await line.submit({ tenant: "a", chunks: 100, priority: 1 });
    await line.run(4);
    await queue.applyCancel({ id: cancelled, number: 1 });
    await queue.repair(cancelled);
    await line.run(2);
    expect(Math.abs(countOf(await line.tenants(20), "a") - 10)).toBeLessThanOrEqual(1);
  });

  it("gains nothing by coming with small batches again and again, always when its last one runs", async () => {
    const line = await openLine();
    await line.submit({ tenant: "a", chunks: 1_000 });
    let ran = "";
    const own = new Set<string>();
    while (ran.length < 120) {
      for (let more = own.size > 1 ? 0 : 2; more > 0; more -= 1) own.add(await line.submit({ tenant: "b", chunks: 1 }));
      const id = (await line.next()) ?? "";
      own.delete(id);
      ran += line.tenantOf(id);
    }
    expect(Math.abs(countOf(ran, "b") - 60)).toBeLessThanOrEqual(2);
  });
});

describe("what fell out", () => {
  it.each(["running", "turns"])("of %s is entered again by the repair", async (lost) => {
    const line = await openLine();
    const id = await line.submit({ tenant: "a", chunks: 9 });
    await redis.raw.del(lost === "turns" ? line.key("turns") : `${line.key("running")}:a`);
    expect(await queue.repair(id)).toEqual([{ kind: "turn" }]);
    expect(await queue.repair(id)).toEqual([]);
    expect(await line.run(20)).toHaveLength(9);
  });

  it("all times lost, the tenants begin again side by side", async () => {
    const line = await openLine();
    const ids = [await line.submit({ tenant: "a", chunks: 500 }), await line.submit({ tenant: "b", chunks: 500 })];
    await line.run(50);
    await redis.raw.del(...["turns", "rested", "clock"].map(line.key));
    for (const id of ids) await queue.repair(id);
    await line.run(6);
    expect(countOf(await line.tenants(20), "a")).toBe(10);
  });

  it("is nothing once all has run: no batch has a place, no tenant a turn", async () => {
    const line = await openLine();
    for (const tenant of ["a", "b"]) await line.submit({ tenant, chunks: 3 });
    expect(await line.run(20)).toHaveLength(6);
    await queue.dispatch(line.model);
    expect(await redis.raw.exists(...["turns", "ready", "running"].map(line.key), `${line.key("running")}:a`)).toBe(0);
  });
});

/** Commands that Redis ran since the statistics were reset, those of scripts among them. */
async function commandsRun(): Promise<number> {
  const calls = [...(await redis.raw.info("commandstats")).matchAll(/:calls=(\d+)/g)];
  return calls.reduce((sum, [, count]) => sum + Number(count), 0);
}
