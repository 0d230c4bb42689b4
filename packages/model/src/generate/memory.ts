/**
 * Where K, V and media lie between runs: what host-memory.ts and device-memory.ts implement. Owns the interface; refuses bookkeeping: which entry is
 * whose past, and at which position, is the pool's.
 */
import type { KeptTensor } from "../session.ts";

/** Tensors by layer. */
export interface LayerTensors {
  readonly keys: readonly KeptTensor[];
  readonly values: readonly KeptTensor[];
}

/** What a media is for the decoder: per cross-attending layer (1, cross heads, latents, 64). */
export interface EncodedMedia extends LayerTensors {
  readonly sizeBytes: number;
}

/** A computed prefix: per layer (heads, length, headWidth), and the media that a token right after it sees. */
export interface ComputedPrefix extends LayerTensors {
  readonly length: number;
  readonly lastMedia: EncodedMedia | null;
  readonly sizeBytes: number;
}

/** The new K and V of a run: per layer (groups, heads, group tokens, headWidth). Whoever they are appended to disposes them. */
export interface NewEntries extends LayerTensors {
  readonly groupTokens: number;
}

/** The tensors of one pool. Groups stand in slots: one joins at the end, and when one leaves the last takes its slot. */
export interface PoolTensors {
  /** A new group without entries, and the media that its coming tokens see. */
  add(media: EncodedMedia | null): void;
  remove(slot: number): void;
  /** Of the group that stood at `groupInRun`: of each of its rows the first `counts` tokens, row after row, each at its place among the slot's entries: a free one, or the next. */
  append(slot: number, entries: NewEntries, groupInRun: number, counts: readonly number[], places: readonly number[]): void;
  /** Of the groups from `from` up to `to`: (groups, heads, capacity, headWidth). */
  entries(from: number, to: number): Promise<LayerTensors & { readonly capacity: number }>;
  /** Of the same groups: (groups, cross heads, latents, 64). */
  media(from: number, to: number): Promise<LayerTensors>;
  /** One group's entries as a prefix, to stay: (heads, length, headWidth), of values as many rows more as `noPrefix` has. */
  entriesOf(slot: number): Promise<LayerTensors>;
}

export interface Memory {
  /** What stands for a prefix where there is none, in every layer: (heads, 0, headWidth), and of values as many rows as the memory's device needs. */
  readonly noPrefix: { readonly key: KeptTensor; readonly value: KeptTensor };
  openPool(): PoolTensors;
  /** Several media per group, one behind the other along the latents, zeros behind the last: (groups, cross heads, media · latents, 64). */
  joinMedia(media: readonly (readonly EncodedMedia[])[]): Promise<LayerTensors>;
  /** What was made for one run only may go. */
  endRun(): void;
  /** These tensors live as long as their owner does. */
  hold(owner: object, tensors: LayerTensors): void;
  /** Disposes what no owner of these (held ones, and pools' tensors) needs any more. */
  keepOnly(owners: Iterable<object>): void;
  release(): Promise<void>;
}
