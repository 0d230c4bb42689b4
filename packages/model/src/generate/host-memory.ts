/**
 * K, V and media in the host's memory, as arrays that runs read in place. Owns the layout (groups, heads, capacity, headWidth) and its growth:
 * nothing else moves. Refuses tensors of other devices, and those that were given back.
 */
import type { KeptTensor, OutputTensor } from "../session.ts";
import { free, openLives, type Lives } from "./lives.ts";
import type { EncodedMedia, LayerTensors, Memory, NewEntries, PoolTensors } from "./memory.ts";
import type { TensorSizes } from "./tensor-sizes.ts";

export function hostMemory(sizes: TensorSizes): Memory {
  const none = { type: "float32", data: new Float32Array(0), shape: [sizes.heads, 0, sizes.headWidth] } as const;
  const lives = openLives();
  return {
    noPrefix: { key: none, value: none },
    openPool: () => {
      const pool = new HostPool(sizes, lives);
      lives.hold(pool, () => pool.giveBack());
      return pool;
    },
    joinMedia: (media) => {
      const joined = joinMedia(media, sizes);
      lives.holdForRun(joined, () => giveBack(joined));
      return Promise.resolve(joined);
    },
    endRun: () => lives.endRun(),
    hold: (owner, tensors) => lives.hold(owner, () => giveBack(tensors)),
    keepOnly: (owners) => lives.keepOnly(owners),
    release: () => Promise.resolve(),
  };
}

function giveBack({ keys, values }: LayerTensors): void {
  for (const tensor of [...keys, ...values]) if (tensor.type === "float32") free(tensor.data);
}

/** Entries are added in strides, so that the tensors change their shape seldom. */
const capacityStride = 16;

class HostPool implements PoolTensors {
  readonly #sizes: TensorSizes;
  readonly #lives: Lives;
  /** Places that have held an entry, by slot. */
  readonly #lengths: number[] = [];
  #groupCapacity = 0;
  #capacity = 0;
  #keys: Float32Array[];
  #values: Float32Array[];
  #mediaKeys: Float32Array[];
  #mediaValues: Float32Array[];

  constructor(sizes: TensorSizes, lives: Lives) {
    this.#sizes = sizes;
    this.#lives = lives;
    this.#keys = Array.from({ length: sizes.layers }, () => new Float32Array(0));
    this.#values = Array.from({ length: sizes.layers }, () => new Float32Array(0));
    this.#mediaKeys = sizes.crossLayers.map(() => new Float32Array(0));
    this.#mediaValues = sizes.crossLayers.map(() => new Float32Array(0));
  }

