import { describe, expect, test } from "vitest";
import { PATCH_LABELS, PLACES, UNLABELLED, drawScene, patchLabels } from "./draw.ts";
import { COLOURS, SHAPES, SIZES, makeScene, type Scene, type SceneObject } from "./scene.ts";

const ground = [180, 184, 176] as const;

function sceneOf(object: Partial<SceneObject>): Scene {
  const plain: SceneObject = { shape: "circle", colour: "red", size: "large", x: 32, y: 32, radius: 11, degrees: 0, rgb: [200, 30, 30] };
  return { seed: 0, heldOut: false, ground: { kind: "flat", rgb: ground }, objects: [Object.assign(plain, object)] };
}

function labelAt(labels: Uint8Array, column: number, row: number): number[] {
  const patch = row * 8 + column;
  return [...labels.subarray(patch * PATCH_LABELS, (patch + 1) * PATCH_LABELS)];
}

async function pixelsOf(scene: Scene, pixelSize: number) {
  const { data, info } = await drawScene(scene, pixelSize).raw().toBuffer({ resolveWithObject: true });
  expect(info).toMatchObject({ width: pixelSize, height: pixelSize, channels: 3 });
  return (x: number, y: number) => {
    const at = (Math.floor((y * pixelSize) / 64) * pixelSize + Math.floor((x * pixelSize) / 64)) * 3;
    return [...data.subarray(at, at + 3)];
  };
}

describe("drawing", () => {
  test.each(SHAPES.filter((shape) => shape !== "ring"))("a %s is painted in its middle, and the ground in the corners", async (shape) => {
    for (const pixelSize of [128, 192, 256]) {
      const at = await pixelsOf(sceneOf({ shape }), pixelSize);
      expect(at(32, 32)).toEqual([200, 30, 30]);
      for (const [x, y] of [
        [1, 1],
        [62, 1],
        [1, 62],
        [62, 62],
      ] as const)
        expect(at(x, y)).toEqual([...ground]);
    }
  });

  test("a ring shows the ground through its hole", async () => {
    const at = await pixelsOf(sceneOf({ shape: "ring" }), 128);
    expect(at(32, 32)).toEqual([...ground]);
    expect(at(32 + 8.5, 32)).toEqual([200, 30, 30]);
    expect(at(32 + 12.5, 32)).toEqual([...ground]);
  });

  test("a cross is as wide as high, with open corners; a square fills them", async () => {
    const cross = await pixelsOf(sceneOf({ shape: "cross" }), 128);
    const square = await pixelsOf(sceneOf({ shape: "square" }), 128);
    for (const [dx, dy] of [
      [10, 0],
      [-10, 0],
      [0, 10],
      [0, -10],
    ] as const)
      expect(cross(32 + dx, 32 + dy)).toEqual([200, 30, 30]);
    for (const [dx, dy] of [
      [8, 8],
      [-8, 8],
      [8, -8],
      [-8, -8],
    ] as const) {
      expect(cross(32 + dx, 32 + dy)).toEqual([...ground]);
      expect(square(32 + dx, 32 + dy)).toEqual([200, 30, 30]);
    }
  });

  test("the grounds stay muted: no channel of a pixel is far from the others", async () => {
    for (let seed = 0; seed < 30; seed++) {
      const scene = makeScene({ seed, heldOut: false });
      const { data } = await drawScene({ ...scene, objects: [] }, 64)
        .raw()
        .toBuffer({ resolveWithObject: true });
      for (let i = 0; i < data.length; i += 3) {
        const rgb = [...data.subarray(i, i + 3)];
        expect(Math.max(...rgb) - Math.min(...rgb)).toBeLessThan(35);
      }
    }
  });
});

describe("patch labels", () => {
  test("patches in the middle of an object bear its kind, far ones are ground", () => {
    const labels = patchLabels(sceneOf({ shape: "star", colour: "green", radius: 12 }));
    const of = (column: number, row: number) => labelAt(labels, column, row);
    for (const [column, row] of [
      [3, 3],
      [4, 3],
      [3, 4],
      [4, 4],
    ] as const) {
      expect(of(column, row)).toEqual([SHAPES.indexOf("star"), COLOURS.indexOf("green"), SIZES.indexOf("large"), 0, 32 * 4, 32 * 4]);
    }
    expect(of(0, 0)).toEqual([SHAPES.length, COLOURS.length, SIZES.length, PLACES, UNLABELLED, UNLABELLED]);
  });

  test("two objects that stand one above the other have places of their own", () => {
    const placesOf = (...centres: (readonly [x: number, y: number])[]) => {
      const objects = centres.flatMap(([x, y]) => sceneOf({ x, y, radius: 6 }).objects);
      const labels = patchLabels({ ...sceneOf({}), objects });
      return centres.map(([x, y]) => labelAt(labels, Math.floor(x / 8), Math.floor(y / 8))[3]);
    };
    expect(placesOf([20, 50], [28, 12])).toEqual([6, 5]);
    expect(placesOf([50, 20], [12, 28])).toEqual([1, 0]);
    expect(placesOf([20, 52], [28, 12], [52, 30])).toEqual([0, 1, 2]);
  });

  test("a patch that is barely touched has no label to learn", () => {
    // The circle's edge reaches the two middle points of the first column of the patch right of it.
    const labels = patchLabels(sceneOf({ x: 16 + 1.3 - 10, y: 12, radius: 10 }));
    expect(labelAt(labels, 2, 1)).toEqual(Array(PATCH_LABELS).fill(UNLABELLED));
  });
});
