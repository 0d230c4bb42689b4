/**
 * The one loop: schedule → run → hand out. Owns rows from submission to answer, the caches and the figures; refuses tensors (runner) and order (scheduler).
 * Between two runs it yields to the event loop, so that rows can come, and be given up, while others run.
 */
import { setImmediate } from "node:timers/promises";
import { CodedError } from "@flamboyance/contracts";
import type { ModelStats } from "../model.ts";
import { BoundedCache } from "./bounded-cache.ts";
import { Lane, ownersOf, PrefixReading, type Ended, type Row } from "./lane.ts";
import type { ComputedPrefix, EncodedMedia, Memory } from "./memory.ts";
import type { HashedMedia } from "./passage.ts";
import type { Runner } from "./runner.ts";
import { schedule, type Action, type Budget } from "./scheduler.ts";
import type { TensorSizes } from "./tensor-sizes.ts";

export interface Loop {
  submit(row: Row): void;
  stats(): ModelStats;
  /** Gives up every row with `aborted`; resolves when the run in progress is over. */
  close(): Promise<void>;
}

export interface LoopParts {
  readonly runner: Runner;
  readonly memory: Memory;
  readonly sizes: TensorSizes;
  readonly budget: Budget;
  readonly maxMediaBytes: number;
  readonly maxPrefixBytes: number;
  /** Milliseconds that sessions have run since the loop was made; what is above it is the host's. */
  readonly runMs: () => number;
}

