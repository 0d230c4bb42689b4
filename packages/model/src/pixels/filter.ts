/**
 * The two passes of a resize over an image's bytes, and the weighing by alpha before them, in WebAssembly with 128-bit arithmetic (filter.wat): four to seven times
 * as fast as the same in JavaScript. Owns the program's memory and what lies where in it; refuses to know what the weights mean.
 */
import { filterBytes } from "./filter-bytes.ts";
import type { Raster } from "./raster.ts";

/** For each output of one pass: which inputs it is the weighted sum of. */
export interface Weights {
  /** Per output: its first input, and how many. */
  readonly begins: Int32Array;
  readonly counts: Int32Array;
  /** `stride` numbers per output, of which `counts` are used: fixed-point, `precisionBits` after the point. */
  readonly weights: Int32Array;
  readonly stride: number;
}

/** 32 bits less 8 for the level and 2 for sums beyond the range: Pillow's. */
export const precisionBits = 22;

/** A weight is taken apart into its upper bits and so many lower ones: both fit into 16, with their signs. */
const lowBits = 12;

/**
 * Columns first, then lines; each output is rounded, and clipped to a byte: (lines, columns, channels). With `weighed`, colours count by their alpha (the last channel),
 * and stay so. Reads no byte that no output needs.
 */
export function filterRaster({ data, width, channels }: Raster, columns: Weights, lines: Weights, weighed = false): Raster {
  const size = { width: columns.begins.length, height: lines.begins.length };
  const lineBytes = size.width * channels;
  const across = packed(columns, 4);
  const down = packed(lines, 2);

  const places = shareMemory();
  const pairs = places.take(32);
  const alphas = places.take(32);
  const begins = { across: places.take(size.width * 4), down: places.take(size.height * 4) };
  const weights = { across: places.take(across.weights.byteLength), down: places.take(down.weights.byteLength) };
  const line = places.take(across.span * channels);
  const narrow = places.take(down.span * lineBytes); // (down.span, columns, channels)
  const square = places.take(size.height * lineBytes); // (lines, columns, channels)
  places.grow();

  const bytes = new Uint8Array(memory.buffer);
  bytes.set(pairPlaces(channels), pairs);
  bytes.set(alphaPlaces(channels), alphas);
  new Int32Array(memory.buffer, begins.across, size.width).set(columns.begins.map((begin) => (begin - across.first) * channels));
  new Int32Array(memory.buffer, begins.down, size.height).set(lines.begins.map((begin) => (begin - down.first) * lineBytes));
  new Int16Array(memory.buffer, weights.across, across.weights.length).set(across.weights);
  new Int16Array(memory.buffer, weights.down, down.weights.length).set(down.weights);

  // Line by line, so that what is read lies in the processor's nearest cache, and the memory never holds a whole image.
  for (let index = down.first; index < down.end; index += 1) {
    const from = index * width;
    bytes.set(data.subarray((from + across.first) * channels, (from + across.end) * channels), line);
    if (weighed) weighLine(line, line + (across.end - across.first) * channels, alphas);
    const to = narrow + (index - down.first) * lineBytes;
    filterLine(line, to, channels, pairs, begins.across, begins.across + size.width * 4, weights.across, across.weightBytes);
  }
  filterLines(narrow, square, lineBytes, begins.down, begins.down + size.height * 4, weights.down, down.weightBytes);
  return { ...size, channels, data: bytes.slice(square, square + size.height * lineBytes) };
}

/** All weights of one pass, as filter.wat reads them: for each output as many groups of `group` inputs, those that it hasn't with weights of 0. */
function packed({ begins, counts, weights, stride }: Weights, group: 2 | 4) {
  const taken = Math.ceil(Math.max(...counts) / group) * group;
  const halves = new Int16Array(begins.length * taken * 2);
  let [first, end] = [Infinity, 0];
  for (const [output, begin] of begins.entries()) {
    const count = counts[output] ?? 0;
    first = Math.min(first, begin);
    end = Math.max(end, begin + count);
    for (let index = 0; index < count; index += 1) {
      const weight = weights[output * stride + index] ?? 0;
      const at = output * taken * 2 + (index >> 1) * 4 + (index & 1); // (outputs, taken / 2, high and low, 2)
      halves[at] = weight >> lowBits;
      halves[at + 2] = weight & ((1 << lowBits) - 1);
    }
  }
  // From `first` to `end` are the inputs that are needed. The last output's group may reach further: what is there counts for nothing, but must be memory.
  return { first, end, span: end - first + taken, weights: halves, weightBytes: taken * 4 };
}

/** Of four pixels, the first two and the second two: each channel's two bytes as 16 bits side by side, what is no channel as 0. */
function pairPlaces(channels: number): Uint8Array {
  const nothing = 255;
  return Uint8Array.from({ length: 32 }, (_, at) => {
    const channel = (at >> 2) & 3;
    const pixel = (at >> 4) * 2 + ((at >> 1) & 1);
    return (at & 1) === 0 && channel < channels ? pixel * channels + channel : nothing;
  });
}

/** For each of 16 bytes where its pixel's alpha stands; then 255 where it stands itself. */
function alphaPlaces(channels: number): Uint8Array {
  return Uint8Array.from({ length: 32 }, (_, at) => {
    const byte = at % 16;
    const alpha = byte - (byte % channels) + channels - 1;
    if (at < 16) return alpha;
    return byte === alpha ? 255 : 0;
  });
}

/** Hands out the memory from its beginning. What is read or written in 16 bytes may reach over an end. */
function shareMemory() {
  let end = 0;
  return {
    take: (bytes: number): number => {
      const begin = end;
      end = Math.ceil((begin + bytes) / 16) * 16 + 16;
      return begin;
    },
    /** So that all that was taken is there. */
    grow: () => {
      const lacking = end - memory.buffer.byteLength;
      if (lacking > 0) memory.grow(Math.ceil(lacking / pageBytes));
    },
  };
}

const pageBytes = 65_536;

/**
 * One for each thread, for good. Its memory is no state: nothing is read of it that the same call didn't write, but for what is weighed by 0. A new one for each
 * image would be as right, but takes 10 GB of addresses each time, of which a thousand gigabytes gather before they are given back.
 */
const { memory, weighLine, filterLine, filterLines } = new WebAssembly.Instance(new WebAssembly.Module(Buffer.from(filterBytes, "base64")))
  .exports;

/** What is used of Node's global, as filter.wat exports it: the types of all of it come only with a browser's. */
declare const WebAssembly: {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (program: object) => {
    readonly exports: {
      readonly memory: { readonly buffer: ArrayBuffer; readonly grow: (pages: number) => number };
      readonly weighLine: (line: number, endLine: number, alphas: number) => void;
      readonly filterLine: (
        line: number,
        narrow: number,
        channels: number,
        pairs: number,
        begin: number,
        endBegin: number,
        weights: number,
        weightBytes: number,
      ) => void;
      readonly filterLines: (
        narrow: number,
        square: number,
        lineBytes: number,
        begin: number,
        endBegin: number,
        weights: number,
        weightBytes: number,
      ) => void;
    };
  };
};
