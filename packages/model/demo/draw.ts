// Draws a scene: SVG text, then pixels through sharp. Owns the outlines of the shapes, and with them which patch an object covers.
import sharp, { type Sharp } from "sharp";
import {
  COLOURS,
  NOISE_CELLS,
  REACH,
  SCENE_UNITS,
  SHAPES,
  SIZES,
  isVertical,
  tellingOrder,
  type Ground,
  type Rgb,
  type Scene,
  type SceneObject,
} from "./scene.ts";

/** The scene as a sharp pipeline of `pixelSize`² opaque RGB pixels: chain .png(), .jpeg(), .webp() or .raw(). */
export function drawScene(scene: Scene, pixelSize: number): Sharp {
  return sharp(Buffer.from(sceneSvg(scene, pixelSize)))
    .removeAlpha()
    .toColourspace("srgb");
}

export function sceneSvg(scene: Scene, pixelSize: number): string {
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${pixelSize}" height="${pixelSize}" viewBox="0 0 ${SCENE_UNITS} ${SCENE_UNITS}">` +
    groundSvg(scene.ground) +
    scene.objects.map(objectSvg).join("") +
    "</svg>"
  );
}

/** The label of a patch is the object that covers at least 3 of its 16 sample points; with 1 or 2 it has none to learn. */
export const PATCH_UNITS = 8;
export const UNLABELLED = 255;

/** Places in the telling order: five from left to right, then the upper and the lower of two that stand one above the other. */
export const PLACES = 7;

/** How many figures label a patch. */
export const PATCH_LABELS = 6;

/**
 * What lies on each patch, row by row: [shape, colour, size, place] as indices, one past the last index where there is only ground, and
 * the object's centre [x, y] in quarters of a unit. All are UNLABELLED where an object barely touches the patch, the centre on ground as
 * well. (patches, 6)
 */
export function patchLabels(scene: Scene): Uint8Array {
  const perSide = SCENE_UNITS / PATCH_UNITS;
  const labels = new Uint8Array(perSide * perSide * PATCH_LABELS);
  const ordered = tellingOrder(scene);
  const [first, second] = ordered;
  const stacked = ordered.length === 2 && first !== undefined && second !== undefined && isVertical(first, second);
  const outlines = ordered.map((object, i) => ({ object, place: stacked ? PLACES - 2 + i : i, outline: outlineOf(object) }));
  for (let patch = 0; patch < perSide * perSide; patch++) {
    const left = (patch % perSide) * PATCH_UNITS;
    const top = Math.floor(patch / perSide) * PATCH_UNITS;
    let best: Covering | undefined;
    for (const { object, place, outline } of outlines) {
      let points = 0;
      for (let i = 0; i < 16; i++) {
        const x = left + ((i % 4) + 0.5) * (PATCH_UNITS / 4);
        const y = top + (Math.floor(i / 4) + 0.5) * (PATCH_UNITS / 4);
        if (covers(object, outline, x, y)) points++;
      }
      if (points > (best?.points ?? 0)) best = { object, place, points };
    }
    labels.set(labelOf(best), patch * PATCH_LABELS);
  }
  return labels;
}

interface Covering {
  readonly object: SceneObject;
  readonly place: number;
  readonly points: number;
}

function labelOf(best: Covering | undefined): number[] {
  if (best === undefined) return [SHAPES.length, COLOURS.length, SIZES.length, PLACES, UNLABELLED, UNLABELLED];
  if (best.points < 3) return Array<number>(PATCH_LABELS).fill(UNLABELLED);
  const { shape, colour, size, x, y } = best.object;
  return [SHAPES.indexOf(shape), COLOURS.indexOf(colour), SIZES.indexOf(size), best.place, Math.round(x * 4), Math.round(y * 4)];
}

type Point = readonly [x: number, y: number];