export function createLoop({ runner, memory, sizes, budget, maxMediaBytes, maxPrefixBytes, runMs }: LoopParts): Loop {
  const lanes = new Map<string, Lane>();
  const readings = new Map<string, PrefixReading>();
  const media = new BoundedCache<EncodedMedia>(maxMediaBytes);
  const prefixes = new BoundedCache<ComputedPrefix>(maxPrefixBytes);
  const count = { started: 0, ended: 0, cancelled: 0, newTokens: 0, steps: 0, encoded: 0, prefixesRead: 0, prefixUses: 0 };
  const rowsPerStep: Record<number, number> = {};
  const milliseconds = { vision: 0, prefill: 0, decode: 0, host: 0 };
  let waiting: Row[] = [];
  let lastDecoded: string | null = null;
  let closed = false;
  let driving: Promise<void> | null = null;

  const submit = (row: Row): void => {
    if (closed) return row.reject(new CodedError("aborted", "the model is closed"));
    count.started += 1;
    recall(row.passage.media, row.encoded);
    waiting.push(row);
    driving ??= drive();
  };

  const drive = async (): Promise<void> => {
    // Rows of the same turn are submitted one after the other: let them come before the first decision.
    await setImmediate();
    for (;;) {
      try {
        sweepCancelled();
        const action = schedule(view(), budget);
        if (action.kind === "idle") break;
        await timed(action);
        memory.keepOnly(owners());
      } catch (error) {
        giveUp(error instanceof CodedError ? error : new CodedError("engine_failed", `a run failed: ${String(error)}`, { cause: error }));
      }
      await setImmediate();
    }
    readings.clear();
    memory.keepOnly(owners());
    // In the same breath as the decision to end: a row that comes after it starts the loop anew, one that came before was seen.
    driving = null;
  };

  /** Of all tensors that a coming run may take. */
  function* owners(): Generator<object> {
    for (const row of waiting) for (const encoded of row.encoded) if (encoded !== null) yield encoded;
    for (const each of [...lanes.values(), ...readings.values()]) yield* each.owners;
    for (const prefix of prefixes.values()) yield* ownersOf(prefix);
    yield* media.values();
  }

  const timed = async (action: Action): Promise<void> => {
    const started = performance.now();
    const ranBefore = runMs();
    await act(action);
    const ran = runMs() - ranBefore;
    const stage = action.kind === "encode" ? "vision" : action.kind === "decode" ? "decode" : "prefill";
    milliseconds[stage] += ran;
    milliseconds.host += performance.now() - started - ran;
  };

  const act = async (action: Action): Promise<void> => {
    switch (action.kind) {
      case "idle":
        return;
      case "encode":
        return encodeNext(waitingRow(action.waiting));
      case "prefix":
        return readPrefix(waitingRow(action.waiting));
      case "join":
        return join(action.waiting.map(waitingRow));
      case "read":
        return handOut(await lane(action.lane).readPrompts(runner));
      case "decode": {
        const decoding = lane(action.lane);
        const rows = decoding.groups * decoding.beams;
        count.steps += 1;
        rowsPerStep[rows] = (rowsPerStep[rows] ?? 0) + 1;
        lastDecoded = action.lane;
        return handOut(await decoding.decode(runner));
      }
    }
  };

  const view = (): Parameters<typeof schedule>[0] => ({
    lanes: [...lanes.values()],
    waiting: waiting.map((row) => ({ lane: row.lane, beams: row.search.beams, entries: row.entries, needs: needsOf(row) })),
    lastDecoded,
  });

  const needsOf = (row: Row): "media" | "prefix" | null => {
    if (row.prefix !== null && !lanes.has(row.lane) && !prefixes.has(row.prefix.key)) {
      return readingOf(row.prefix).lacking === null ? "prefix" : "media";
    }
    return row.encoded.includes(null) ? "media" : null;
  };

  const readingOf = (plan: NonNullable<Row["prefix"]>): PrefixReading => {
    const known = readings.get(plan.key);
    if (known !== undefined) return known;
    const reading = new PrefixReading(plan, sizes, memory);
    recall(plan.media, reading.encoded);
    readings.set(plan.key, reading);
    return reading;
  };

  const encodeNext = async (row: Row): Promise<void> => {
    const reading = row.prefix === null ? undefined : readings.get(row.prefix.key);
    const next = reading?.lacking ?? row.passage.media.find((_, index) => row.encoded[index] === null);
    if (next === undefined) return;
    media.put(next.key, await runner.encode(next.frames));
    count.encoded += 1;
    for (const other of waiting) recall(other.passage.media, other.encoded, next.key);
    for (const other of readings.values()) recall(other.plan.media, other.encoded, next.key);
  };

  /** Fills in what the cache holds. */
  const recall = (needed: readonly HashedMedia[], encoded: (EncodedMedia | null)[], only?: string): void => {
    needed.forEach(({ key }, index) => {
      if (encoded[index] !== null || (only !== undefined && key !== only)) return;
      encoded[index] = media.use(key) ?? null;
    });
  };

  const readPrefix = async (row: Row): Promise<void> => {
    if (row.prefix === null) return;
    const computed = await readingOf(row.prefix).readOn(runner);
    if (computed === null) return;
    readings.delete(row.prefix.key);
    prefixes.put(row.prefix.key, computed);
    count.prefixesRead += 1;
  };

  const join = (rows: readonly Row[]): void => {
    for (const row of rows) {
      let joined = lanes.get(row.lane);
      if (joined === undefined) {
        joined = new Lane(row.lane, row.search.beams, row.prefix === null ? null : computedPrefix(row.prefix.key), sizes, memory);
        lanes.set(row.lane, joined);
      }
      if (row.prefix !== null) count.prefixUses += 1;
      joined.join(row);
    }
    waiting = waiting.filter((row) => !rows.includes(row));
  };

  const computedPrefix = (key: string): ComputedPrefix => {
    const computed = prefixes.use(key);
    if (computed === undefined) throw new Error("a row joins before its prefix is computed");
    return computed;
  };

  const handOut = (ended: readonly Ended[]): void => {
    for (const { row, answers } of ended) {
      count.ended += 1;
      count.newTokens += answers.reduce((sum, { tokens }) => sum + tokens.length, 0);
      row.resolve(answers);
    }
    dropEmptyLanes();
  };

  const sweepCancelled = (): void => {
    const cancelled = (row: Row): boolean => row.signal?.aborted === true;
    const rows = [...waiting, ...[...lanes.values()].flatMap((each) => each.rows)].filter(cancelled);
    if (rows.length === 0) return;
    for (const row of rows) {
      count.cancelled += 1;
      lanes.get(row.lane)?.leave(row);
      row.reject(new CodedError("aborted", `row ${row.id} was given up`, { cause: row.signal?.reason }));
    }
    waiting = waiting.filter((row) => !cancelled(row));
    for (const key of readings.keys()) if (!waiting.some(({ prefix }) => prefix?.key === key)) readings.delete(key);
    dropEmptyLanes();
  };

  /** After a fault nothing in the lanes can be trusted: every row is told, and the next ones begin anew. */
  const giveUp = (reason: CodedError): void => {
    for (const row of [...waiting, ...[...lanes.values()].flatMap((each) => each.rows)]) row.reject(reason);
    waiting = [];
    lanes.clear();
    readings.clear();
  };

  const dropEmptyLanes = (): void => {
    for (const [key, each] of lanes) if (each.groups === 0) lanes.delete(key);
  };

  const lane = (key: string): Lane => {
    const known = lanes.get(key);
    if (known === undefined) throw new Error(`no lane ${key}`);
    return known;
  };

  const waitingRow = (index: number): Row => {
    const row = waiting[index];
    if (row === undefined) throw new Error(`no waiting row ${index}`);
    return row;
  };

  return {
    submit,
    stats: () => ({
      rows: { started: count.started, ended: count.ended, cancelled: count.cancelled },
      newTokens: count.newTokens,
      steps: count.steps,
      rowsPerStep: { ...rowsPerStep },
      seconds: {
        vision: milliseconds.vision / 1000,
        prefill: milliseconds.prefill / 1000,
        decode: milliseconds.decode / 1000,
        host: milliseconds.host / 1000,
      },
      media: { encoded: count.encoded, hits: Math.max(0, media.figures.hits - count.encoded), bytes: media.figures.bytes },
      prefixes: { prefilled: count.prefixesRead, hits: Math.max(0, count.prefixUses - count.prefixesRead), bytes: prefixes.figures.bytes },
    }),
    close: async () => {
      closed = true;
      giveUp(new CodedError("aborted", "the model is closed"));
      // Its fault, if it has one, is known already: it has ended the thread.
      await driving?.catch(() => {});
      media.clear();
      prefixes.clear();
      memory.keepOnly([]);
    },
  };
}
