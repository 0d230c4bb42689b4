import { describe, expect, test } from "vitest";
import { AXIS_MARGIN_UNITS, COLOURS, ORDER_MARGIN_UNITS, REACH, SCENE_UNITS, SHAPES, hasHeldOutPair, makeScene } from "./scene.ts";

const seeds = Array.from({ length: 400 }, (_, seed) => seed);
const both = seeds.flatMap((seed) => [makeScene({ seed, heldOut: false }), makeScene({ seed, heldOut: true })]);

function* pairs<T>(list: readonly T[]): Generator<[T, T]> {
  for (const [i, one] of list.entries()) for (const other of list.slice(i + 1)) yield [one, other];
}

describe("scenes", () => {
  test("the same seed gives the same scene, another seed or side another one", () => {
    expect(makeScene({ seed: 7, heldOut: true })).toEqual(makeScene({ seed: 7, heldOut: true }));
    expect(new Set(both.map((scene) => JSON.stringify(scene.objects))).size).toBe(both.length);
  });

  test("no training scene has a held-out pair, every held-out scene has one", () => {
    for (const { ground, objects, heldOut } of both) expect(hasHeldOutPair(ground.kind, objects)).toBe(heldOut);
  });

  test("each coloured shape is held out from one in seven of the others and from one ground at most", () => {
    const kinds = SHAPES.flatMap((shape) => COLOURS.map((colour) => ({ shape, colour })));
    const grounds = ["flat", "gradient", "noise"] as const;
    for (const kind of kinds) {
      expect(grounds.filter((ground) => hasHeldOutPair(ground, [kind])).length).toBeLessThanOrEqual(1);
      // On every ground, so it is the two objects that are held out from each other.
      const others = kinds.filter((other) => grounds.every((ground) => hasHeldOutPair(ground, [kind, other])));
      expect(others.length).toBeGreaterThanOrEqual(7);
      expect(others.length).toBeLessThanOrEqual(8);
    }
  });

  test("every combination of shape, colour and size is met in training", () => {
    const met = new Set<string>();
    for (let seed = 0; seed < 4000; seed++) {
      for (const { shape, colour, size } of makeScene({ seed, heldOut: false }).objects) met.add(`${size} ${colour} ${shape}`);
    }
    expect(met.size).toBe(SHAPES.length * COLOURS.length * 2);
  });

  test("one to five objects, about equally often", () => {
    for (const count of [1, 2, 3, 4, 5]) {
      const share = both.filter((scene) => scene.objects.length === count).length / both.length;
      expect(share).toBeGreaterThan(0.14);
      expect(share).toBeLessThan(0.26);
    }
  });

  test("objects lie inside, apart, and in an order that is never in doubt", () => {
    for (const { objects } of both) {
      for (const { x, y, radius, shape } of objects) {
        expect(Math.min(x, y, SCENE_UNITS - x, SCENE_UNITS - y)).toBeGreaterThan(radius * REACH[shape]);
      }
      for (const [one, other] of pairs(objects)) {
        const [dx, dy] = [Math.abs(one.x - other.x), Math.abs(one.y - other.y)];
        expect(Math.hypot(dx, dy)).toBeGreaterThan(one.radius * REACH[one.shape] + other.radius * REACH[other.shape]);
        if (objects.length === 2) expect(Math.abs(dx - dy)).toBeGreaterThanOrEqual(AXIS_MARGIN_UNITS);
        else expect(dx).toBeGreaterThanOrEqual(ORDER_MARGIN_UNITS);
      }
    }
  });
});