/** The corners of a polygon around (0, 0) for radius 1, or none for what is round. */
function cornersOf(shape: SceneObject["shape"]): readonly Point[] {
  const reach = REACH[shape];
  if (shape === "circle" || shape === "ring") return [];
  if (shape === "square") return regular(4, reach, Math.PI / 4);
  if (shape === "triangle") return regular(3, reach, -Math.PI / 2);
  if (shape === "star")
    return Array.from({ length: 10 }, (_, i) => polar(i % 2 === 0 ? reach : reach * 0.42, -Math.PI / 2 + (i * Math.PI) / 5));
  // A cross: one arm's four corners, turned by a quarter each time.
  const half = 0.34;
  const long = Math.sqrt(reach * reach - half * half);
  const quarter: readonly Point[] = [
    [-half, -long],
    [half, -long],
    [half, -half],
  ];
  return [0, 1, 2, 3].flatMap((turns) => quarter.map((point) => turned(point, turns)));
}

/** By quarter turns, clockwise as seen on the screen. */
function turned([x, y]: Point, turns: number): Point {
  return turns === 0 ? [x, y] : turned([-y, x], turns - 1);
}

function regular(corners: number, reach: number, start: number): Point[] {
  return Array.from({ length: corners }, (_, i) => polar(reach, start + (i * 2 * Math.PI) / corners));
}

function polar(length: number, angle: number): Point {
  return [length * Math.cos(angle), length * Math.sin(angle)];
}

function outlineOf(object: SceneObject): Point[] {
  const angle = (object.degrees * Math.PI) / 180;
  const [cos, sin] = [Math.cos(angle) * object.radius, Math.sin(angle) * object.radius];
  return cornersOf(object.shape).map(([x, y]) => [object.x + x * cos - y * sin, object.y + x * sin + y * cos]);
}

// A ring counts with its hole: what lies there is the ring.
function covers(object: SceneObject, outline: readonly Point[], x: number, y: number): boolean {
  if (outline.length === 0) return Math.hypot(object.x - x, object.y - y) <= object.radius;
  let inside = false;
  let [x1, y1] = outline.at(-1) ?? [object.x, object.y];
  for (const [x2, y2] of outline) {
    if (y1 > y !== y2 > y && x < x1 + ((y - y1) / (y2 - y1)) * (x2 - x1)) inside = !inside;
    [x1, y1] = [x2, y2];
  }
  return inside;
}

function objectSvg(object: SceneObject): string {
  const [x, y] = [object.x.toFixed(3), object.y.toFixed(3)];
  if (object.shape === "circle") return `<circle cx="${x}" cy="${y}" r="${object.radius.toFixed(3)}" fill="${css(object.rgb)}"/>`;
  if (object.shape === "ring") {
    // The band's middle line: from 0.52 to 1 of the radius is paint.
    const band = object.radius * 0.48;
    const line = `r="${(object.radius - band / 2).toFixed(3)}" stroke-width="${band.toFixed(3)}"`;
    return `<circle cx="${x}" cy="${y}" ${line} fill="none" stroke="${css(object.rgb)}"/>`;
  }
  const points = outlineOf(object).map(([px, py]) => `${px.toFixed(3)},${py.toFixed(3)}`);
  return `<polygon points="${points.join(" ")}" fill="${css(object.rgb)}"/>`;
}

function groundSvg(ground: Ground): string {
  const whole = (fill: string) => `<rect width="${SCENE_UNITS}" height="${SCENE_UNITS}" fill="${fill}"/>`;
  if (ground.kind === "flat") return whole(css(ground.rgb));
  if (ground.kind === "gradient") {
    return (
      `<defs><linearGradient id="g" gradientTransform="rotate(${ground.degrees.toFixed(1)} 0.5 0.5)">` +
      `<stop offset="0" stop-color="${css(ground.from)}"/><stop offset="1" stop-color="${css(ground.to)}"/></linearGradient></defs>` +
      whole("url(#g)")
    );
  }
  const side = SCENE_UNITS / NOISE_CELLS;
  const cells = ground.cells.map((lift, i) => {
    const rgb: Rgb = [ground.rgb[0] + lift, ground.rgb[1] + lift, ground.rgb[2] + lift];
    const [x, y] = [(i % NOISE_CELLS) * side, Math.floor(i / NOISE_CELLS) * side];
    // A little wider than the cell: antialiased seams would draw a grid.
    return `<rect x="${x}" y="${y}" width="${side + 0.1}" height="${side + 0.1}" fill="${css(rgb)}"/>`;
  });
  return whole(css(ground.rgb)) + cells.join("");
}

function css([red, green, blue]: Rgb): string {
  return `rgb(${red},${green},${blue})`;
}
