/**
 * What a lane's rows have read and made so far, as the decoder graph takes it. Owns the bookkeeping of groups: which entries stand at which positions and
 * whose past each is. Refuses to know prompts and tokens, and where K and V lie (memory.ts). Beams of a group share its entries; `visible` tells each
 * which are its own past, so a beam that changes its parent copies some bytes of visibility and no cache.
 */
import type { InputTensor } from "../session.ts";
import type { EncodedMedia, LayerTensors, Memory, NewEntries, PoolTensors } from "./memory.ts";

interface Group {
  /** Of its entries, by place. */
  positions: number[];
  beams: Beam[];
  seesMedia: boolean;
}

interface Beam {
  /** How many tokens it has, prefix and all; less than the group's entries where there are other beams. */
  tokens: number;
  /** Per place whether its entry is the beam's own past. */
  visible: boolean[];
}

export class Pool {
  readonly tensors: PoolTensors;
  readonly #beams: number;
  readonly #prefixLength: number;
  readonly #groups: Group[] = [];

  constructor(memory: Memory, beams: number, prefixLength: number) {
    this.tensors = memory.openPool();
    this.#beams = beams;
    this.#prefixLength = prefixLength;
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
    this.#groups.push({
      positions: [],
      beams: Array.from({ length: this.#beams }, () => ({ tokens: this.#prefixLength, visible: [] })),
      seesMedia: media !== null,
    });
    this.tensors.add(media);
    return this.#groups.length - 1;
  }

  /** The last group takes the slot. */
  remove(slot: number): void {
    const last = this.#groups.length - 1;
    this.#groups[slot] = this.#group(last);
    this.#groups.pop();
    this.tensors.remove(slot);
  }

  /**
   * Takes a run's new entries over for the group that stood at `groupInRun`: of each of its rows the first `counts` tokens, the rest being padding.
   * One row: all beams see it (the prompt, or the only beam). One row per beam: each beam sees its own.
   */
  append(slot: number, entries: NewEntries, groupInRun: number, counts: readonly number[]): void {
    const group = this.#group(slot);
    const total = counts.reduce((sum, count) => sum + count, 0);
    const places = placesFor(group, total);
    this.tensors.append(slot, entries, groupInRun, counts, places);
    let taken = 0;
    counts.forEach((count, row) => {
      const owners = counts.length === 1 ? group.beams : [at(group.beams, row)];
      const first = at(owners, 0).tokens;
      for (let entry = 0; entry < count; entry++) {
        const place = at(places, taken++);
        group.positions[place] = first + entry;
        for (const beam of group.beams) beam.visible[place] = owners.includes(beam);
      }
      for (const beam of owners) beam.tokens += count;
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

  /** The graph's inputs for the groups from `from` up to `to`, with `rowsPerGroup` rows each. */
  async inputs(from: number, to: number, rowsPerGroup: number): Promise<Record<string, InputTensor>> {
    const groups = to - from;
    const { keys, values, capacity } = await this.tensors.entries(from, to);
    const inputs: Record<string, InputTensor> = {};
    keys.forEach((key, layer) => {
      inputs[`past_key.${layer}`] = key;
      inputs[`past_value.${layer}`] = at(values, layer);
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

  /** One group's entries without the spare room: per layer (heads, length, headWidth). */
  async entriesOf(slot: number): Promise<LayerTensors & { readonly length: number }> {
    return { ...(await this.tensors.entriesOf(slot)), length: this.#group(slot).positions.length };
  }

  #group(slot: number): Group {
    return at(this.#groups, slot);
  }
}

/** The first places whose entries are no beam's past any more, then new ones: where beams end, a group needs no more room for them. */
function placesFor({ positions, beams }: Group, count: number): number[] {
  const places: number[] = [];
  for (let place = 0; places.length < count; place++) {
    if (place >= positions.length || beams.every(({ visible }) => visible[place] !== true)) places.push(place);
  }
  return places;
}

function at<Item>(items: readonly Item[], index: number): Item {
  const item = items[index];
  if (item === undefined) throw new RangeError(`no element ${index} of ${items.length}`);
  return item;
}
