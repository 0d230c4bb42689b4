// `npm run demo:evaluate`: how often the shipped demo model is exactly right on 500 held-out scenes, with the project's own engine, from
// encoded image files on. `npm run bench:quality` holds the precisions side by side by the same measure (measure.ts). Owns the targets.
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { deviceChoiceSchema, precisionSchema, type Precision } from "@flamboyance/model";
import { MEASURED_SCENES } from "./dataset.ts";
import { answerAll, readScenes, withDemoModel, type Measure } from "./measure.ts";

/** How far below fp32 a precision for many rows may lie. */
const AWAY_POINTS = 0.5;

const HELP = `npm run demo:evaluate -- [options]
npm run bench:quality -- [options]     the same in fp32, int8 and int4 beside each other

Imports the demo model's pieces, answers held-out scenes with the project's engine and prints how many answers are exactly right.
Exits with 1 where a target is missed, or where int8 lies more than ${AWAY_POINTS} points below fp32 in a task that has one.

  --pieces <folder>       other pieces in the same form     (default: packages/model/demo/pieces)
  --precision <name>      fp32, int8 or int4; may be repeated, and then all stand side by side   (default: fp32)
  --scenes <n>            how many held-out scenes          (default and most: ${MEASURED_SCENES})
  --beams <n>             beams                             (default: 1)
  --device <name>         cpu, webgpu or auto               (default: cpu)
`;

interface AimedMeasure extends Measure {
  /** The share that must be exactly right; left out where the figure only stands beside another. */
  readonly target?: number;
}

const MEASURES: readonly AimedMeasure[] = [
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

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      help: { type: "boolean" },
      pieces: { type: "string" },
      precision: { type: "string", multiple: true, default: ["fp32"] },
      scenes: { type: "string", default: String(MEASURED_SCENES) },
      beams: { type: "string", default: "1" },
      device: { type: "string", default: "cpu" },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  const device = deviceChoiceSchema.parse(values.device);
  const precisions = values.precision.map((name) => precisionSchema.parse(name));
  process.stdout.write(`${values.scenes} held-out scenes, beams: ${values.beams}, ${cpus()[0]?.model.trim() ?? "unknown processor"}\n\n`);
  const shares = new Map<Precision, number[]>();
  const missed: string[] = [];
  for (const precision of precisions) {
    const { found, wrong } = await measureAll({ precision, pieces: values.pieces, device }, Number(values.scenes), Number(values.beams));
    shares.set(precision, found);
    missed.push(...missedTargets(precision, found, wrong));
  }
  missed.push(...farFromExact(shares));
  printTable(shares);
  for (const line of missed) process.stdout.write(`\nmissed: ${line}\n`);
  return missed.length === 0 ? 0 : 1;
}

/** Beside MEASURES: the shares that are right, and some of what is wrong. */
async function measureAll(opened: Parameters<typeof withDemoModel>[0], scenes: number, beams: number) {
  return withDemoModel(opened, async (model) => {
    const seen = await readScenes(model, scenes);
    const found: number[] = [];
    const wrong: string[][] = [];
    for (const [index, measure] of MEASURES.entries()) {
      if (process.stderr.isTTY) process.stderr.write(`\r${opened.precision}: ${index + 1} of ${MEASURES.length} measures `);
      const answers = await answerAll(model, measure, seen, beams);
      const missed = answers.filter(({ got, wanted }) => got !== wanted);
      found.push(1 - missed.length / answers.length);
      wrong.push(missed.map(({ name, got, wanted }) => `  ${name}: "${got}" for "${wanted}"`));
    }
    if (process.stderr.isTTY) process.stderr.write("\n");
    return { found, wrong };
  });
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

function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

process.exitCode = await main();
