/**
 * `npm run bench:pixels`: what an image costs from its bytes to a model's pixels, on one thread: decoding (sharp) and Pillow's resizing (ours) apart, for
 * JPEGs of 0.3, 2 and 12 megapixels, with exact and with fast pixels. Owns the table.
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { timePixels } from "@flamboyance/model/bench";
import { makeDemoScenes } from "@flamboyance/model/demo";

const HELP = `npm run bench:pixels -- [options]

Times an image's way from its bytes to the pixels of a 224-pixel model, on one thread.

  --tries <n>   images of each size; the median counts   (default: 9)
`;

const sides = [548, 1414, 3464];

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { help: { type: "boolean" }, tries: { type: "string", default: "9" } } });
  if (values.help) return void process.stdout.write(HELP);
  process.stdout.write(
    `${cpus()[0]?.model.trim() ?? "unknown processor"}, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}\n\n`,
  );
  row(["megapixels", "JPEG", "decode", "resize, crop, normalise", "together", "fast: decode", "resize, crop, normalise", "together"]);
  row(Array.from({ length: 8 }, () => "---:"));
  for (const pixelSize of sides) {
    const times: Record<"exact" | "fast", Times[]> = { exact: [], fast: [] };
    let sizeBytes = 0;
    // One in three is a JPEG.
    for await (const { bytes, mediaType } of makeDemoScenes({ seed: 1, count: Number(values.tries) * 3, pixelSize })) {
      if (mediaType !== "image/jpeg") continue;
      sizeBytes = bytes.length;
      // In turn, so that what else runs on the machine disturbs both alike.
      for (const pixels of ["exact", "fast"] as const) times[pixels].push(await timePixels(bytes, 224, pixels));
    }
    row([
      ((pixelSize * pixelSize) / 1e6).toFixed(1),
      `${Math.round(sizeBytes / 1000)} KB`,
      ...cellsOf(times.exact),
      ...cellsOf(times.fast),
    ]);
  }
}

interface Times {
  readonly decodeMs: number;
  readonly resizeMs: number;
}

function cellsOf(times: readonly Times[]): string[] {
  const [decode, resize] = [median(times.map(({ decodeMs }) => decodeMs)), median(times.map(({ resizeMs }) => resizeMs))];
  return [decode, resize, decode + resize].map((ms) => `${ms.toFixed(1)} ms`);
}

function row(cells: readonly string[]): void {
  process.stdout.write(`| ${cells.join(" | ")} |\n`);
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((one, other) => one - other)[Math.floor(numbers.length / 2)] ?? NaN;
}

await main();
