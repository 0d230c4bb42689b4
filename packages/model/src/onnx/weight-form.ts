/**
 * The forms in which a weight stands in a model's external data: as float32, or rounded to 8 or 4 bits. Owns the rounding and the layouts that onnxruntime's
 * kernels take; refuses to choose, which the graph's builder does. A weight is (out, in), as PyTorch stores it.
 *
 * int8: one scale per output, q = round(w / scale). On processors without VNNI the product of unsigned rows and signed weights adds neighbours in 16 bits,
 * where they would saturate: so neighbours of one sign are held to 128 together, which the scale is chosen for (ADR 8). The sums are then exact everywhere.
 *
 * int4: blocks of 32 inputs with a scale each, chosen so that the number of largest magnitude is −8 exactly (one of its two signs gets the 16th level), as
 * MatMulNBits takes them: two a byte, the earlier in the lower half, 8 for zero.
 */
import type { ElementType } from "./model-file.ts";

export type WeightForm =
  | "float32"
  /** (out, in) int8: rows to look up. */
  | "int8_rows"
  /** (in, out) int8: what MatMulInteger multiplies with; neighbouring inputs of one sign are at most 128 together. */
  | "int8_columns"
  /** (out) float32: the scales of both. */
  | "int8_scale"
  /** (out, blocks, 16) uint8. */
  | "int4_blocks"
  /** (out · blocks) float32. */
  | "int4_scale";

export const blockLength = 32;

const bytesPerElement: Readonly<Partial<Record<ElementType, number>>> = { float32: 4, int8: 1, uint8: 1 };

/** The tensor that the graph sees: type, shape and size of a canonical tensor's form. */
export function packedTensor(
  form: WeightForm,
  shape: readonly number[],
): { readonly type: ElementType; readonly shape: readonly number[]; readonly sizeBytes: number } {
  const { type, shape: packed } = packedShape(form, shape);
  return { type, shape: packed, sizeBytes: packed.reduce((product, length) => product * length, bytesPerElement[type] ?? 1) };
}

function packedShape(form: WeightForm, shape: readonly number[]): { type: ElementType; shape: readonly number[] } {
  if (form === "float32") return { type: "float32", shape };
  const [outWidth, inWidth] = matrix(shape);
  const blocks = Math.ceil(inWidth / blockLength);
  switch (form) {
    case "int8_rows":
      return { type: "int8", shape: [outWidth, inWidth] };
    case "int8_columns":
      return { type: "int8", shape: [inWidth, outWidth] };
    case "int8_scale":
      return { type: "float32", shape: [outWidth] };
    case "int4_blocks":
      return { type: "uint8", shape: [outWidth, blocks, blockLength / 2] };
    case "int4_scale":
      return { type: "float32", shape: [outWidth * blocks] };
  }
}

/** The bytes of a tensor's form. `numbers`: the canonical tensor, (out, in). */
export function packWeight(form: WeightForm, numbers: Float32Array, shape: readonly number[]): Uint8Array {
  if (form === "float32") return bytesOf(numbers);
  const [outWidth, inWidth] = matrix(shape);
  switch (form) {
    case "int8_rows":
      return bytesOf(roundRows(numbers, outWidth, inWidth));
    case "int8_columns":
      return bytesOf(roundColumns(numbers, outWidth, inWidth));
    case "int8_scale":
      return bytesOf(rowScales(numbers, outWidth, inWidth));
    case "int4_blocks":
      return roundBlocks(numbers, outWidth, inWidth);
    case "int4_scale":
      return bytesOf(blockScales(numbers, outWidth, inWidth));
  }
}

/** What a row (255 at most) times two neighbours of one sign may add up to in 16 bits: 255 · 128 < 2¹⁵ ≤ 255 · 129. */
const mostOfNeighbours = 128;

/** The level that an output's largest number gets: the higher, the finer the steps and the more neighbours have to be cut; at 64 none is. */
const topLevels = [127, 112, 104, 96, 88, 80, 72, 64];

