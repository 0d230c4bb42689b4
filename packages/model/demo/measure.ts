// What the demo model answers to held-out scenes, with the project's own engine, from encoded image files on. Owns the measure: the exact
// text of every answer beside the true one. train.py keeps a quicker one of its own for training.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  buildPrompt,
  decodePixels,
  importModel,
  openModel,
  type DecodeOptions,
  type DeviceChoice,
  type Model,
  type Precision,
  type PromptPassage,
} from "@flamboyance/model";
import { measuredScenes, type DemoImage, type Drawing } from "./dataset.ts";
import { demoPieces } from "./pieces.ts";
import type { ExampleTask } from "./tasks.ts";

export interface Measure {
  readonly task: Task;
  readonly shots: number;
}

type Task = "caption" | "vqa" | ExampleTask;

export interface Answer {
  /** The image, and of a question its words. */
  readonly name: string;
  readonly got: string;
  readonly wanted: string;
}

export interface Scenes {
  readonly queries: readonly Seen[];
  readonly support: readonly Seen[];
}

interface Seen {
  readonly image: DemoImage;
  readonly pixels: Float32Array; // (3, side, side)
}

// Each run of so many scenes has its own support examples, as a batch has; so no figure hangs on one lucky choice of them.
const SCENES_PER_PREFIX = 25;
const MOST_SHOTS = 4;

/** Imports pieces (left out: the shipped ones) and opens them for as long as `use` runs. */
export async function withDemoModel<Result>(
  {
    pieces,
    precision,
    device = "cpu",
  }: { readonly pieces?: string | undefined; readonly precision: Precision; readonly device?: DeviceChoice },
  use: (model: Model) => Promise<Result>,
): Promise<Result> {
  const folder = await mkdtemp(join(tmpdir(), "flamboyance-demo-"));
  try {
    await importModel(demoPieces(pieces), join(folder, "model"), { precision });
    const model = await openModel(join(folder, "model"), { device });
    try {
      return await use(model);
    } finally {
      await model.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Draws and decodes `count` scenes to ask about, and those for the examples before them. */
export async function readScenes(
  { description: { preprocessing } }: Model,
  count: number,
  { pixels = "exact", ...drawing }: Drawing & Pick<DecodeOptions, "pixels"> = {},
): Promise<Scenes> {
  const see = async (images: AsyncIterable<DemoImage>) => {
    const seen: Seen[] = [];
    for await (const image of images)
      seen.push({ image, pixels: await decodePixels(image.bytes, preprocessing, { maxPixels: 1e8, pixels }) });
    return seen;
  };
  const prefixes = Math.ceil(count / SCENES_PER_PREFIX);
  return {
    queries: await see(measuredScenes(count, "queries", drawing)),
    support: await see(measuredScenes(prefixes * MOST_SHOTS, "support", drawing)),
  };
}

/** An answer for each query, in order. */
export async function answerAll(model: Model, { task, shots }: Measure, { queries, support }: Scenes, numBeams: number): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (let start = 0; start < queries.length; start += SCENES_PER_PREFIX) {
    const first = (start / SCENES_PER_PREFIX) * MOST_SHOTS;
    const examples = support.slice(first, first + shots);
    const asked = queries.slice(start, start + SCENES_PER_PREFIX).map((query) => answer(model, task, examples, query, numBeams));
    answers.push(...(await Promise.all(asked)));
  }
  return answers;
}

async function answer(model: Model, task: Task, examples: readonly Seen[], query: Seen, numBeams: number): Promise<Answer> {
  const asked = ({ image, pixels }: Seen) => (task === "vqa" ? { image: pixels, question: image.question } : { image: pixels });
  const solved = examples.map((seen) => Object.assign(asked(seen), { answer: truth(task, seen.image) }));
  const prompt = buildPrompt(task === "vqa" ? "vqa" : "caption", solved, asked(query));
  const { text } = await model.generate({
    id: query.image.name,
    ...passageOf(prompt.query),
    // OpenFlamingo's limits: 5 new tokens for answers, 20 for captions.
    generation: { maxNewTokens: task === "vqa" ? 5 : 20, numBeams },
    // Equal prefixes are prefilled once.
    ...(examples.length === 0 ? {} : { prefix: model.openPrefix(prompt.examples.map(passageOf)) }),
  });
  const name = task === "vqa" ? `${query.image.name}, ${query.image.question}` : query.image.name;
  return { got: text, wanted: truth(task, query.image), name };
}

function passageOf({ text, images }: PromptPassage<Float32Array>) {
  return { text, media: images.map((pixels) => [pixels]) };
}

function truth(task: Task, image: DemoImage): string {
  if (task === "caption") return image.caption;
  return task === "vqa" ? image.answer : image.told[task];
}
