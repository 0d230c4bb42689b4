import { expect, it } from "vitest";
import { planRound, type FaultKind } from "./plan-round.ts";

const plans = Array.from({ length: 500 }, (_, index) => planRound(7, index + 1));

it("a round of a seed is planned the same each time, and unlike its neighbours and another seed's", () => {
  expect(planRound(7, 3)).toEqual(plans[2]);
  expect(new Set(plans.map((plan) => JSON.stringify({ ...plan, number: 0 }))).size).toBe(plans.length);
  expect(planRound(8, 3)).not.toEqual(plans[2]);
});

it("a round has three to six faults; every kind comes, at steps, by progress and by time", () => {
  const faults = plans.flatMap((plan) => plan.faults);
  expect(plans.every((plan) => plan.faults.length >= 3 && plan.faults.length <= 6)).toBe(true);
  const kinds = new Map<FaultKind, number>();
  for (const { kind } of faults) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  expect(Math.min(...kinds.values())).toBeGreaterThan(50);
  expect(new Set(faults.map(({ when }) => when.at))).toEqual(new Set(["rows", "ms", "step"]));
  expect(new Set(plans.map(({ wish }) => wish.kind))).toEqual(new Set(["none", "cancel", "pause", "expiry"]));
  const retries = plans.filter(({ retry }) => retry).length;
  expect(retries).toBeGreaterThan(100);
  expect(retries).toBeLessThan(200);
});