/** Per output the scale of least square error: of rounding (steps²/12 a number) and of cutting neighbours, which share what is too much. */
function rowScales(numbers: Float32Array, outWidth: number, inWidth: number): Float32Array {
  const scales = new Float32Array(outWidth);
  const pairSums = new Float64Array(inWidth >> 1);
  for (let out = 0; out < outWidth; out++) {
    const start = out * inWidth;
    let most = 0;
    for (let at = start; at < start + inWidth; at++) most = Math.max(most, Math.abs(numbers[at] ?? 0));
    let pairs = 0;
    for (let at = start; at + 1 < start + inWidth; at += 2) {
      const [left, right] = [numbers[at] ?? 0, numbers[at + 1] ?? 0];
      // The rest fits at every level.
      if (left > 0 === right > 0 && Math.abs(left + right) > most) pairSums[pairs++] = Math.abs(left + right);
    }
    let leastError = Infinity;
    for (const top of topLevels) {
      const scale = most / top;
      let error = (scale * scale * inWidth) / 12;
      for (let pair = 0; pair < pairs; pair++) {
        const excess = (pairSums[pair] ?? 0) - mostOfNeighbours * scale;
        if (excess > 0) error += (excess * excess) / 2;
      }
      if (error >= leastError) continue;
      leastError = error;
      scales[out] = scale;
    }
  }
  return scales;
}

/** (out, in), as they are looked up. */
function roundRows(numbers: Float32Array, outWidth: number, inWidth: number): Int8Array {
  const scales = rowScales(numbers, outWidth, inWidth);
  const rounded = new Int8Array(outWidth * inWidth);
  for (let out = 0; out < outWidth; out++) {
    const scale = scales[out] ?? 0;
    if (scale === 0) continue;
    for (let at = out * inWidth; at < (out + 1) * inWidth; at++) rounded[at] = levelOf(numbers[at] ?? 0, scale);
  }
  return rounded;
}

/** (in, out), as they are multiplied with. */
function roundColumns(numbers: Float32Array, outWidth: number, inWidth: number): Int8Array {
  const rows = roundRows(numbers, outWidth, inWidth);
  const columns = new Int8Array(rows.length);
  for (let out = 0; out < outWidth; out++) {
    for (let input = 0; input < inWidth; input += 2) {
      let left = rows[out * inWidth + input] ?? 0;
      let right = input + 1 < inWidth ? (rows[out * inWidth + input + 1] ?? 0) : 0;
      const excess = left > 0 === right > 0 ? Math.abs(left + right) - mostOfNeighbours : 0;
      if (excess > 0) {
        const sign = Math.sign(left);
        left -= sign * (excess >> 1);
        right -= sign * (excess - (excess >> 1));
      }
      columns[input * outWidth + out] = left;
      if (input + 1 < inWidth) columns[(input + 1) * outWidth + out] = right;
    }
  }
  return columns;
}

function levelOf(number: number, scale: number): number {
  return Math.min(127, Math.max(-127, Math.round(number / scale)));
}

function blockScales(numbers: Float32Array, outWidth: number, inWidth: number): Float32Array {
  const blocks = Math.ceil(inWidth / blockLength);
  const scales = new Float32Array(outWidth * blocks);
  for (let out = 0; out < outWidth; out++) {
    for (let block = 0; block < blocks; block++) {
      let largest = 0;
      for (let input = block * blockLength; input < Math.min(inWidth, (block + 1) * blockLength); input++) {
        const number = numbers[out * inWidth + input] ?? 0;
        if (Math.abs(number) > Math.abs(largest)) largest = number;
      }
      scales[out * blocks + block] = largest / -8;
    }
  }
  return scales;
}

function roundBlocks(numbers: Float32Array, outWidth: number, inWidth: number): Uint8Array {
  const blocks = Math.ceil(inWidth / blockLength);
  const scales = blockScales(numbers, outWidth, inWidth);
  const packed = new Uint8Array((outWidth * blocks * blockLength) / 2);
  for (let out = 0; out < outWidth; out++) {
    for (let input = 0; input < blocks * blockLength; input++) {
      const scale = scales[out * blocks + Math.floor(input / blockLength)] ?? 0;
      const number = input < inWidth ? (numbers[out * inWidth + input] ?? 0) : 0;
      const level = scale === 0 ? 8 : Math.min(15, Math.max(0, Math.round(number / scale) + 8));
      const at = (out * blocks * blockLength + input) >> 1;
      packed[at] = (packed[at] ?? 0) | (input % 2 === 0 ? level : level << 4);
    }
  }
  return packed;
}

function matrix(shape: readonly number[]): readonly [outWidth: number, inWidth: number] {
  const [outWidth, inWidth, ...more] = shape;
  if (outWidth === undefined || inWidth === undefined || more.length > 0)
    throw new RangeError(`only a matrix can be rounded, not (${shape.join()})`);
  return [outWidth, inWidth];
}

function bytesOf(numbers: Float32Array | Int8Array): Uint8Array {
  return new Uint8Array(numbers.buffer, numbers.byteOffset, numbers.byteLength);
}
