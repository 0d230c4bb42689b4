/** WebAssembly's passes held against the same arithmetic in plain JavaScript, on random images and weights. */
import { expect, test } from "vitest";
import { filterRaster, precisionBits, type Weights } from "./filter.ts";
import type { Raster } from "./raster.ts";

/** Numbers below `bound`, the same at each run. */
function draws(seed: number) {
  let state = seed;
  return (bound: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.trunc((state / 2 ** 32) * bound);
  };
}
type Draw = ReturnType<typeof draws>;

const randomRaster = (draw: Draw, width: number, height: number, channels: Raster["channels"]): Raster => ({
  width,
  height,
  channels,
  data: Uint8Array.from({ length: width * height * channels }, () => draw(256)),
});

/** `outputs` windows of at most `most` of `inputs`, with weights up to ±2^bits. */
function randomWeights(draw: Draw, inputs: number, outputs: number, most: number, bits: number): Weights {
  const windows = Array.from({ length: outputs }, () => {
    const count = 1 + draw(Math.min(most, inputs));
    return { begin: draw(inputs - count + 1), count };
  });
  return {
    begins: Int32Array.from(windows, ({ begin }) => begin),
    counts: Int32Array.from(windows, ({ count }) => count),
    weights: Int32Array.from({ length: outputs * most }, () => draw(2 ** (bits + 1)) - 2 ** bits),
    stride: most,
  };
}

/** As Pillow writes it down, sums modulo 2^32. */
function plainFilter({ data, width, height, channels }: Raster, columns: Weights, lines: Weights): Uint8Array {
  const narrow = plainPass(columns, height, channels, (line, input, channel) => data[(line * width + input) * channels + channel] ?? 0);
  const across = columns.begins.length;
  // Of the second pass the outputs are lines: turned, they are what the first pass has.
  const turned = plainPass(
    lines,
    across,
    channels,
    (column, input, channel) => narrow[(input * across + column) * channels + channel] ?? 0,
  );
  const down = lines.begins.length;
  return Uint8Array.from({ length: down * across * channels }, (_, at) => {
    const [line, column, channel] = [Math.trunc(at / channels / across), Math.trunc(at / channels) % across, at % channels];
    return turned[(column * down + line) * channels + channel] ?? 0;
  });
}

/** (others, outputs, channels) */
function plainPass(
  { begins, counts, weights, stride }: Weights,
  others: number,
  channels: number,
  level: (other: number, input: number, channel: number) => number,
): Uint8ClampedArray {
  return Uint8ClampedArray.from({ length: others * begins.length * channels }, (_, at) => {
    const [other, output, channel] = [Math.trunc(at / channels / begins.length), Math.trunc(at / channels) % begins.length, at % channels];
    let sum = 1 << (precisionBits - 1);
    for (let index = 0; index < (counts[output] ?? 0); index += 1)
      sum = (sum + Math.imul(level(other, (begins[output] ?? 0) + index, channel), weights[output * stride + index] ?? 0)) | 0;
    return sum >> precisionBits;
  });
}

test.each([1, 2, 3, 4] as const)("random images of %i channels are filtered as in plain arithmetic, to the bit", (channels) => {
  const draw = draws(channels);
  for (let round = 0; round < 40; round += 1) {
    const image = randomRaster(draw, 1 + draw(60), 1 + draw(60), channels);
    // Up and down: fewer outputs than inputs, and more. The largest weight that Pillow makes has 22 bits and a little; 26 make sums run over.
    const columns = randomWeights(draw, image.width, 1 + draw(70), 1 + draw(40), round % 4 === 0 ? 26 : 19);
    const lines = randomWeights(draw, image.height, 1 + draw(70), 1 + draw(40), round % 4 === 1 ? 26 : 19);
    const expected = plainFilter(image, columns, lines);
    const filtered = filterRaster(image, columns, lines);
    expect([filtered.width, filtered.height]).toEqual([columns.begins.length, lines.begins.length]);
    expect(Buffer.compare(filtered.data, expected), `round ${round}`).toBe(0);
  }
});

test.each([2, 4] as const)("colours of %i channels are weighed by alpha as in plain arithmetic, to the bit", (channels) => {
  const draw = draws(20 + channels);
  for (let round = 0; round < 10; round += 1) {
    const image = randomRaster(draw, 1 + draw(60), 1 + draw(60), channels);
    const [columns, lines] = [randomWeights(draw, image.width, 9, 9, 20), randomWeights(draw, image.height, 9, 9, 20)];
    const data = image.data.map((level, at) => {
      const alpha = image.data[at - (at % channels) + channels - 1] ?? 0;
      const product = level * (at % channels === channels - 1 ? 255 : alpha) + 128;
      return ((product >> 8) + product) >> 8;
    });
    const expected = plainFilter({ ...image, data }, columns, lines);
    expect(Buffer.compare(filterRaster(image, columns, lines, true).data, expected), `round ${round}`).toBe(0);
  }
});

test("windows at the far ends of an image read what is there, and nothing beyond", () => {
  const draw = draws(7);
  const image = randomRaster(draw, 33, 21, 3);
  // The widest window sets how many pixels are read for each output; the last one's own is a single pixel.
  const ends = (inputs: number): Weights => ({
    begins: Int32Array.from([0, inputs - 1]),
    counts: Int32Array.from([inputs, 1]),
    weights: Int32Array.from({ length: 2 * inputs }, () => draw(1 << 20)),
    stride: inputs,
  });
  const [columns, lines] = [ends(33), ends(21)];
  expect(Buffer.compare(filterRaster(image, columns, lines).data, plainFilter(image, columns, lines))).toBe(0);
});

test("an image isn't touched by the one before it, however large that was", () => {
  const draw = draws(11);
  const small = randomRaster(draw, 9, 7, 3);
  const [columns, lines] = [randomWeights(draw, 9, 5, 4, 21), randomWeights(draw, 7, 5, 4, 21)];
  const before = filterRaster(small, columns, lines);
  const large = randomRaster(draw, 300, 400, 4);
  filterRaster(large, randomWeights(draw, 300, 200, 9, 21), randomWeights(draw, 400, 200, 9, 21));
  expect(filterRaster(small, columns, lines)).toEqual(before);
});
