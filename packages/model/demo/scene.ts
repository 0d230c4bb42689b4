// Scenes: what is where. Owns the world (shapes, colours, sizes), the placement with its margins, and the rule of held-out
// combinations. Draws nothing and says nothing: draw.ts and tasks.ts do.
import { seededRandom, type Random } from "./random.ts";

export const SHAPES = ["circle", "square", "triangle", "star", "cross", "ring"] as const;
export const COLOURS = ["red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink", "black"] as const;
export const SIZES = ["small", "large"] as const;

export type Shape = (typeof SHAPES)[number];
export type Colour = (typeof COLOURS)[number];
export type Size = (typeof SIZES)[number];

/** All lengths are in scene units: a scene is 64 units wide and high, whatever its pixels. */
export const SCENE_UNITS = 64;
/** Centres of three and more objects differ at least so much in x: their order from left to right is never in doubt. */
export const ORDER_MARGIN_UNITS = 5;
/** Of two objects, |dx| and |dy| differ at least so much: which axis tells them apart is never in doubt. */
export const AXIS_MARGIN_UNITS = 8;

export interface SceneObject {
  readonly shape: Shape;
  readonly colour: Colour;
  readonly size: Size;
  readonly x: number;
  readonly y: number;
  /** Half the nominal diameter, in scene units. */
  readonly radius: number;
  readonly degrees: number;
  readonly rgb: Rgb;
}

export type Rgb = readonly [red: number, green: number, blue: number];

const GROUNDS = ["flat", "gradient", "noise"] as const;

export type Ground =
  | { readonly kind: "flat"; readonly rgb: Rgb }
  | { readonly kind: "gradient"; readonly from: Rgb; readonly to: Rgb; readonly degrees: number }
  | { readonly kind: "noise"; readonly rgb: Rgb; readonly cells: readonly number[] };

export interface Scene {
  readonly seed: number;
  readonly heldOut: boolean;
  readonly ground: Ground;
  readonly objects: readonly SceneObject[];
}

/** The grid of a noisy ground has so many cells on a side. */
export const NOISE_CELLS = 16;

/**
 * The rule of held-out combinations. The things of a scene are its objects, each by coloured shape, and its ground, by kind. Things are
 * numbered (9 · shape + colour: 0–53, with the indices of the lists above; flat, gradient, noise: 54–56), and two of them are held out
 * from each other where the sum of their numbers is divisible by 7: one pair in seven. No training scene has such a pair, every held-out
 * scene has at least one. Each thing alone is trained on: whole shape-colour-size triples can't be held out from so small a model (tried:
 * it reads the missing ones as their nearest neighbours).
 */
export function hasHeldOutPair(ground: Ground["kind"], objects: readonly ColouredShape[]): boolean {
  const things = [groundNumber(ground), ...objects.map(objectNumber)];
  return things.some((one, i) => things.slice(i + 1).some((other) => (one + other) % 7 === 0));
}

export interface ColouredShape {
  readonly shape: Shape;
  readonly colour: Colour;
}

function objectNumber({ shape, colour }: ColouredShape): number {
  return SHAPES.indexOf(shape) * COLOURS.length + COLOURS.indexOf(colour);
}

function groundNumber(kind: Ground["kind"]): number {
  return SHAPES.length * COLOURS.length + GROUNDS.indexOf(kind);
}

/** The scene of a seed. `heldOut` chooses which side of the rule it lies on; the two sides share no scene. */
export function makeScene({ seed, heldOut }: { seed: number; heldOut: boolean }): Scene {
  const random = seededRandom(seed, heldOut ? 1 : 0);
  const ground = makeGround(random);
  const count = 1 + random.below(5);
  // Crowded draws may not fit: draw kinds and places again until they do (a few tries; five large ones never fit by chance alone).
  for (;;) {
    const objects = placeAll(random, drawKinds(random, ground.kind, count, heldOut));
    if (objects !== undefined) return { seed, heldOut, ground, objects };
  }
}

/** In which order a scene is told: left to right; of two objects that stand one above the other, the upper one first. */
export function tellingOrder({ objects }: Scene): SceneObject[] {
  const [first, second] = objects;
  const vertical = objects.length === 2 && first !== undefined && second !== undefined && isVertical(first, second);
  return objects.toSorted((one, other) => (vertical ? one.y - other.y : one.x - other.x));
}

