// Writes scenes for training: drawn pixels, patch labels and all texts, in shards of SHARD_SCENES. Owns the form of a shard; the
// training script resizes the pixels (Pillow is the reference there) and only ever samples from these texts.
import { mkdir, rename, writeFile, access, open } from "node:fs/promises";
import { join } from "node:path";
import sharp from "sharp";
import { PLACES, drawScene, patchLabels } from "./draw.ts";
import { seededRandom } from "./random.ts";
import { COLOURS, SHAPES, SIZES, makeScene, type Scene } from "./scene.ts";
import { END_OF_CHUNK, EXAMPLE_TASKS, IMAGE, PROMPT, captionOf, questionsOf } from "./tasks.ts";

export const SHARD_SCENES = 2000;
// Drawn at two to three times the model's 64 pixels, in turn, so that no one resampling pattern is learned.
const DRAWN_PIXELS = [128, 160, 192] as const;

/**
 * Writes `count` scenes (seeds from `firstSeed`) as shards under `folder`. A shard is whole or absent, so running it again continues.
 * `onShard` hears of each shard in order, written just now or before.
 */
export async function writeDataset(order: {
  folder: string;
  heldOut: boolean;
  firstSeed: number;
  count: number;
  onShard?: (shard: string, scenesDone: number) => void;
  signal?: AbortSignal;
}): Promise<void> {
  await mkdir(order.folder, { recursive: true });
  await writeFile(join(order.folder, "world.json"), JSON.stringify(worldOf(), null, 1));
  for (let start = 0; start < order.count; start += SHARD_SCENES) {
    order.signal?.throwIfAborted();
    const shard = join(order.folder, `shard-${String(start / SHARD_SCENES).padStart(4, "0")}`);
    const end = Math.min(order.count, start + SHARD_SCENES);
    const seeds = Array.from({ length: end - start }, (_, i) => order.firstSeed + start + i);
    if (!(await exists(shard))) await writeShard(shard, seeds, order.heldOut);
    order.onShard?.(shard, end);
  }
}

function worldOf() {
  return {
    shapes: SHAPES.length,
    colours: COLOURS.length,
    sizes: SIZES.length,
    places: PLACES,
    endOfChunk: END_OF_CHUNK,
    image: IMAGE,
    prompt: PROMPT,
  };
}

/** Texts of a scene as the training script reads them: one JSON line. */
function textsOf(scene: Scene) {
  return {
    seed: scene.seed,
    caption: captionOf(scene),
    colours: EXAMPLE_TASKS.colours(scene),
    shapes: EXAMPLE_TASKS.shapes(scene),
    count: EXAMPLE_TASKS.count(scene),
    // Twice, since several kinds have more than one question to ask.
    questions: [0, 1].flatMap((round) => questionsOf(scene, seededRandom(scene.seed, 100 + round))),
  };
}

async function writeShard(shard: string, seeds: readonly number[], heldOut: boolean): Promise<void> {
  const folder = `${shard}.part`;
  await mkdir(folder, { recursive: true });
  await using drawn = await open(join(folder, "drawn.u8"), "w");
  const labels: Uint8Array[] = [];
  const lines: string[] = [];
  const atOnce = 16;
  for (let start = 0; start < seeds.length; start += atOnce) {
    const scenes = seeds.slice(start, start + atOnce).map((seed) => makeScene({ seed, heldOut }));
    const drawings = await Promise.all(scenes.map(async (scene) => ({ scene, drawing: await drawnPixels(scene) })));
    for (const {
      scene,
      drawing: { data, pixelSize },
    } of drawings) {
      await drawn.write(data);
      labels.push(patchLabels(scene));
      lines.push(JSON.stringify({ ...textsOf(scene), pixelSize }));
    }
  }
  await writeFile(join(folder, "labels.u8"), Buffer.concat(labels));
  await writeFile(join(folder, "texts.jsonl"), lines.join("\n") + "\n");
  await rename(folder, shard);
}

interface Drawn {
  readonly data: Buffer;
  readonly pixelSize: number;
}

// Three of ten go through JPEG, with chroma subsampling, as most images in the world have.
async function drawnPixels(scene: Scene): Promise<Drawn> {
  const random = seededRandom(scene.seed, scene.heldOut ? 3 : 2);
  const pixelSize = random.pick(DRAWN_PIXELS);
  const drawing = drawScene(scene, pixelSize);
  const quality = 80 + random.below(15);
  if (random.next() >= 0.3) return { data: await drawing.raw().toBuffer(), pixelSize };
  return {
    data: await sharp(await drawing.jpeg({ quality }).toBuffer())
      .raw()
      .toBuffer(),
    pixelSize,
  };
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
