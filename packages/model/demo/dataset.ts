// Images as a customer would have them: encoded files of held-out scenes, each with its caption and one question. The demo uploads
// them and compares the answers. Owns the choice of file formats and sizes; the scenes and texts come from scene.ts and tasks.ts.
import { drawScene } from "./draw.ts";
import { seededRandom } from "./random.ts";
import { makeScene, type Scene } from "./scene.ts";
import { EXAMPLE_TASKS, captionOf, questionsOf, type ExampleTask } from "./tasks.ts";

export interface DemoImage {
  /** A file name with the extension of its format, unique within one seed: `scene-000017.webp`. */
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly mediaType: "image/png" | "image/jpeg" | "image/webp";
  readonly caption: string;
  readonly question: string;
  readonly answer: string;
  /** What the tasks that only examples tell would answer here. */
  readonly told: Readonly<Record<ExampleTask, string>>;
}

export interface DemoOrder {
  readonly seed: number;
  readonly count: number;
  /** Side of the drawn images; left out, they vary from 192 to 256. */
  readonly pixelSize?: number;
}

/** How scenes become files: left out, sizes vary from 192 to 256, and PNG, JPEG and WebP take turns. */
export interface Drawing {
  readonly pixelSize?: number | undefined;
  readonly format?: Format;
}

type Format = "png" | "jpeg" | "webp";

/**
 * `count` images of held-out scenes (their combinations of shape, colour and size were never trained on), as PNG, JPEG and WebP in turn.
 * The same order gives the same texts, and the same bytes with one version of sharp.
 */
export async function* makeDemoScenes({ seed, count, pixelSize }: DemoOrder): AsyncIterable<DemoImage> {
  for (let index = 0; index < count; index++) yield demoImage(seed, index, pixelSize);
}

/** Solved examples to put before the queries: `makeDemoScenes` in another range of seeds, so that no example is ever a query. */
export async function makeSupportExamples({ seed, count, pixelSize }: DemoOrder): Promise<DemoImage[]> {
  const images: DemoImage[] = [];
  for (let index = 0; index < count; index++) images.push(await demoImage(seed, SUPPORT_FROM + index, pixelSize));
  return images;
}

/**
 * The scenes on which the model is measured (at most 500), drawn and encoded like any other image. With `support`, other held-out scenes
 * for the examples before them.
 */
export async function* measuredScenes(
  count: number,
  purpose: "queries" | "support" = "queries",
  drawing: Drawing = {},
): AsyncIterable<DemoImage> {
  if (count > MEASURED_SCENES) throw new RangeError(`at most ${MEASURED_SCENES} scenes are kept for measuring`);
  const from = purpose === "queries" ? 0 : SUPPORT_FROM;
  for (let index = 0; index < count; index++) yield imageOf(makeScene({ seed: from + index, heldOut: true }), index, drawing);
}

export const MEASURED_SCENES = 500;
// Seeds 0–499 measure and 10,000–10,199 are watched while training; a demo's own seeds lie above. (2³² seeds: 4,294 demos.)
const DEMO_FROM = 1_000_000;
/** Within one demo seed, support examples lie above the queries. */
const SUPPORT_FROM = 900_000;
const SEEDS_EACH = 1_000_000;

function demoImage(seed: number, index: number, pixelSize: number | undefined): Promise<DemoImage> {
  return imageOf(makeScene({ seed: (DEMO_FROM + seed * SEEDS_EACH + index) >>> 0, heldOut: true }), index, { pixelSize });
}

async function imageOf(scene: Scene, index: number, drawing: Drawing): Promise<DemoImage> {
  const random = seededRandom(scene.seed, 10);
  const pixelSize = drawing.pixelSize ?? 192 + random.below(65);
  const format = drawing.format ?? FORMATS[index % FORMATS.length] ?? "png";
  const { question, answer } = random.pick(questionsOf(scene, random));
  const { extension, mediaType, bytes } = await encode(scene, pixelSize, format);
  return {
    name: `scene-${String(index).padStart(6, "0")}.${extension}`,
    bytes,
    mediaType,
    caption: captionOf(scene),
    question,
    answer,
    told: { colours: EXAMPLE_TASKS.colours(scene), shapes: EXAMPLE_TASKS.shapes(scene), count: EXAMPLE_TASKS.count(scene) },
  };
}

const FORMATS: readonly Format[] = ["png", "jpeg", "webp"];

async function encode(scene: Scene, pixelSize: number, format: Format) {
  const drawing = drawScene(scene, pixelSize);
  if (format === "png") return { extension: "png", mediaType: "image/png" as const, bytes: await drawing.png().toBuffer() };
  if (format === "jpeg")
    return { extension: "jpg", mediaType: "image/jpeg" as const, bytes: await drawing.jpeg({ quality: 90 }).toBuffer() };
  return { extension: "webp", mediaType: "image/webp" as const, bytes: await drawing.webp({ quality: 92 }).toBuffer() };
}
