/**
 * The K and V that a lane's rows have made so far, and the media that they see, as the tensors that the decoder graph takes.
 * Owns the layout (groups, heads, capacity, headWidth) and its growth: a group joins at the end, leaves by a swap with the last, and nothing else moves.
 * Refuses to know prompts and tokens. Beams of a group share its entries; `visible` tells each which are its own past, so a beam that changes its
 * parent copies some bytes of visibility and no cache.
 */
import type { InputTensor } from "../session.ts";
import type { EncodedMedia } from "./runner.ts";
import type { TensorSizes } from "./tensor-sizes.ts";

/** The new K and V of a run: per layer (groups, heads, group tokens, headWidth). */
export interface NewEntries {
  readonly keys: readonly Float32Array[];
  readonly values: readonly Float32Array[];
  readonly groupTokens: number;
}

interface Group {
  /** Entries in use. */
  length: number;
  positions: number[];
  beams: Beam[];
  seesMedia: boolean;
}

interface Beam {
  /** How many tokens it has, prefix and all; less than the group's entries where there are other beams. */
  tokens: number;
  /** Per entry whether it is the beam's own past. */
  visible: boolean[];
}

/** Entries are added in strides, so that the tensors change their shape seldom. */
const capacityStride = 16;

export class Pool {
  readonly #sizes: TensorSizes;
  readonly #beams: number;
  readonly #prefixLength: number;
  readonly #groups: Group[] = [];
  #groupCapacity = 0;
  #capacity = 0;
  #keys: Float32Array[];
  #values: Float32Array[];
  #mediaKeys: Float32Array[];
  #mediaValues: Float32Array[];

  constructor(sizes: TensorSizes, beams: number, prefixLength: number) {
    this.#sizes = sizes;
    this.#beams = beams;
    this.#prefixLength = prefixLength;
    this.#keys = Array.from({ length: sizes.layers }, () => new Float32Array(0));
    this.#values = Array.from({ length: sizes.layers }, () => new Float32Array(0));
    this.#mediaKeys = sizes.crossLayers.map(() => new Float32Array(0));
    this.#mediaValues = sizes.crossLayers.map(() => new Float32Array(0));
  }

  get groups(): number {
    return this.#groups.length;
  }

