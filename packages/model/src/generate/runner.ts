/**
 * Runs the two graphs. Owns the tensors of a run, from token ids to logits; decides nothing: which rows run, and what their logits mean, is the loop's.
 * There is no loop over rows around a run.
 */
import type { Media } from "../model.ts";
import type { InputTensor, Session } from "../session.ts";
import type { Pool } from "./pool.ts";
import type { TensorSizes } from "./tensor-sizes.ts";

/** What a media is for the decoder: per cross-attending layer (cross heads, latents, 64). */
export interface EncodedMedia {
  readonly keys: readonly Float32Array[];
  readonly values: readonly Float32Array[];
  readonly sizeBytes: number;
}

/** A computed prefix: per layer (heads, length, headWidth), and the media that a token right after it sees. */
export interface ComputedPrefix {
  readonly keys: readonly Float32Array[];
  readonly values: readonly Float32Array[];
  readonly length: number;
  readonly lastMedia: EncodedMedia | null;
  readonly sizeBytes: number;
}

/** One row's part of a run. */
export interface RowTokens {
  /** May be empty where the row only keeps its place beside longer ones. */
  readonly tokens: readonly number[];
  /** For each token the index among its group's media, or null before the first. */
  readonly sees: readonly (number | null)[];
}

export interface ForwardRequest {
  readonly prefix: ComputedPrefix | null;
  /** Made for the prefix's length. */
  readonly pool: Pool;
  /** The pool's groups from `from` up to `to` run. */
  readonly from: number;
  readonly to: number;
  /** One row per group while a prompt is read, one per beam afterwards. */
  readonly rowsPerGroup: number;
  /** In the order of groups, then of beams. */
  readonly rows: readonly RowTokens[];
  /** Per group the media that its tokens see; null: each group's one media of the pool. */
  readonly media: readonly (readonly EncodedMedia[])[] | null;
  /** Of each row, which positions' logits are wanted. */
  readonly logits: "last" | "all" | "none";
}

export interface Runner {
  encode(media: Media): Promise<EncodedMedia>;
  /** Appends the new K and V to the pool; answers logits (asked, vocabulary) in the order of rows, those without tokens left out. */
  forward(request: ForwardRequest): Promise<Float32Array>;
}

export function createRunner(
  sessions: { readonly vision: Session; readonly decoder: Session },
  sizes: TensorSizes,
  imageSize: number,
): Runner {
  const decoderInputs = new Set(sessions.decoder.inputNames);
  return {
    encode: async (media) => {
      const names = sizes.crossLayers.flatMap((layer) => [`media_key.${layer}`, `media_value.${layer}`]);
      const frameLength = 3 * imageSize * imageSize;
      const pixels = new Float32Array(media.length * frameLength);
      media.forEach((frame, index) => pixels.set(frame, index * frameLength));
      const inputs = { pixels: { type: "float32", data: pixels, shape: [1, media.length, 3, imageSize, imageSize] } } as const;
      const outputs = await sessions.vision.run(inputs, names);
      const tensors = names.map((name) => found(outputs, name).data);
      return {
        keys: tensors.filter((_, index) => index % 2 === 0),
        values: tensors.filter((_, index) => index % 2 === 1),
        sizeBytes: tensors.reduce((sum, tensor) => sum + tensor.byteLength, 0),
      };
    },
    forward: async (request) => {
      const { pool, from, to, rowsPerGroup, rows } = request;
      const groups = to - from;
      const length = Math.max(1, ...rows.map(({ tokens }) => tokens.length));
      const asked = askedPositions(request, length);
      const layers = Array.from({ length: sizes.layers }, (_, layer) => layer);
      const inputs: Record<string, InputTensor> = {
        ...pool.inputs(from, to, rowsPerGroup),
        ...(request.media === null ? pool.mediaInputs(from, to) : gatherMedia(request.media, sizes)),
        ...prefixInputs(request.prefix, sizes),
        ...tokenInputs(request, length),
        logit_positions: integers(asked.length === 0 ? [0] : asked, [Math.max(1, asked.length)]),
      };
      for (const name of Object.keys(inputs)) if (!decoderInputs.has(name)) delete inputs[name];

      const keyNames = layers.map((layer) => `new_key.${layer}`);
      const valueNames = layers.map((layer) => `new_value.${layer}`);
      const outputs = await sessions.decoder.run(inputs, ["logits", ...keyNames, ...valueNames]);
      const entries = {
        keys: keyNames.map((name) => found(outputs, name).data),
        values: valueNames.map((name) => found(outputs, name).data),
        groupTokens: rowsPerGroup * length,
      };
      for (let group = 0; group < groups; group++) {
        const slot = from + group;
        const counts = rows.slice(group * rowsPerGroup, (group + 1) * rowsPerGroup).map(({ tokens }) => tokens.length);
        pool.append(slot, entries, group, counts);
      }
      return asked.length === 0 ? new Float32Array(0) : found(outputs, "logits").data;
    },
  };
}

