/**
 * Resizes as Pillow does, to the bit: 8-bit separable bicubic with fixed-point weights, horizontal pass first (Pillow ≤ 12), alpha weighed in.
 * Then the centre crop and CLIP's normalisation. Owns sizes, roundings and weights; the passes over the bytes are filter.ts's. Computes nothing that the crop
 * would throw away. Source: Pillow's Resample.c and Image.resize, torchvision's Resize and CenterCrop; sizes and roundings are theirs.
 */
import { filterRaster, precisionBits, type Weights } from "./filter.ts";
import { unpremultiplied, type Raster } from "./raster.ts";

/**
 * The short side becomes `size`, the long side is cropped to its middle: (size, size, channels). Of a picture that was decoded smaller each output pixel shows the same
 * place as it would of the whole one.
 */
export function resizeToSquare(raster: Raster, size: number): Raster {
  const { channels } = raster;
  const { width, height } = raster.shrunkFrom ?? raster;
  const held = raster.shrunkFrom ?? { across: width, down: height };
  const short = Math.min(width, height);
  const resized = (length: number): number => (length === short ? size : Math.trunc((size * length) / short));
  const [across, down] = [resized(width), resized(height)];
  // A size that stays is copied, not filtered: so alpha isn't rounded through a multiplication either.
  const hasAlpha = (channels === 2 || channels === 4) && (across !== held.across || down !== held.down);
  const columns = weightsOf(raster.width, held.across, across, cropBegin(across, size), size);
  const lines = weightsOf(raster.height, held.down, down, cropBegin(down, size), size);
  const square = filterRaster(raster, columns, lines, hasAlpha);
  return hasAlpha ? unpremultiplied(square) : square;
}

/** Drops alpha, repeats grey, and answers (v / 255 − mean) / std in fp32: (3, height, width). */
export function normalise(raster: Raster, { mean, std }: { mean: readonly number[]; std: readonly number[] }): Float32Array {
  const { data, channels } = raster;
  const area = raster.width * raster.height;
  const pixels = new Float32Array(3 * area);
  for (let channel = 0; channel < 3; channel += 1) {
    const levels = normalisedLevels(mean[channel] ?? 0, std[channel] ?? 1);
    const from = channels < 3 ? 0 : channel;
    for (let pixel = 0; pixel < area; pixel += 1) pixels[channel * area + pixel] = levels[data[pixel * channels + from] ?? 0] ?? 0;
  }
  return pixels;
}

/** Each of the 256 levels, rounded to fp32 after every step as torch does. */
function normalisedLevels(mean: number, std: number): Float32Array {
  return Float32Array.from({ length: 256 }, (_, level) => Math.fround(Math.fround(level / 255) - Math.fround(mean)) / Math.fround(std));
}

/** The crop's first row or column: half of what is too much, halves to the even number. */
function cropBegin(length: number, size: number): number {
  const middle = (length - size) / 2;
  const below = Math.floor(middle);
  if (middle - below !== 0.5) return Math.round(middle);
  return below % 2 === 0 ? below : below + 1;
}

/** For the outputs begin … begin + count − 1 of resizing `from` to `to` numbers, of which the first `held` are there. */
function weightsOf(held: number, from: number, to: number, begin: number, count: number): Weights {
  const scale = from / to;
  const filterScale = Math.max(scale, 1);
  const support = 2 * filterScale;
  const stride = from === to ? 1 : Math.ceil(support) * 2 + 1;
  const table = { begins: new Int32Array(count), counts: new Int32Array(count), weights: new Int32Array(count * stride), stride };
  const weights = new Float64Array(stride);
  for (let output = 0; output < count; output += 1) {
    if (from === to) {
      // Pillow leaves out a pass that changes nothing.
      table.begins[output] = begin + output;
      table.counts[output] = 1;
      table.weights[output] = 1 << precisionBits;
      continue;
    }
    const centre = (begin + output + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const length = Math.min(held, Math.trunc(centre + support + 0.5)) - first;
    let sum = 0;
    for (let index = 0; index < length; index += 1) {
      const weight = bicubic((index + first - centre + 0.5) * (1 / filterScale));
      weights[index] = weight;
      sum += weight;
    }
    for (let index = 0; index < length; index += 1) {
      const weight = sum === 0 ? (weights[index] ?? 0) : (weights[index] ?? 0) / sum;
      table.weights[output * stride + index] = Math.trunc(weight * (1 << precisionBits) + (weight < 0 ? -0.5 : 0.5));
    }
    table.begins[output] = first;
    table.counts[output] = length;
  }
  return table;
}

/** a = −0.5 */
function bicubic(position: number): number {
  const x = Math.abs(position);
  if (x < 1) return (1.5 * x - 2.5) * x * x + 1;
  if (x < 2) return (((x - 5) * x + 8) * x - 4) * -0.5;
  return 0;
}
