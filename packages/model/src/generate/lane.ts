/**
 * Rows that run together: one prefix, one number of beams. Owns which row stands in which slot of the pool, from joining to leaving;
 * refuses to decide when anything runs.
 */
import { free } from "./lives.ts";
import type { ComputedPrefix, EncodedMedia, Memory } from "./memory.ts";
import type { HashedMedia, PrefixPlan, TokenisedPassage } from "./passage.ts";
import { Pool } from "./pool.ts";
import type { ForwardRequest, Runner } from "./runner.ts";
import type { Answer, Search } from "./search.ts";
import type { TensorSizes } from "./tensor-sizes.ts";

/** A row from its request to its answer. */
export interface Row {
  readonly id: string;
  readonly lane: string;
  readonly prefix: PrefixPlan | null;
  readonly passage: TokenisedPassage;
  readonly search: Search;
  /** Entries of K and V it will have at its end. */
  readonly entries: number;
  /** Beside passage.media; null: not encoded yet. */
  readonly encoded: (EncodedMedia | null)[];
  readonly signal: AbortSignal | undefined;
  readonly resolve: (answers: readonly Answer[]) => void;
  readonly reject: (reason: unknown) => void;
}

interface Seat {
  readonly row: Row;
  readonly media: readonly EncodedMedia[];
  readonly sees: readonly (number | null)[];
  /** Tokens of the prompt that have been read. */
  read: number;
  /** Per beam the tokens that it reads next. */
  chosen: readonly (readonly number[])[];
}

export interface Ended {
  readonly row: Row;
  readonly answers: readonly Answer[];
}

/** Tokens of prompts in one run: enough to fill the cores, little enough to keep the scores small. */
const readTokensPerRun = 512;
/** Of a prefix: alone in its run it fills the cores with fewer, and a run's new K and V and the images that it sees take memory by its tokens. */
const prefixTokensPerRun = 128;

export class Lane {
  readonly key: string;
  readonly beams: number;
  readonly #prefix: ComputedPrefix | null;
  readonly #pool: Pool;
  readonly #seats: Seat[] = [];
  readonly #vocabulary: number;

  constructor(key: string, beams: number, prefix: ComputedPrefix | null, sizes: TensorSizes, memory: Memory) {
    this.key = key;
    this.beams = beams;
    this.#prefix = prefix;
    this.#pool = new Pool(memory, beams, prefix?.length ?? 0);
    this.#vocabulary = sizes.vocabulary;
  }

  get groups(): number {
    return this.#seats.length;
  }

  get reading(): number {
    return this.#seats.filter(isReading).length;
  }

  get longest(): number {
    return this.#seats.reduce((most, { row }) => Math.max(most, row.entries), 0);
  }

  get rows(): readonly Row[] {
    return this.#seats.map(({ row }) => row);
  }

