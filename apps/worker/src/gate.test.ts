import { expect, it } from "vitest";
import { Gate } from "./gate.ts";

const forever = new AbortController().signal;

async function settled(promise: Promise<unknown>): Promise<boolean> {
  const pending = Symbol("pending");
  return (await Promise.race([promise, new Promise((resolve) => setImmediate(resolve, pending))])) !== pending;
}

it("admits as many as it may, in the order in which they came", async () => {
  const gate = new Gate({ holders: 2 });
  const first = await gate.enter(forever);
  await gate.enter(forever);
  const order: string[] = [];
  const third = gate.enter(forever).then((pass) => (order.push("third"), pass));
  const fourth = gate.enter(forever).then((pass) => (order.push("fourth"), pass));
  expect(await settled(third)).toBe(false);
  first.release();
  first.release();
  (await third).release();
  await fourth;
  expect(order).toEqual(["third", "fourth"]);
  expect(gate.held).toBe(2);
});

it("admits nobody while the holders weigh too much, and one always", async () => {
  const gate = new Gate({ holders: 10, weight: 100 });
  const heavy = await gate.enter(forever);
  heavy.weigh(500);
  const next = gate.enter(forever);
  expect(await settled(next)).toBe(false);
  heavy.weigh(50);
  expect(await settled(next)).toBe(true);
  heavy.release();
  (await next).release();
  expect(gate.held).toBe(0);
});

it("counts a holder from its entering on for what it comes with", async () => {
  const gate = new Gate({ holders: 10, weight: 100 });
  const passes = await Promise.all([gate.enter(forever, 60), gate.enter(forever, 60)]);
  const waiting = [gate.enter(forever, 60), gate.enter(forever, 60)];
  expect(await settled(Promise.race(waiting))).toBe(false);
  passes[0].release();
  expect(await settled(waiting[0] ?? Promise.reject(new Error("no waiter")))).toBe(true);
  expect(await settled(waiting[1] ?? Promise.reject(new Error("no waiter")))).toBe(false);
});

it("lets a waiter that is given up go without a place", async () => {
  const gate = new Gate({ holders: 1 });
  const holder = await gate.enter(forever);
  const gaveUp = new AbortController();
  const waiting = gate.enter(gaveUp.signal);
  gaveUp.abort(new Error("gave up"));
  await expect(waiting).rejects.toThrow("gave up");
  holder.release();
  expect(gate.held).toBe(0);
  await gate.enter(forever);
});
