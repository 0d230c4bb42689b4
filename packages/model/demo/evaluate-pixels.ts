// `npm run bench:fast-pixels`: what fast pixels do to the demo model's answers. Held-out scenes are drawn large, as JPEG and WebP, and answered
// once with exact and once with fast pixels, queries and examples alike. Owns the comparison and its table.
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import type { Model } from "@flamboyance/model";
import { MEASURED_SCENES } from "./dataset.ts";
import { answerAll, readScenes, withDemoModel, type Answer, type Measure } from "./measure.ts";

const HELP = `npm run bench:fast-pixels -- [options]

Prints how often the demo model is exactly right from exact and from fast pixels of large images, and how many answers differ.

  --scenes <n>   how many held-out scenes          (default and most: ${MEASURED_SCENES})
  --side <px>    the images' side; may be repeated (default: 1024, 1414)
`;

const MEASURES: readonly Measure[] = [
  { task: "caption", shots: 0 },
  { task: "caption", shots: 4 },
  { task: "vqa", shots: 0 },
  { task: "vqa", shots: 4 },
];

const FORMATS = ["jpeg", "webp"] as const;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      help: { type: "boolean" },
      scenes: { type: "string", default: String(MEASURED_SCENES) },
      // 1,414 can't be divided by 8: the harder case.
      side: { type: "string", multiple: true, default: ["1024", "1414"] },
    },
  });
  if (values.help) return void process.stdout.write(HELP);
  process.stdout.write(`${values.scenes} held-out scenes, ${cpus()[0]?.model.trim() ?? "unknown processor"}, Node ${process.version}\n\n`);
  row(["images", "task", "shots", "exactly right from exact pixels", "from fast", "answers that differ"]);
  row(["---", "---", "---:", "---:", "---:", "---:"]);
  await withDemoModel({ precision: "fp32" }, async (model) => {
    for (const side of values.side.map(Number))
      for (const format of FORMATS) await compare(model, Number(values.scenes), { pixelSize: side, format });
  });
}

async function compare(model: Model, count: number, drawing: { readonly pixelSize: number; readonly format: (typeof FORMATS)[number] }) {
  const [exact, fast] = [
    await readScenes(model, count, { ...drawing, pixels: "exact" }),
    await readScenes(model, count, { ...drawing, pixels: "fast" }),
  ];
  for (const measure of MEASURES) {
    const [before, after] = [await answerAll(model, measure, exact, 1), await answerAll(model, measure, fast, 1)];
    const different = before.filter(({ got }, index) => got !== after[index]?.got).length;
    const images = `${drawing.format.toUpperCase().replace("WEBP", "WebP")}, ${drawing.pixelSize}²`;
    row([images, measure.task, String(measure.shots), share(before), share(after), `${different} of ${count}`]);
  }
}

function share(answers: readonly Answer[]): string {
  return `${((answers.filter(({ got, wanted }) => got === wanted).length / answers.length) * 100).toFixed(1)} %`;
}

function row(cells: readonly string[]): void {
  process.stdout.write(`| ${cells.join(" | ")} |\n`);
}

await main();
