/**
 * Fair shares under chance: a seeded walk in which two tenants always have chunks to hand out and others come, go, pause and change priorities.
 * While two tenants both have chunks to hand out, what each has run by its weight differs by one chunk of each at most, and by the one that ran when they met.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Queue } from "./queue.ts";
import { openTestLine } from "./test-line.ts";
import { mulberry32 } from "./test-random.ts";
import { startTestRedis, type TestRedis } from "./test-redis.ts";

let redis: TestRedis;
let queue: Queue;
beforeAll(async () => {
  redis = await startTestRedis();
  queue = await redis.queue();
});
afterAll(() => redis.close());

const tenants = {
  a: { weight: 1, items: 4 },
  b: { weight: 3, items: 8 },
  c: { weight: 2, items: 16 },
  d: { weight: 1, items: 2 },
} as const;
type Tenant = keyof typeof tenants;
const visitors = ["c", "d"] as const;

/** What one chunk is, by the tenant's weight. */
const chunkOf = (tenant: Tenant): number => tenants[tenant].items / tenants[tenant].weight;
const largest = Math.max(...Object.values(tenants).map(({ weight, items }) => items / weight));

interface Visit {
  readonly id: string;
  left: number;
  paused: boolean;
  number: number;
}

describe("over a long walk", () => {
  it.each([1, 2, 3])("every tenant gets its share, and every batch all its chunks (seed %i)", async (seed) => {
    const random = mulberry32(seed);
    const pick = (count: number): number => Math.floor(random() * count);
    const line = await openTestLine(redis, queue);
    /** What each has run, by its weight. */
    const service = { a: 0, b: 0, c: 0, d: 0 };
    const visits: Record<Tenant, Visit[]> = { a: [], b: [], c: [], d: [] };
    /** The others' service since a visitor has had chunks to hand out without a break. */
    const since = new Map<Tenant, typeof service>();

    const submit = async (tenant: Tenant, chunks: number): Promise<void> => {
      const { weight, items } = tenants[tenant];
      const id = await line.submit({ tenant, chunks, weight, items, priority: pick(21) - 10 });
      visits[tenant].push({ id, left: chunks, paused: false, number: 0 });
    };
    /** The visitor has a batch that could run more than it has running. */
    const waits = (tenant: Tenant): boolean => visits[tenant].some(({ left, paused }) => left > 0 && !paused);
    const within = (one: Tenant, other: Tenant, from: typeof service): void => {
      const apart = Math.abs(service[one] - from[one] - (service[other] - from[other]));
      expect(apart, `${one} and ${other}`).toBeLessThanOrEqual(chunkOf(one) + chunkOf(other) + largest);
    };
    const ranOne = async (): Promise<boolean> => {
      const id = await line.next();
      if (id === null) return false;
      const tenant = tenantOf(line.tenantOf(id));
      service[tenant] += chunkOf(tenant);
      const visit = visits[tenant].find((each) => each.id === id);
      if (visit === undefined) throw new Error(`no such batch: ${id}`);
      visit.left -= 1;
      return true;
    };

    await submit("a", 300);
    await submit("b", 300);
    const start = { ...service };
    for (let step = 0; step < 300; step += 1) {
      const visitor = visitors[pick(visitors.length)] ?? "c";
      const visit = visits[visitor].at(-1);
      const chance = random();
      if (chance < 0.04) await submit(visitor, 1 + pick(30));
      else if (chance < 0.1 && visit !== undefined && visit.left > 0) {
        visit.number += 1;
        await queue[visit.paused ? "applyResume" : "applyPause"]({ id: visit.id, number: visit.number });
        visit.paused = !visit.paused;
      } else if (chance < 0.14 && visit !== undefined && visit.left > 0) {
        visit.number += 1;
        await queue.applyPriority({ id: visit.id, number: visit.number, priority: pick(21) - 10 });
      }
      await queue.dispatch(line.model);
      for (const each of visitors) {
        if (!waits(each)) since.delete(each);
        else if (!since.has(each)) since.set(each, { ...service });
      }
      expect(await ranOne()).toBe(true);
      within("a", "b", start);
      for (const [each, from] of since) {
        if (!waits(each)) continue;
        within(each, "a", from);
        within(each, "b", from);
      }
    }

    for (const { id } of [...visits.a, ...visits.b]) await queue.applyCancel({ id, number: 1 });
    for (const visit of visitors.flatMap((each) => visits[each])) {
      if (visit.paused) await queue.applyResume({ id: visit.id, number: visit.number + 1 });
    }
    await queue.dispatch(line.model);
    while (await ranOne());
    const lefts = visitors.flatMap((each) => visits[each].map(({ left }) => left));
    expect(lefts.length).toBeGreaterThan(3);
    expect(new Set(lefts)).toEqual(new Set([0]));
  });
});

function tenantOf(name: string): Tenant {
  if (name === "a" || name === "b" || name === "c" || name === "d") return name;
  throw new Error(`no such tenant: ${name}`);
}
