/**
 * Groups of entries in a device's memory, as tensors (groups, heads, capacity, headWidth). Owns where each entry lies: appending and removing only note it,
 * and one gather puts all in order when the tensors are next asked for. Refuses to know what the entries are, and lets none pass through the host.
 */
import type { ArrangedTensors } from "../graph/arrangement.ts";
import { dispose, type InputTensor, type KeptTensor, type Session } from "../session.ts";

/** Opened on the graph of these tensors (graph/arrangement.ts). */
export interface Arranger extends ArrangedTensors {
  readonly session: Session;
  /** The capacity is a multiple of it, so that the tensors change their shape seldom; and never 0. */
  readonly stride: number;
}

/** Tensors that entries are taken from. */
export interface Source {
  readonly tensors: readonly KeptTensor[];
  /** Whether nobody needs them once their entries are taken over. */
  readonly spent: boolean;
}

/** An entry: its row of the first head among its source's rows, and how many rows on the next head's lies. */
interface Place {
  readonly source: Source | null;
  readonly start: number;
  readonly step: number;
}

export class DeviceGroups {
  readonly #arranger: Arranger;
  /** By slot, its entries in order; source null: the tensors in order. */
  #slots: Place[][] = [];
  readonly #sources = new Set<Source>();
  #ordered: { readonly tensors: readonly KeptTensor[]; readonly groups: number; readonly capacity: number } | null = null;
  #stale = false;

  constructor(arranger: Arranger) {
    this.#arranger = arranger;
  }

  add(): void {
    this.#slots.push([]);
    this.#stale = true;
  }

  /** The last group takes the slot. */
  remove(slot: number): void {
    const removed = this.#slot(slot);
    const last = this.#slots.pop();
    if (last !== undefined && last !== removed) this.#slots[slot] = last;
    this.#stale = true;
  }

  /** Entries of the source's group `group`, from its entry `first` on, each to its place in the slot: one of those there, or the next; the source has `entries` of them in a group. */
  put(
    slot: number,
    source: Source,
    from: { readonly group: number; readonly first: number; readonly entries: number },
    places: readonly number[],
  ): void {
    const own = this.#slot(slot);
    this.#sources.add(source);
    const start = from.group * this.#arranger.heads * from.entries + from.first;
    for (const [entry, place] of places.entries()) own[place] = { source, start: start + entry, step: from.entries };
    this.#stale = true;
  }

  /** All groups: (groups, heads, capacity, headWidth), until the next call. */
  async inOrder(): Promise<{ readonly tensors: readonly KeptTensor[]; readonly capacity: number }> {
    if (this.#ordered !== null && !this.#stale) return this.#ordered;
    const used = [...this.#sources].filter((source) => this.#slots.some((places) => places.some((place) => place.source === source)));
    for (const source of used.length === 0 ? [null] : used) await this.#takeOver(source);
    for (const source of this.#sources) if (source.spent) dispose(source.tensors);
    this.#sources.clear();
    this.#stale = false;
    return this.#ordered ?? { tensors: [], capacity: 0 };
  }

  /** The groups from `from` up to `to`, as tensors of their own: (groups, heads, capacity, headWidth). */
  async copyOf(from: number, to: number): Promise<readonly KeptTensor[]> {
    const { tensors, capacity } = await this.inOrder();
    const places = this.#slots.slice(from, to);
    const shape = [to - from, this.#arranger.heads, capacity, this.#arranger.headWidth];
    return arrange(this.#arranger, tensors, [], places, capacity, shape);
  }

  /** One group's entries behind `zeros` rows of zeros: (heads, zeros + length, headWidth). */
  async entriesOf(slot: number, zeros: number): Promise<readonly KeptTensor[]> {
    const { tensors } = await this.inOrder();
    const places = [...Array.from({ length: zeros }, () => null), ...this.#slot(slot)];
    return arrange(this.#arranger, tensors, [], [places], places.length, [this.#arranger.heads, places.length, this.#arranger.headWidth]);
  }

  dispose(): void {
    for (const source of this.#sources) if (source.spent) dispose(source.tensors);
    dispose(this.#ordered?.tensors ?? []);
    this.#sources.clear();
    this.#ordered = null;
    this.#slots = [];
  }

  #slot(slot: number): Place[] {
    const own = this.#slots[slot];
    if (own === undefined) throw new RangeError(`no slot ${slot} of ${this.#slots.length}`);
    return own;
  }

  /** The tensors in order anew, with the source's entries among them; those of later sources are zeros yet. */
  async #takeOver(source: Source | null): Promise<void> {
    const { heads, headWidth, stride } = this.#arranger;
    const longest = Math.max(1, ...this.#slots.map(({ length }) => length));
    const capacity = Math.ceil(longest / stride) * stride;
    const groups = this.#slots.length;
    const before = this.#ordered;
    const keptRows = before === null ? 0 : before.groups * heads * before.capacity;
    const taken = (place: Place): boolean => place.source === null || place.source === source;
    const places = this.#slots.map((slot) =>
      slot.map((place) => (taken(place) ? { ...place, start: place.start + (place.source === null ? 0 : keptRows) } : null)),
    );
    const shape = [groups, heads, capacity, headWidth];
    const tensors = await arrange(this.#arranger, before?.tensors ?? [], source?.tensors ?? [], places, capacity, shape);
    this.#slots = this.#slots.map((slot, group) =>
      slot.map((place, entry) => (taken(place) ? { source: null, start: group * heads * capacity + entry, step: capacity } : place)),
    );
    this.#ordered = { tensors, groups, capacity };
    dispose(before?.tensors ?? []);
  }
}

/** What no entry has filled: (heads, entries, headWidth). */
export async function zeroEntries(arranger: Arranger, entries: number): Promise<readonly KeptTensor[]> {
  const places = [Array.from({ length: entries }, () => null)];
  return arrange(arranger, [], [], places, entries, [arranger.heads, entries, arranger.headWidth]);
}

async function arrange(
  { session, count, heads, headWidth }: Arranger,
  kept: readonly KeptTensor[],
  added: readonly KeptTensor[],
  places: readonly (readonly (Omit<Place, "source"> | null)[])[],
  entries: number,
  shape: readonly number[],
): Promise<readonly KeptTensor[]> {
  // Row 0 is the row of zeros: for every head where the step is 0.
  const start = new Int32Array(places.length * entries);
  const step = new Int32Array(places.length * entries);
  places.forEach((group, index) => {
    group.forEach((place, entry) => {
      if (place === null) return;
      start[index * entries + entry] = 1 + place.start;
      step[index * entries + entry] = place.step;
    });
  });
  const axes = [places.length, 1, entries];
  const none = { type: "float32", data: new Float32Array(0), shape: [0, heads, 0, headWidth] } as const;
  const inputs: Record<string, InputTensor> = {
    start: { type: "int32", data: start, shape: axes },
    step: { type: "int32", data: step, shape: axes },
    shape: { type: "int64", data: BigInt64Array.from(shape, BigInt), shape: [shape.length] },
  };
  const names = Array.from({ length: count }, (_, index) => `arranged.${index}`);
  names.forEach((_, index) => {
    inputs[`kept.${index}`] = kept[index] ?? none;
    inputs[`added.${index}`] = added[index] ?? none;
  });
  const results = await session.run(inputs, [], names);
  const tensors = names.flatMap((name) => results[name] ?? []);
  if (tensors.length < count) {
    dispose(tensors);
    throw new Error(`an arrangement gave ${tensors.length} of ${count} tensors`);
  }
  return tensors;
}