  /** The position of the beam's next token. */
  nextPosition(slot: number, beam: number): number {
    return at(this.#group(slot).beams, beam).tokens;
  }

  seesMedia(slot: number): boolean {
    return this.#group(slot).seesMedia;
  }

  /** A new group in the last slot; `media` is the one that its coming tokens see. */
  add(media: EncodedMedia | null): number {
    const slot = this.#groups.length;
    if (slot === this.#groupCapacity) this.#grow(Math.max(slot + 1, Math.ceil(slot * 1.5)), this.#capacity);
    this.#groups.push({
      length: 0,
      positions: [],
      beams: Array.from({ length: this.#beams }, () => ({ tokens: this.#prefixLength, visible: [] })),
      seesMedia: media !== null,
    });
    const width = this.#mediaWidth;
    this.#sizes.crossLayers.forEach((_, index) => {
      for (const [tensors, source] of [
        [this.#mediaKeys, media?.keys],
        [this.#mediaValues, media?.values],
      ] as const) {
        const target = at(tensors, index).subarray(slot * width, (slot + 1) * width);
        if (source === undefined) target.fill(0);
        else target.set(at(source, index));
      }
    });
    return slot;
  }

  /** The last group takes the slot. */
  remove(slot: number): void {
    const last = this.#groups.length - 1;
    const moved = this.#group(last);
    if (slot !== last) {
      this.#groups[slot] = moved;
      const own = this.#groupWidth;
      for (const tensor of [...this.#keys, ...this.#values]) tensor.copyWithin(slot * own, last * own, (last + 1) * own);
      const media = this.#mediaWidth;
      for (const tensor of [...this.#mediaKeys, ...this.#mediaValues]) tensor.copyWithin(slot * media, last * media, (last + 1) * media);
    }
    this.#groups.pop();
  }

  /**
   * Takes a run's new entries over for the group that stood at `groupInRun`: of each of its rows the first `counts` tokens, the rest being padding.
   * One row: all beams see it (the prompt, or the only beam). One row per beam: each beam sees its own.
   */
  append(slot: number, entries: NewEntries, groupInRun: number, counts: readonly number[]): void {
    const group = this.#group(slot);
    const rowLength = entries.groupTokens / counts.length;
    const total = counts.reduce((sum, count) => sum + count, 0);
    if (group.length + total > this.#capacity) {
      this.#grow(this.#groupCapacity, Math.ceil((group.length + total) / capacityStride) * capacityStride);
    }
    counts.forEach((count, row) => {
      this.#copyEntries(slot, entries, groupInRun * entries.groupTokens, row * rowLength, count);
      const owners = counts.length === 1 ? group.beams : [at(group.beams, row)];
      const first = at(owners, 0).tokens;
      for (let entry = 0; entry < count; entry++) {
        group.positions.push(first + entry);
        for (const beam of group.beams) beam.visible.push(owners.includes(beam));
      }
      for (const beam of owners) beam.tokens += count;
      group.length += count;
    });
  }

  /** Beam i goes on from what beam parents[i] has seen. */
  adopt(slot: number, parents: readonly number[]): void {
    const group = this.#group(slot);
    group.beams = parents.map((parent) => {
      const { tokens, visible } = at(group.beams, parent);
      return { tokens, visible: [...visible] };
    });
  }

  /** The graph's inputs for the groups from `from` up to `to`, with `rowsPerGroup` rows each; views, not copies. */
  inputs(from: number, to: number, rowsPerGroup: number): Record<string, InputTensor> {
    const { heads, headWidth } = this.#sizes;
    const groups = to - from;
    const capacity = this.#capacity;
    const own = this.#groupWidth;
    const inputs: Record<string, InputTensor> = {};
    const shape = [groups, heads, capacity, headWidth];
    this.#keys.forEach((key, layer) => {
      inputs[`past_key.${layer}`] = { type: "float32", data: key.subarray(from * own, to * own), shape };
      inputs[`past_value.${layer}`] = { type: "float32", data: at(this.#values, layer).subarray(from * own, to * own), shape };
    });
    const positions = new BigInt64Array(groups * capacity);
    const visible = new Uint8Array(groups * rowsPerGroup * capacity);
    for (let index = 0; index < groups; index++) {
      const group = this.#group(from + index);
      group.positions.forEach((position, entry) => (positions[index * capacity + entry] = BigInt(position)));
      for (let row = 0; row < rowsPerGroup; row++) {
        const start = (index * rowsPerGroup + row) * capacity;
        at(group.beams, row).visible.forEach((seen, entry) => (visible[start + entry] = seen ? 1 : 0));
      }
    }
    inputs["past_positions"] = { type: "int64", data: positions, shape: [groups, capacity] };
    inputs["visible"] = { type: "bool", data: visible, shape: [groups * rowsPerGroup, capacity] };
    return inputs;
  }

  /** The one media that each group's coming tokens see: (groups, cross heads, latents, 64) per layer. */
  mediaInputs(from: number, to: number): Record<string, InputTensor> {
    const { crossHeads, crossHeadWidth, latents, crossLayers } = this.#sizes;
    const width = this.#mediaWidth;
    const shape = [to - from, crossHeads, latents, crossHeadWidth];
    const inputs: Record<string, InputTensor> = {};
    crossLayers.forEach((layer, index) => {
      inputs[`media_key.${layer}`] = { type: "float32", data: at(this.#mediaKeys, index).subarray(from * width, to * width), shape };
      inputs[`media_value.${layer}`] = { type: "float32", data: at(this.#mediaValues, index).subarray(from * width, to * width), shape };
    });
    return inputs;
  }

  /** One group's entries without the spare room: per layer (heads, length, headWidth). */
  entriesOf(slot: number): { keys: Float32Array[]; values: Float32Array[]; length: number } {
    const { heads, headWidth } = this.#sizes;
    const { length } = this.#group(slot);
    const tight = (tensor: Float32Array): Float32Array => {
      const result = new Float32Array(heads * length * headWidth);
      for (let head = 0; head < heads; head++) {
        const from = (slot * heads + head) * this.#capacity * headWidth;
        result.set(tensor.subarray(from, from + length * headWidth), head * length * headWidth);
      }
      return result;
    };
    return { keys: this.#keys.map(tight), values: this.#values.map(tight), length };
  }

  /** Copies `count` tokens behind the group's entries; `groupStart` counts tokens of the run, `rowStart` tokens of the group. */
  #copyEntries(slot: number, entries: NewEntries, groupStart: number, rowStart: number, count: number): void {
    const { heads, headWidth } = this.#sizes;
    const { length } = this.#group(slot);
    for (const [targets, sources] of [
      [this.#keys, entries.keys],
      [this.#values, entries.values],
    ] as const) {
      targets.forEach((target, layer) => {
        const source = at(sources, layer);
        for (let head = 0; head < heads; head++) {
          const from = (groupStart * heads + head * entries.groupTokens + rowStart) * headWidth;
          target.set(source.subarray(from, from + count * headWidth), ((slot * heads + head) * this.#capacity + length) * headWidth);
        }
      });
    }
  }

  get #groupWidth(): number {
    return this.#sizes.heads * this.#capacity * this.#sizes.headWidth;
  }

  get #mediaWidth(): number {
    return this.#sizes.crossHeads * this.#sizes.latents * this.#sizes.crossHeadWidth;
  }

  #group(slot: number): Group {
    return at(this.#groups, slot);
  }

  #grow(groupCapacity: number, capacity: number): void {
    const { heads, headWidth } = this.#sizes;
    const before = this.#capacity;
    const moved = (tensor: Float32Array): Float32Array => {
      const result = new Float32Array(groupCapacity * heads * capacity * headWidth);
      this.#groups.forEach((group, slot) => {
        for (let head = 0; head < heads; head++) {
          const from = (slot * heads + head) * before * headWidth;
          result.set(tensor.subarray(from, from + group.length * headWidth), (slot * heads + head) * capacity * headWidth);
        }
      });
      return result;
    };
    this.#keys = this.#keys.map(moved);
    this.#values = this.#values.map(moved);
    if (groupCapacity !== this.#groupCapacity) {
      const enlarged = (tensor: Float32Array): Float32Array => {
        const result = new Float32Array(groupCapacity * this.#mediaWidth);
        result.set(tensor.subarray(0, this.#groups.length * this.#mediaWidth));
        return result;
      };
      this.#mediaKeys = this.#mediaKeys.map(enlarged);
      this.#mediaValues = this.#mediaValues.map(enlarged);
    }
    this.#groupCapacity = groupCapacity;
    this.#capacity = capacity;
  }
}

function at<Item>(items: readonly Item[], index: number): Item {
  const item = items[index];
  if (item === undefined) throw new RangeError(`no element ${index} of ${items.length}`);
  return item;
}