export function isVertical(one: SceneObject, other: SceneObject): boolean {
  return Math.abs(one.y - other.y) > Math.abs(one.x - other.x);
}

type Kind = Pick<SceneObject, "shape" | "colour" | "size">;

const KINDS: readonly Kind[] = SHAPES.flatMap((shape) => COLOURS.flatMap((colour) => SIZES.map((size) => ({ shape, colour, size }))));

function drawKinds(random: Random, ground: Ground["kind"], count: number, heldOut: boolean): Kind[] {
  for (;;) {
    const kinds: Kind[] = [];
    while (kinds.length < count) {
      const kind = random.pick(KINDS);
      if (heldOut || !hasHeldOutPair(ground, [...kinds, kind])) kinds.push(kind);
    }
    if (hasHeldOutPair(ground, kinds) === heldOut) return kinds;
  }
}

// At 64 pixels a small object is 12–14 pixels wide and a large one 20–24: far apart, so that a size alone in its scene is still plain.
const RADIUS: Record<Size, readonly [number, number]> = { small: [6, 7], large: [10, 12] };
// Corners reach past the nominal radius; draw.ts keeps to these.
export const REACH: Record<Shape, number> = { circle: 1, square: 1.2, triangle: 1.2, star: 1.2, cross: 1.12, ring: 1 };

function placeAll(random: Random, kinds: readonly Kind[]): SceneObject[] | undefined {
  const placed: SceneObject[] = [];
  for (const kind of kinds) {
    const object = place(random, kind, placed, kinds.length);
    if (object === undefined) return undefined;
    placed.push(object);
  }
  return placed;
}

function place(random: Random, kind: Kind, placed: readonly SceneObject[], count: number): SceneObject | undefined {
  const radius = random.between(...RADIUS[kind.size]);
  const degrees = random.between(-15, 15);
  const rgb = shade(random, kind.colour);
  const reach = radius * REACH[kind.shape] + 1;
  for (let attempt = 0; attempt < 40; attempt++) {
    const x = random.between(reach, SCENE_UNITS - reach);
    const y = random.between(reach, SCENE_UNITS - reach);
    const free = placed.every((other) => {
      const dx = Math.abs(other.x - x);
      const dy = Math.abs(other.y - y);
      if (Math.hypot(dx, dy) < reach + other.radius * REACH[other.shape] + 0.5) return false;
      return count === 2 ? Math.abs(dx - dy) >= AXIS_MARGIN_UNITS : dx >= ORDER_MARGIN_UNITS;
    });
    if (free) return { ...kind, x, y, radius, degrees, rgb };
  }
  return undefined;
}

const PAINT: Record<Colour, Rgb> = {
  red: [215, 35, 35],
  orange: [250, 140, 15],
  yellow: [250, 230, 30],
  green: [30, 150, 50],
  cyan: [30, 210, 225],
  blue: [35, 65, 210],
  purple: [130, 45, 165],
  pink: [255, 125, 195],
  black: [20, 20, 22],
};

function shade(random: Random, colour: Colour): Rgb {
  const [red, green, blue] = PAINT[colour];
  const jitter = (value: number) => Math.min(255, Math.max(0, Math.round(value + random.between(-10, 10))));
  return [jitter(red), jitter(green), jitter(blue)];
}

// Grounds are muted (nearly grey, neither dark nor white), so that no object's colour can be taken for one.
function makeGround(random: Random): Ground {
  const kind = random.pick(GROUNDS);
  if (kind === "flat") return { kind, rgb: muted(random) };
  if (kind === "gradient") return { kind, from: muted(random), to: muted(random), degrees: random.between(0, 360) };
  const rgb = muted(random);
  return { kind, rgb, cells: Array.from({ length: NOISE_CELLS ** 2 }, () => Math.round(random.between(-14, 14))) };
}

function muted(random: Random): Rgb {
  const lightness = random.between(140, 215);
  const channel = () => Math.round(lightness + random.between(-13, 13));
  return [channel(), channel(), channel()];
}
