/**
 * Runs the two graphs. Owns the tensors of a run, from token ids to logits; decides nothing: which rows run, and what their logits mean, is the loop's.
 * There is no loop over rows around a run.
 */
import type { Media } from "../model.ts";
import { dispose, type InputTensor, type KeptTensor, type Session } from "../session.ts";
import type { ComputedPrefix, EncodedMedia, LayerTensors, Memory } from "./memory.ts";
import type { Pool } from "./pool.ts";
import type { TensorSizes } from "./tensor-sizes.ts";

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
  /** Appends the new K and V to the pool; answers logits of the caller's own (asked, vocabulary) in the order of rows, those without tokens left out. */
  forward(request: ForwardRequest): Promise<Float32Array>;
}

export function createRunner(
  sessions: { readonly vision: Session; readonly decoder: Session },
  memory: Memory,
  sizes: TensorSizes,
  imageSize: number,
): Runner {
  const decoderInputs = new Set(sessions.decoder.inputNames);
  const media = mediaNames(sizes);
  const entries = entryNames(sizes);
  return {
    encode: async (frames) => {
      const frameLength = 3 * imageSize * imageSize;
      const pixels = new Float32Array(frames.length * frameLength);
      frames.forEach((frame, index) => pixels.set(frame, index * frameLength));
      const inputs = { pixels: { type: "float32", data: pixels, shape: [1, frames.length, 3, imageSize, imageSize] } } as const;
      const outputs = await sessions.vision.run(inputs, [], [...media.keys, ...media.values]);
      return handOver(outputs, () => {
        const encoded = {
          keys: media.keys.map((name) => found(outputs, name)),
          values: media.values.map((name) => found(outputs, name)),
          sizeBytes: sizes.mediaBytes,
        };
        memory.hold(encoded, encoded);
        return encoded;
      });
    },
    forward: async (request) => {
      const { pool, from, to, rowsPerGroup, rows } = request;
      const groups = to - from;
      const length = Math.max(1, ...rows.map(({ tokens }) => tokens.length));
      const asked = askedPositions(request, length);
      try {
        const seen = request.media === null ? await pool.tensors.media(from, to) : await memory.joinMedia(request.media);
        const inputs: Record<string, InputTensor> = {
          ...(await pool.inputs(from, to, rowsPerGroup)),
          ...named(media, seen),
          ...prefixInputs(request.prefix, memory, sizes),
          ...tokenInputs(request, length),
          logit_positions: integers(asked.length === 0 ? [0] : asked, [Math.max(1, asked.length)]),
        };
        for (const name of Object.keys(inputs)) if (!decoderInputs.has(name)) delete inputs[name];

        const outputs = await sessions.decoder.run(inputs, ["logits"], [...entries.keys, ...entries.values]);
        handOver(outputs, () => {
          const made = {
            keys: entries.keys.map((name) => found(outputs, name)),
            values: entries.values.map((name) => found(outputs, name)),
            groupTokens: rowsPerGroup * length,
          };
          for (let group = 0; group < groups; group++) {
            const counts = rows.slice(group * rowsPerGroup, (group + 1) * rowsPerGroup).map(({ tokens }) => tokens.length);
            pool.append(from + group, made, group, counts);
          }
        });
        return asked.length === 0 ? new Float32Array(0) : outputs.logits.data;
      } finally {
        memory.endRun();
      }
    },
  };
}

interface LayerNames {
  readonly keys: readonly string[];
  readonly values: readonly string[];
}

/** Tensors under their names in the graph. */
function named({ keys, values }: LayerNames, tensors: LayerTensors): Record<string, KeptTensor> {
  const pairs = (names: readonly string[], of: readonly KeptTensor[]) => names.map((name, index) => [name, of[index]] as const);
  const inputs: Record<string, KeptTensor> = {};
  for (const [name, tensor] of [...pairs(keys, tensors.keys), ...pairs(values, tensors.values)]) {
    if (tensor === undefined) throw new Error(`there is no tensor for ${name}`);
    inputs[name] = tensor;
  }
  return inputs;
}

/** What the vision graph gives for the decoder: its outputs' names. */
function mediaNames({ crossLayers }: TensorSizes): LayerNames {
  return { keys: crossLayers.map((layer) => `media_key.${layer}`), values: crossLayers.map((layer) => `media_value.${layer}`) };
}

/** What the decoder graph gives for its next runs: its outputs' names. */
export function entryNames({ layers }: TensorSizes): LayerNames {
  const numbers = Array.from({ length: layers }, (_, layer) => layer);
  return { keys: numbers.map((layer) => `new_key.${layer}`), values: numbers.map((layer) => `new_value.${layer}`) };
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

function prefixInputs(prefix: ComputedPrefix | null, { noPrefix }: Memory, { layers }: TensorSizes): Record<string, InputTensor> {
  const inputs: Record<string, InputTensor> = {};
  for (let layer = 0; layer < layers; layer++) {
    inputs[`prefix_key.${layer}`] = prefix?.keys[layer] ?? noPrefix.key;
    inputs[`prefix_value.${layer}`] = prefix?.values[layer] ?? noPrefix.value;
  }
  return inputs;
}

function integers(values: readonly number[], shape: readonly number[]): InputTensor {
  return { type: "int64", data: BigInt64Array.from(values, BigInt), shape };
}

/** What doesn't come to an owner goes: the pool that may have some of them is no good after a fault. */
function handOver<Owned>(results: Readonly<Record<string, KeptTensor>>, take: () => Owned): Owned {
  try {
    return take();
  } catch (error) {
    dispose(Object.values(results));
    throw error;
  }
}

function found<Value>(record: Readonly<Record<string, Value>>, name: string): Value {
  const value = record[name];
  if (value === undefined) throw new Error(`the run gave no ${name}`);
  return value;
}
