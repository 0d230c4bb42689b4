// `npm run demo:evaluate`: how often the shipped demo model is exactly right on 500 held-out scenes, with the project's own engine, from
// encoded image files on. `npm run bench:quality` holds the precisions side by side by the same measure. Owns the measure (exact text) and the
// targets; train.py keeps a quicker one of its own for training.
import { mkdtemp, rm } from "node:fs/promises";
import { cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import {
  buildPrompt,
  decodePixels,
  importModel,
  openModel,
  precisionSchema,
  type Model,
  type Precision,
  type PromptPassage,
} from "@flamboyance/model";
import { MEASURED_SCENES, measuredScenes, type DemoImage } from "./dataset.ts";
import { demoPieces } from "./pieces.ts";
import type { ExampleTask } from "./tasks.ts";

/** How far below fp32 a precision for many rows may lie. */
const AWAY_POINTS = 0.5;

const HELP = `npm run demo:evaluate -- [options]

Imports the demo model's pieces, answers held-out scenes with the project's engine and prints how many answers are exactly right.
Exits with 1 where a target is missed, or where int8 lies more than ${AWAY_POINTS} points below fp32 in a task that has one.

  --pieces <folder>       other pieces in the same form     (default: packages/model/demo/pieces)
  --precision <name>      fp32, int8 or int4; may be repeated, and then all stand side by side   (default: fp32)
  --scenes <n>            how many held-out scenes          (default and most: ${MEASURED_SCENES})
  --beams <n>             beams                             (default: 1)
`;

type Task = "caption" | "vqa" | ExampleTask;

interface Measure {
  readonly task: Task;
  readonly shots: number;
  /** The share that must be exactly right; left out where the figure only stands beside another. */
  readonly target?: number;
}

const MEASURES: readonly Measure[] = [
  { task: "caption", shots: 0, target: 0.95 },
  { task: "caption", shots: 4 },
  { task: "vqa", shots: 0, target: 0.96 },
  { task: "vqa", shots: 4 },
  { task: "colours", shots: 0 },
  { task: "colours", shots: 3, target: 0.95 },
  { task: "shapes", shots: 0 },
  { task: "shapes", shots: 3, target: 0.95 },
  { task: "count", shots: 0 },
  { task: "count", shots: 3, target: 0.95 },
];

// Each run of so many scenes has its own support examples, as a batch has; so no figure hangs on one lucky choice of them.
const SCENES_PER_PREFIX = 25;
const MOST_SHOTS = 4;

interface Seen {
  readonly image: DemoImage;
  readonly pixels: Float32Array; // (3, side, side)
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      help: { type: "boolean" },
      pieces: { type: "string" },
      precision: { type: "string", multiple: true, default: ["fp32"] },
      scenes: { type: "string", default: String(MEASURED_SCENES) },
      beams: { type: "string", default: "1" },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const precisions = values.precision.map((name) => precisionSchema.parse(name));
  process.stdout.write(`${values.scenes} held-out scenes, beams: ${values.beams}, ${cpus()[0]?.model.trim() ?? "unknown processor"}\n\n`);
  const shares = new Map<Precision, number[]>();
  const missed: string[] = [];
  for (const precision of precisions) {
    const { found, wrong } = await measureAll(precision, values.pieces, Number(values.scenes), Number(values.beams));
    shares.set(precision, found);
    missed.push(...missedTargets(precision, found, wrong));
  }
  missed.push(...farFromExact(shares));
  printTable(shares);
  for (const line of missed) process.stdout.write(`\nmissed: ${line}\n`);
  return missed.length === 0 ? 0 : 1;
}

/** Beside MEASURES: the shares that are right, and some of what is wrong. */
async function measureAll(precision: Precision, pieces: string | undefined, scenes: number, beams: number) {
  const folder = await mkdtemp(join(tmpdir(), "flamboyance-demo-"));
  try {
    await importModel(demoPieces(pieces), join(folder, "model"), { precision });
    const model = await openModel(join(folder, "model"));
    try {
      const { queries, support } = await readScenes(model, scenes);
      const found: number[] = [];
      const wrong: string[][] = [];
      for (const [index, measure] of MEASURES.entries()) {
        if (process.stderr.isTTY) process.stderr.write(`\r${precision}: ${index + 1} of ${MEASURES.length} measures `);
        const answered = await answerAll(model, measure, queries, support, beams);
        found.push(answered.right / queries.length);
        wrong.push(answered.wrong);
      }
      if (process.stderr.isTTY) process.stderr.write("\n");
      return { found, wrong };
    } finally {
      await model.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function missedTargets(precision: Precision, found: readonly number[], wrong: readonly (readonly string[])[]): string[] {
  return MEASURES.flatMap(({ task, shots, target }, index) =>
    (found[index] ?? 0) >= (target ?? 0)
      ? []
      : [`${task} at ${shots} shots in ${precision}; for example\n${(wrong[index] ?? []).slice(0, 5).join("\n")}`],
  );
}

function farFromExact(shares: ReadonlyMap<Precision, readonly number[]>): string[] {
  const [exact, rounded] = [shares.get("fp32"), shares.get("int8")];
  if (exact === undefined || rounded === undefined) return [];
  return MEASURES.flatMap(({ task, shots, target }, index) => {
    const points = ((exact[index] ?? 0) - (rounded[index] ?? 0)) * 100;
    return target === undefined || points <= AWAY_POINTS
      ? []
      : [`${task} at ${shots} shots: int8 lies ${points.toFixed(1)} points below fp32`];
  });
}

function printTable(shares: ReadonlyMap<Precision, readonly number[]>): void {
  const row = (cells: readonly string[]) => process.stdout.write(`| ${cells.join(" | ")} |\n`);
  row(["task", "shots", ...[...shares.keys()].map((precision) => `exactly right in ${precision}`), "target"]);
  row(["---", "---:", ...[...shares.keys()].map(() => "---:"), "---:"]);
  for (const [index, { task, shots, target }] of MEASURES.entries()) {
    const found = [...shares.values()].map((each) => percent(each[index] ?? 0));
    row([task, String(shots), ...found, target === undefined ? "" : `≥ ${percent(target)}`]);
  }
}

async function readScenes(model: Model, count: number): Promise<{ queries: Seen[]; support: Seen[] }> {
  const { preprocessing } = model.description;
  const see = async (images: AsyncIterable<DemoImage>) => {
    const seen: Seen[] = [];
    for await (const image of images) seen.push({ image, pixels: await decodePixels(image.bytes, preprocessing, { maxPixels: 1e6 }) });
    return seen;
  };
  const prefixes = Math.ceil(count / SCENES_PER_PREFIX);
  return { queries: await see(measuredScenes(count)), support: await see(measuredScenes(prefixes * MOST_SHOTS, "support")) };
}

async function answerAll(model: Model, { task, shots }: Measure, queries: readonly Seen[], support: readonly Seen[], numBeams: number) {
  let right = 0;
  const wrong: string[] = [];
  for (let start = 0; start < queries.length; start += SCENES_PER_PREFIX) {
    const first = (start / SCENES_PER_PREFIX) * MOST_SHOTS;
    const examples = support.slice(first, first + shots);
    const answers = queries.slice(start, start + SCENES_PER_PREFIX).map((query) => answer(model, task, examples, query, numBeams));
    for (const { got, wanted, name } of await Promise.all(answers)) {
      if (got === wanted) right++;
      else wrong.push(`  ${name}: "${got}" for "${wanted}"`);
    }
  }
  return { right, wrong };
}

async function answer(model: Model, task: Task, examples: readonly Seen[], query: Seen, numBeams: number) {
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

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

process.exitCode = await main();