  /** Owners of the tensors that it may still run with. */
  get owners(): readonly object[] {
    return [this.#pool.tensors, ...ownersOf(this.#prefix), ...this.#seats.flatMap(({ media }) => media)];
  }

  /** Every media of the row must be encoded. */
  join(row: Row): void {
    const own = row.encoded.filter((encoded) => encoded !== null);
    const before = this.#prefix?.lastMedia ?? null;
    // Text before the row's first <image> goes on seeing the prefix's last media.
    const inherits = before !== null && row.passage.sees.includes(null);
    const media = inherits ? [before, ...own] : own;
    const sees = inherits ? row.passage.sees.map((index) => (index === null ? 0 : index + 1)) : row.passage.sees;
    this.#pool.add(media.at(-1) ?? null);
    this.#seats.push({ row, media, sees, read: 0, chosen: [] });
  }

  leave(row: Row): void {
    const slot = this.#seats.findIndex((seat) => seat.row === row);
    if (slot !== -1) this.#vacate(slot);
  }

  /** Reads the next piece of every prompt that isn't read to its end. */
  async readPrompts(runner: Runner): Promise<Ended[]> {
    const from = this.#seats.findIndex(isReading);
    const seats = this.#seats.slice(from);
    const piece = Math.max(1, Math.floor(readTokensPerRun / seats.length));
    const rows = seats.map(({ row, sees, read }) => ({
      tokens: row.passage.tokens.slice(read, read + piece),
      sees: sees.slice(read, read + piece),
    }));
    // The pool holds each group's last media, so with one media each nothing has to be gathered.
    const media = seats.every((seat) => seat.media.length <= 1) ? null : seats.map((seat) => seat.media);
    const logits = await runner.forward({ ...this.#request(from), rowsPerGroup: 1, rows, media, logits: "last" });
    const advanced = seats.filter(isReading);
    for (const seat of advanced) seat.read = Math.min(seat.read + piece, seat.row.passage.tokens.length);
    const ended = this.#choose(
      advanced.map((seat, index) => ({ seat, logits: this.#rowsOf(logits, index, 1) })).filter(({ seat }) => !isReading(seat)),
    );
    free(logits);
    return ended;
  }

  /** Every beam of every row reads what was chosen for it, mostly one token. */
  async decode(runner: Runner): Promise<Ended[]> {
    const seats = [...this.#seats];
    const rows = seats.flatMap(({ chosen }, slot) =>
      chosen.map((tokens) => ({ tokens, sees: tokens.map(() => (this.#pool.seesMedia(slot) ? 0 : null)) })),
    );
    const logits = await runner.forward({ ...this.#request(0), rowsPerGroup: this.beams, rows, media: null, logits: "all" });
    let position = 0;
    const ended = this.#choose(
      seats.map((seat) => {
        const positions = seat.chosen.reduce((sum, tokens) => sum + tokens.length, 0);
        position += positions;
        return { seat, logits: this.#rowsOf(logits, position - positions, positions) };
      }),
    );
    free(logits);
    return ended;
  }

  #request(from: number): Pick<ForwardRequest, "prefix" | "pool" | "from" | "to"> {
    return { prefix: this.#prefix, pool: this.#pool, from, to: this.#seats.length };
  }

  #rowsOf(logits: Float32Array, row: number, count: number): Float32Array {
    return logits.subarray(row * this.#vocabulary, (row + count) * this.#vocabulary);
  }

  #choose(answers: readonly { readonly seat: Seat; readonly logits: Float32Array }[]): Ended[] {
    const ended: Ended[] = [];
    for (const { seat, logits } of answers) {
      const next = seat.row.search.next(logits);
      if (next.kind === "step") {
        seat.chosen = next.step.tokens;
        if (this.beams > 1) this.#pool.adopt(this.#seats.indexOf(seat), next.step.parents);
      } else {
        ended.push({ row: seat.row, answers: next.answers });
      }
    }
    for (const { row } of ended) this.leave(row);
    return ended;
  }

  #vacate(slot: number): void {
    this.#pool.remove(slot);
    const last = this.#seats.pop();
    if (last !== undefined && slot < this.#seats.length) this.#seats[slot] = last;
  }
}

function isReading(seat: Seat): boolean {
  return seat.read < seat.row.passage.tokens.length;
}

/** A prefix and its last media, which rows without one of their own see. */
export function ownersOf(prefix: ComputedPrefix | null): readonly object[] {
  return prefix === null ? [] : [prefix, ...(prefix.lastMedia === null ? [] : [prefix.lastMedia])];
}

/** A prefix being computed, piece by piece, as a lane of one row without answer. */
export class PrefixReading {
  readonly plan: PrefixPlan;
  readonly encoded: (EncodedMedia | null)[];
  readonly #pool: Pool;
  readonly #sizes: TensorSizes;
  readonly #memory: Memory;
  #read = 0;

  constructor(plan: PrefixPlan, sizes: TensorSizes, memory: Memory) {
    this.plan = plan;
    this.encoded = plan.media.map(() => null);
    this.#sizes = sizes;
    this.#memory = memory;
    this.#pool = new Pool(memory, 1, 0);
    this.#pool.add(null);
  }

  /** Owners of the tensors that it may still run with: images of pieces that are read may go. */
  get owners(): readonly object[] {
    const { firstSeen } = this.#piece();
    return [this.#pool.tensors, ...this.encoded.slice(firstSeen).filter((encoded) => encoded !== null)];
  }

  /** The next image that the coming piece sees and that isn't encoded. */
  get lacking(): HashedMedia | null {
    const { firstSeen, lastSeen } = this.#piece();
    return this.plan.media.slice(firstSeen, lastSeen + 1).find((_, index) => this.encoded[firstSeen + index] === null) ?? null;
  }

  /** Answers the prefix when it is read to its end. */
  async readOn(runner: Runner): Promise<ComputedPrefix | null> {
    const { until, firstSeen, lastSeen } = this.#piece();
    const sees = this.plan.sees.slice(this.#read, until).map((index) => (index === null ? null : index - firstSeen));
    const rows = [{ tokens: this.plan.tokens.slice(this.#read, until), sees }];
    const media = this.encoded.slice(firstSeen, lastSeen + 1).filter((encoded) => encoded !== null);
    await runner.forward({ prefix: null, pool: this.#pool, from: 0, to: 1, rowsPerGroup: 1, rows, media: [media], logits: "none" });
    this.#read = until;
    if (until < this.plan.tokens.length) return null;
    const entries = await this.#pool.entriesOf(0);
    const prefix = { ...entries, lastMedia: media.at(-1) ?? null, sizeBytes: entries.length * this.#sizes.tokenBytes };
    this.#memory.hold(prefix, prefix);
    return prefix;
  }

  /** The tokens that are read next, up to `until`, and which images they see: those from their first to their last, for tokens see images in order. */
  #piece(): { readonly until: number; readonly firstSeen: number; readonly lastSeen: number } {
    const until = Math.min(this.#read + prefixTokensPerRun, this.plan.tokens.length);
    const seen = this.plan.sees.slice(this.#read, until).filter((index) => index !== null);
    return { until, firstSeen: seen[0] ?? 0, lastSeen: seen.at(-1) ?? -1 };
  }
}
