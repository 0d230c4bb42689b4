// All that is ever said about scenes: captions, questions with answers, and the tasks that only examples tell. The one source of
// text for training, evaluation and the demo. Every text follows from its scene, so that an exact match is a fair measure.
import type { Random } from "./random.ts";
import {
  COLOURS,
  ORDER_MARGIN_UNITS,
  SHAPES,
  isVertical,
  tellingOrder,
  type ColouredShape,
  type Scene,
  type SceneObject,
} from "./scene.ts";

export const END_OF_CHUNK = "<|endofchunk|>";
export const IMAGE = "<image>";
/** The prompt forms that buildPrompt makes, in the pieces between which the texts stand: training assembles token ids from them. */
export const PROMPT = { output: "Output:", question: "Question:", answer: " Short answer:" } as const;

/** One object: "a large red circle". Two: "a large red circle above a small blue square". More: a list from left to right. */
export function captionOf(scene: Scene): string {
  const objects = tellingOrder(scene);
  const [first, second] = objects;
  if (first === undefined) throw new RangeError("a scene has at least one object");
  if (second === undefined) return `a ${nameOf(first)}`;
  if (objects.length > 2) return objects.map(nameOf).join(", ");
  return `a ${nameOf(first)} ${isVertical(first, second) ? "above" : "left of"} a ${nameOf(second)}`;
}

/** Told by examples only, in the prompt form of a caption: just the colours, just the shapes, how many. */
export const EXAMPLE_TASKS = {
  colours: (scene: Scene) =>
    tellingOrder(scene)
      .map((object) => object.colour)
      .join(", "),
  shapes: (scene: Scene) =>
    tellingOrder(scene)
      .map((object) => object.shape)
      .join(", "),
  count: (scene: Scene) => String(scene.objects.length),
} as const;
export type ExampleTask = keyof typeof EXAMPLE_TASKS;

export interface Question {
  readonly kind: (typeof QUESTION_ORDER)[number];
  readonly question: string;
  readonly answer: string;
}

/** One question of every kind that has an unambiguous one here, drawn with `random`. */
export function questionsOf(scene: Scene, random: Random): Question[] {
  return QUESTION_ORDER.flatMap((kind) => {
    const asked = QUESTION_KINDS[kind](scene, random);
    return asked === undefined ? [] : [{ kind, question: asked[0], answer: asked[1] }];
  });
}

function nameOf(object: SceneObject): string {
  return `${object.size} ${object.colour} ${object.shape}`;
}

type Asked = readonly [question: string, answer: string] | undefined;

const QUESTION_KINDS = {
  count: (scene: Scene): Asked => ["how many objects are there?", String(scene.objects.length)],
  "count-shape": (scene: Scene, random: Random): Asked => {
    const shape = random.next() < 0.7 ? random.pick(scene.objects).shape : random.pick(SHAPES);
    const count = scene.objects.filter((object) => object.shape === shape).length;
    return [`how many ${shape === "cross" ? "crosses" : `${shape}s`} are there?`, String(count)];
  },
  "count-colour": (scene: Scene, random: Random): Asked => {
    const colour = random.next() < 0.7 ? random.pick(scene.objects).colour : random.pick(COLOURS);
    const count = scene.objects.filter((object) => object.colour === colour).length;
    return [`how many ${colour} objects are there?`, String(count)];
  },
  colour: (scene: Scene, random: Random): Asked => {
    const object = pickUnique(scene, random, (one, other) => one.shape === other.shape);
    return object && [`what colour is the ${object.shape}?`, object.colour];
  },
  shape: (scene: Scene, random: Random): Asked => {
    const object = pickUnique(scene, random, (one, other) => one.colour === other.colour);
    return object && [`what shape is the ${object.colour} object?`, object.shape];
  },
  size: (scene: Scene, random: Random): Asked => {
    const object = pickUnique(scene, random, sameColouredShape);
    return object && [`what size is the ${object.colour} ${object.shape}?`, object.size];
  },
  exists: (scene: Scene, random: Random): Asked => {
    const wanted = random.next() < 0.5 ? random.pick(scene.objects) : absent(scene, random);
    const article = wanted.colour === "orange" ? "an" : "a";
    const found = scene.objects.some((object) => sameColouredShape(object, wanted));
    return [`is there ${article} ${wanted.colour} ${wanted.shape}?`, found ? "yes" : "no"];
  },
  relation: (scene: Scene, random: Random): Asked => {
    const candidates = scene.objects
      .filter((object) => isUnique(scene, object, sameColouredShape))
      .flatMap((object) => DIRECTIONS.map((direction) => ({ object, direction, neighbour: soleNeighbour(scene, object, direction) })))
      .filter(({ neighbour }) => neighbour !== undefined);
    if (candidates.length === 0) return undefined;
    const { object, direction, neighbour } = random.pick(candidates);
    return neighbour && [`what is ${direction} the ${object.colour} ${object.shape}?`, `${neighbour.colour} ${neighbour.shape}`];
  },
} as const;

// The order in which questions draw from their random stream: changing it changes every text.
const QUESTION_ORDER = ["count", "count-shape", "count-colour", "colour", "shape", "size", "exists", "relation"] as const;

const DIRECTIONS = ["left of", "right of", "above", "below"] as const;

/** The only object on that side, where every other one is clearly on the other side; otherwise the question would have two answers. */
function soleNeighbour(scene: Scene, object: SceneObject, direction: (typeof DIRECTIONS)[number]): SceneObject | undefined {
  const ahead = (other: SceneObject) => {
    if (direction === "left of") return object.x - other.x;
    if (direction === "right of") return other.x - object.x;
    return direction === "above" ? object.y - other.y : other.y - object.y;
  };
  const others = scene.objects.filter((other) => other !== object);
  if (others.some((other) => Math.abs(ahead(other)) < ORDER_MARGIN_UNITS)) return undefined;
  const there = others.filter((other) => ahead(other) > 0);
  return there.length === 1 ? there[0] : undefined;
}

/** A coloured shape that isn't there; mostly one whose colour and shape are there, apart, so that seeing one of them isn't enough. */
function absent(scene: Scene, random: Random): ColouredShape {
  for (let attempt = 0; ; attempt++) {
    const near = attempt < 8 && random.next() < 0.8;
    const colour = near ? random.pick(scene.objects).colour : random.pick(COLOURS);
    const shape = near && random.next() < 0.6 ? random.pick(scene.objects).shape : random.pick(SHAPES);
    if (!scene.objects.some((object) => sameColouredShape(object, { colour, shape }))) return { colour, shape };
  }
}

function sameColouredShape(one: ColouredShape, other: ColouredShape): boolean {
  return one.colour === other.colour && one.shape === other.shape;
}

function isUnique(scene: Scene, object: SceneObject, same: (one: SceneObject, other: SceneObject) => boolean): boolean {
  return scene.objects.filter((other) => same(object, other)).length === 1;
}

function pickUnique(scene: Scene, random: Random, same: (one: SceneObject, other: SceneObject) => boolean): SceneObject | undefined {
  const unique = scene.objects.filter((object) => isUnique(scene, object, same));
  return unique.length === 0 ? undefined : random.pick(unique);
}