  add(media: EncodedMedia | null): void {
    const slot = this.#lengths.length;
    if (slot === this.#groupCapacity) this.#grow(Math.max(slot + 1, Math.ceil(slot * 1.5)), this.#capacity);
    this.#lengths.push(0);
    const width = this.#mediaWidth;
    this.#sizes.crossLayers.forEach((_, index) => {
      for (const [tensors, source] of [
        [this.#mediaKeys, media?.keys],
        [this.#mediaValues, media?.values],
      ] as const) {
        const target = at(tensors, index).subarray(slot * width, (slot + 1) * width);
        if (source === undefined) target.fill(0);
        else target.set(numbers(at(source, index)));
      }
    });
  }

  remove(slot: number): void {
    const last = this.#lengths.length - 1;
    if (slot !== last) {
      this.#lengths[slot] = at(this.#lengths, last);
      const own = this.#groupWidth;
      for (const tensor of [...this.#keys, ...this.#values]) tensor.copyWithin(slot * own, last * own, (last + 1) * own);
      const media = this.#mediaWidth;
      for (const tensor of [...this.#mediaKeys, ...this.#mediaValues]) tensor.copyWithin(slot * media, last * media, (last + 1) * media);
    }
    this.#lengths.pop();
  }

  append(slot: number, entries: NewEntries, groupInRun: number, counts: readonly number[], places: readonly number[]): void {
    this.#lives.holdForRun(entries, () => giveBack(entries));
    const rowLength = entries.groupTokens / counts.length;
    const length = Math.max(at(this.#lengths, slot), Math.max(-1, ...places) + 1);
    if (length > this.#capacity) this.#grow(this.#groupCapacity, Math.ceil(length / capacityStride) * capacityStride);
    let taken = 0;
    counts.forEach((count, row) => {
      const own = places.slice(taken, taken + count);
      for (const { first, place, length: run } of runsOf(own)) {
        this.#copyEntries(slot, place, entries, groupInRun * entries.groupTokens, row * rowLength + first, run);
      }
      taken += count;
    });
    this.#lengths[slot] = length;
  }

  /** Views, not copies. */
  entries(from: number, to: number): Promise<LayerTensors & { readonly capacity: number }> {
    const { heads, headWidth } = this.#sizes;
    const own = this.#groupWidth;
    const shape = [to - from, heads, this.#capacity, headWidth];
    const view = (tensor: Float32Array): OutputTensor => ({ type: "float32", data: tensor.subarray(from * own, to * own), shape });
    return Promise.resolve({ keys: this.#keys.map(view), values: this.#values.map(view), capacity: this.#capacity });
  }

  media(from: number, to: number): Promise<LayerTensors> {
    const { crossHeads, crossHeadWidth, latents } = this.#sizes;
    const width = this.#mediaWidth;
    const shape = [to - from, crossHeads, latents, crossHeadWidth];
    const view = (tensor: Float32Array): OutputTensor => ({ type: "float32", data: tensor.subarray(from * width, to * width), shape });
    return Promise.resolve({ keys: this.#mediaKeys.map(view), values: this.#mediaValues.map(view) });
  }

  entriesOf(slot: number): Promise<LayerTensors> {
    const { heads, headWidth } = this.#sizes;
    const length = at(this.#lengths, slot);
    const tight = (tensor: Float32Array): OutputTensor => {
      const data = new Float32Array(heads * length * headWidth);
      for (let head = 0; head < heads; head++) {
        const from = (slot * heads + head) * this.#capacity * headWidth;
        data.set(tensor.subarray(from, from + length * headWidth), head * length * headWidth);
      }
      return { type: "float32", data, shape: [heads, length, headWidth] };
    };
    return Promise.resolve({ keys: this.#keys.map(tight), values: this.#values.map(tight) });
  }

  giveBack(): void {
    for (const tensor of [...this.#keys, ...this.#values, ...this.#mediaKeys, ...this.#mediaValues]) free(tensor);
  }

  /** Copies `count` tokens to the group's places from `place` on; `groupStart` counts tokens of the run, `rowStart` tokens of the group. */
  #copyEntries(slot: number, place: number, entries: NewEntries, groupStart: number, rowStart: number, count: number): void {
    const { heads, headWidth } = this.#sizes;
    for (const [targets, sources] of [
      [this.#keys, entries.keys],
      [this.#values, entries.values],
    ] as const) {
      targets.forEach((target, layer) => {
        const source = numbers(at(sources, layer));
        for (let head = 0; head < heads; head++) {
          const from = (groupStart * heads + head * entries.groupTokens + rowStart) * headWidth;
          target.set(source.subarray(from, from + count * headWidth), ((slot * heads + head) * this.#capacity + place) * headWidth);
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

  #grow(groupCapacity: number, capacity: number): void {
    const { heads, headWidth } = this.#sizes;
    const before = this.#capacity;
    const moved = (tensor: Float32Array): Float32Array => {
      const result = new Float32Array(groupCapacity * heads * capacity * headWidth);
      this.#lengths.forEach((length, slot) => {
        for (let head = 0; head < heads; head++) {
          const from = (slot * heads + head) * before * headWidth;
          result.set(tensor.subarray(from, from + length * headWidth), (slot * heads + head) * capacity * headWidth);
        }
      });
      free(tensor);
      return result;
    };
    this.#keys = this.#keys.map(moved);
    this.#values = this.#values.map(moved);
    if (groupCapacity !== this.#groupCapacity) {
      const enlarged = (tensor: Float32Array): Float32Array => {
        const result = new Float32Array(groupCapacity * this.#mediaWidth);
        result.set(tensor.subarray(0, this.#lengths.length * this.#mediaWidth));
        free(tensor);
        return result;
      };
      this.#mediaKeys = this.#mediaKeys.map(enlarged);
      this.#mediaValues = this.#mediaValues.map(enlarged);
    }
    this.#groupCapacity = groupCapacity;
    this.#capacity = capacity;
  }
}

/** Neighbouring places, which are copied at once: from `first` among the given ones. */
function runsOf(places: readonly number[]): { readonly first: number; readonly place: number; readonly length: number }[] {
  const runs: { first: number; place: number; length: number }[] = [];
  for (const [first, place] of places.entries()) {
    const run = runs.at(-1);
    if (run !== undefined && run.place + run.length === place) run.length += 1;
    else runs.push({ first, place, length: 1 });
  }
  return runs;
}

function joinMedia(
  media: readonly (readonly EncodedMedia[])[],
  { crossLayers, crossHeads, crossHeadWidth, latents }: TensorSizes,
): LayerTensors {
  const most = Math.max(1, ...media.map((list) => list.length));
  const shape = [media.length, crossHeads, most * latents, crossHeadWidth];
  const headLength = latents * crossHeadWidth;
  const joined = (index: number, part: "keys" | "values"): OutputTensor => {
    const data = new Float32Array(media.length * crossHeads * most * headLength);
    media.forEach((list, group) => {
      list.forEach((encoded, place) => {
        const source = numbers(at(encoded[part], index));
        for (let head = 0; head < crossHeads; head++) {
          data.set(source.subarray(head * headLength, (head + 1) * headLength), ((group * crossHeads + head) * most + place) * headLength);
        }
      });
    });
    return { type: "float32", data, shape };
  };
  return { keys: crossLayers.map((_, index) => joined(index, "keys")), values: crossLayers.map((_, index) => joined(index, "values")) };
}

function numbers(tensor: KeptTensor): Float32Array {
  if (tensor.type === "device") throw new Error("the tensor lies on a device, and this memory is the host's");
  // It would be read as zeros, or leave what another row wrote.
  if (tensor.data.buffer instanceof ArrayBuffer && tensor.data.buffer.detached) throw new Error("the tensor was given back already");
  return tensor.data;
}

function at<Item>(items: readonly Item[], index: number): Item {
  const item = items[index];
  if (item === undefined) throw new RangeError(`no element ${index} of ${items.length}`);
  return item;
}
