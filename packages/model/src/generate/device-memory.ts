/**
 * K, V and media in a device's memory: what a run there leaves stays there, and what the next one takes is put in order there. Owns which
 * tensors each owner holds there. Refuses the order of entries (device-groups.ts).
 */
import { buildArrangementGraph, type ArrangedTensors } from "../graph/arrangement.ts";
import { encodeModel } from "../onnx/model-file.ts";
import { dispose, type KeptTensor, type Session } from "../session.ts";
import { DeviceGroups, zeroEntries, type Arranger, type Source } from "./device-groups.ts";
import { openLives } from "./lives.ts";
import type { EncodedMedia, LayerTensors, Memory, NewEntries, PoolTensors } from "./memory.ts";
import type { TensorSizes } from "./tensor-sizes.ts";

/** Rows of values in front of a prefix's own (graph/decoder.ts). */
const surplus = 1;
/** Entries are added in strides, so that the tensors change their shape seldom. */
const capacityStride = 16;

/** `open`: opens a graph on the device, all of whose outputs stay there. */
export async function openDeviceMemory(sizes: TensorSizes, open: (graph: Uint8Array) => Promise<Session>): Promise<Memory> {
  const { heads, headWidth, latents } = sizes;
  const { entries, media, noValue } = await openArrangers(sizes, open);
  const lives = openLives();
  const inPassing = (tensors: readonly KeptTensor[]): LayerTensors => {
    lives.holdForRun(tensors, () => dispose(tensors));
    return byLayer(tensors);
  };
  const none = { type: "float32", data: new Float32Array(0), shape: [heads, 0, headWidth] } as const;

  return {
    noPrefix: { key: none, value: noValue },
    openPool: () => {
      const pool = new DevicePool(new DeviceGroups(entries), new DeviceGroups(media), latents, inPassing);
      lives.hold(pool, () => pool.dispose());
      return pool;
    },
    joinMedia: async (lists) => {
      const groups = new DeviceGroups(media);
      lives.holdForRun(groups, () => groups.dispose());
      const source = mediaSources();
      lists.forEach((list, slot) => {
        groups.add();
        list.forEach((each, place) =>
          groups.put(slot, source(each), { group: 0, first: 0, entries: latents }, latentPlaces(latents, place)),
        );
      });
      return byLayer((await groups.inOrder()).tensors);
    },
    endRun: () => lives.endRun(),
    hold: (owner, { keys, values }) => lives.hold(owner, () => dispose([...keys, ...values])),
    keepOnly: (owners) => lives.keepOnly(owners),
    release: async () => {
      dispose([noValue]);
      await Promise.all([entries.session.release(), media.session.release()]);
    },
  };
}

interface Arrangers {
  readonly entries: Arranger;
  readonly media: Arranger;
  /** The rows in front of a prefix, alone. */
  readonly noValue: KeptTensor;
}

async function openArrangers(sizes: TensorSizes, open: (graph: Uint8Array) => Promise<Session>): Promise<Arrangers> {
  const { layers, heads, headWidth, crossLayers, crossHeads, crossHeadWidth, latents } = sizes;
  const opened: Session[] = [];
  const arranger = async (tensors: ArrangedTensors, stride: number): Promise<Arranger> => {
    const session = await open(encodeModel(buildArrangementGraph(tensors), ""));
    opened.push(session);
    return { ...tensors, stride, session };
  };
  try {
    const entries = await arranger({ count: 2 * layers, heads, headWidth }, capacityStride);
    const media = await arranger({ count: 2 * crossLayers.length, heads: crossHeads, headWidth: crossHeadWidth }, latents);
    const [noValue, ...others] = await zeroEntries(entries, surplus);
    dispose(others);
    // An empty one in its place would end the process at the first run.
    if (noValue === undefined) throw new Error("the rows in front of a prefix weren't made");
    return { entries, media, noValue };
  } catch (error) {
    await Promise.all(opened.map((session) => session.release()));
    throw error;
  }
}

class DevicePool implements PoolTensors {
  readonly #entries: DeviceGroups;
  readonly #media: DeviceGroups;
  readonly #latents: number;
  readonly #inPassing: (tensors: readonly KeptTensor[]) => LayerTensors;
  readonly #mediaSource = mediaSources();
  #groups = 0;
  #lastRun: { readonly made: NewEntries; readonly source: Source } | null = null;

  constructor(entries: DeviceGroups, media: DeviceGroups, latents: number, inPassing: (tensors: readonly KeptTensor[]) => LayerTensors) {
    this.#entries = entries;
    this.#media = media;
    this.#latents = latents;
    this.#inPassing = inPassing;
  }

  add(media: EncodedMedia | null): void {
    const slot = this.#groups++;
    this.#entries.add();
    this.#media.add();
    if (media === null) return;
    const from = { group: 0, first: 0, entries: this.#latents };
    this.#media.put(slot, this.#mediaSource(media), from, latentPlaces(this.#latents, 0));
  }

  remove(slot: number): void {
    this.#groups -= 1;
    this.#entries.remove(slot);
    this.#media.remove(slot);
  }

  append(slot: number, made: NewEntries, groupInRun: number, counts: readonly number[], places: readonly number[]): void {
    if (this.#lastRun?.made !== made) this.#lastRun = { made, source: { tensors: [...made.keys, ...made.values], spent: true } };
    const { source } = this.#lastRun;
    const rowLength = made.groupTokens / counts.length;
    let taken = 0;
    counts.forEach((count, row) => {
      const from = { group: groupInRun, first: row * rowLength, entries: made.groupTokens };
      this.#entries.put(slot, source, from, places.slice(taken, taken + count));
      taken += count;
    });
  }

  async entries(from: number, to: number): Promise<LayerTensors & { readonly capacity: number }> {
    const { tensors, capacity } = await this.#entries.inOrder();
    return { ...(this.#isAll(from, to) ? byLayer(tensors) : this.#inPassing(await this.#entries.copyOf(from, to))), capacity };
  }

  async media(from: number, to: number): Promise<LayerTensors> {
    const { tensors } = await this.#media.inOrder();
    return this.#isAll(from, to) ? byLayer(tensors) : this.#inPassing(await this.#media.copyOf(from, to));
  }

  async entriesOf(slot: number): Promise<LayerTensors> {
    // All tensors of an arrangement have one length: keys are taken from one, values from another.
    const tight = await this.#entries.entriesOf(slot, 0);
    try {
      const [{ keys, values: unused }, { keys: others, values }] = [byLayer(tight), byLayer(await this.#entries.entriesOf(slot, surplus))];
      dispose([...unused, ...others]);
      return { keys, values };
    } catch (error) {
      dispose(tight);
      throw error;
    }
  }

  dispose(): void {
    this.#entries.dispose();
    this.#media.dispose();
  }

  #isAll(from: number, to: number): boolean {
    return from === 0 && to === this.#groups;
  }
}

/** Of a group's media number `index`. */
function latentPlaces(latents: number, index: number): number[] {
  return Array.from({ length: latents }, (_, latent) => index * latents + latent);
}

/** One source for each media, however many groups see it. */
function mediaSources(): (media: EncodedMedia) => Source {
  const known = new WeakMap<EncodedMedia, Source>();
  return (media) => {
    const source = known.get(media) ?? { tensors: [...media.keys, ...media.values], spent: false };
    known.set(media, source);
    return source;
  };
}

/** First all keys, then all values, as the arrangements have them. */
function byLayer(tensors: readonly KeptTensor[]): LayerTensors {
  const half = tensors.length / 2;
  return { keys: tensors.slice(0, half), values: tensors.slice(half) };
}
