/**
 * `npm run bench:pixels`: what an image costs from its bytes to a model's pixels, on one thread: decoding (sharp) and Pillow's resizing (ours) apart, for
 * JPEGs of 0.3, 2 and 12 megapixels. Owns the table.
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
  process.stdout.write("| megapixels | JPEG | decode | resize, crop, normalise | together |\n|---:|---:|---:|---:|---:|\n");
  for (const pixelSize of sides) {
    const times: { decodeMs: number; resizeMs: number }[] = [];
    let sizeBytes = 0;
    // One in three is a JPEG.
    for await (const { bytes, mediaType } of makeDemoScenes({ seed: 1, count: Number(values.tries) * 3, pixelSize })) {
      if (mediaType !== "image/jpeg") continue;
      sizeBytes = bytes.length;
      times.push(await timePixels(bytes, 224));
    }
    const [decode, resize] = [median(times.map(({ decodeMs }) => decodeMs)), median(times.map(({ resizeMs }) => resizeMs))];
    const cells = [((pixelSize * pixelSize) / 1e6).toFixed(1), `${Math.round(sizeBytes / 1000)} KB`];
    process.stdout.write(`| ${[...cells, ...[decode, resize, decode + resize].map((ms) => `${ms.toFixed(1)} ms`)].join(" | ")} |\n`);
  }
}

function median(numbers: readonly number[]): number {
  return numbers.toSorted((one, other) => one - other)[Math.floor(numbers.length / 2)] ?? NaN;
}

await main();