function askedPositions({ rows, logits }: ForwardRequest, length: number): number[] {
  if (logits === "none") return [];
  return rows.flatMap(({ tokens }, row) => {
    if (tokens.length === 0) return [];
    const last = row * length + tokens.length - 1;
    return logits === "last" ? [last] : tokens.map((_, index) => row * length + index);
  });
}

/** Padded on the right with token 0; nobody sees what lies behind a row's end. */
function tokenInputs({ rows, pool, from, rowsPerGroup }: ForwardRequest, length: number): Record<string, InputTensor> {
  const shape = [rows.length, length];
  const tokens = new BigInt64Array(rows.length * length);
  const positions = new BigInt64Array(rows.length * length);
  const media = new BigInt64Array(rows.length * length).fill(-1n);
  rows.forEach((row, index) => {
    const start = pool.nextPosition(from + Math.floor(index / rowsPerGroup), index % rowsPerGroup);
    for (let token = 0; token < length; token++) {
      const place = index * length + token;
      tokens[place] = BigInt(row.tokens[token] ?? 0);
      positions[place] = BigInt(start + token);
      const sees = row.sees[token] ?? null;
      if (sees !== null) media[place] = BigInt(sees);
    }
  });
  return {
    tokens: { type: "int64", data: tokens, shape },
    positions: { type: "int64", data: positions, shape },
    token_media: { type: "int64", data: media, shape },
  };
}

function prefixInputs(prefix: ComputedPrefix | null, { layers, heads, headWidth }: TensorSizes): Record<string, InputTensor> {
  const inputs: Record<string, InputTensor> = {};
  const shape = [heads, prefix?.length ?? 0, headWidth];
  for (let layer = 0; layer < layers; layer++) {
    inputs[`prefix_key.${layer}`] = { type: "float32", data: prefix?.keys[layer] ?? new Float32Array(0), shape };
    inputs[`prefix_value.${layer}`] = { type: "float32", data: prefix?.values[layer] ?? new Float32Array(0), shape };
  }
  return inputs;
}

/** Several media per group, one behind the other along the latents; groups with fewer get zeros, which no token sees. */
function gatherMedia(media: readonly (readonly EncodedMedia[])[], sizes: TensorSizes): Record<string, InputTensor> {
  const { crossLayers, crossHeads, crossHeadWidth, latents } = sizes;
  const most = Math.max(1, ...media.map((list) => list.length));
  const shape = [media.length, crossHeads, most * latents, crossHeadWidth];
  const headLength = latents * crossHeadWidth;
  const joined = (index: number, part: "keys" | "values"): InputTensor => {
    const data = new Float32Array(media.length * crossHeads * most * headLength);
    media.forEach((list, group) => {
      list.forEach((encoded, place) => {
        const source = encoded[part][index] ?? new Float32Array(0);
        for (let head = 0; head < crossHeads; head++) {
          data.set(source.subarray(head * headLength, (head + 1) * headLength), ((group * crossHeads + head) * most + place) * headLength);
        }
      });
    });
    return { type: "float32", data, shape };
  };
  const inputs: Record<string, InputTensor> = {};
  crossLayers.forEach((layer, index) => {
    inputs[`media_key.${layer}`] = joined(index, "keys");
    inputs[`media_value.${layer}`] = joined(index, "values");
  });
  return inputs;
}

function integers(values: readonly number[], shape: readonly number[]): InputTensor {
  return { type: "int64", data: BigInt64Array.from(values, BigInt), shape };
}

function found<Value>(record: Readonly<Record<string, Value>>, name: string): Value {
  const value = record[name];
  if (value === undefined) throw new Error(`the run gave no ${name}`);
  return value;
}
