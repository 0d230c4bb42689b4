/**
 * A model in a thread of its own, so that its runs never hold up the main loop. Owns the thread, its restarts and the rows in flight.
 * When the thread dies every row in flight fails with engine_failed (a passing fault) and the next row starts a new one; where that can't be opened the engine
 * is lost, says so once, and starts no more. Pixels are transferred.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import { CodedError } from "@flamboyance/contracts";
import {
  endDeviceClaim,
  newDeviceClaims,
  type DeviceClaims,
  type GenerationOptions,
  type Media,
  type ModelDevice,
  type ModelStats,
  type Passage,
  type RankResult,
  type RowResult,
  type Sequence,
} from "@flamboyance/model";
import type { EngineSettings } from "./config.ts";
import type { EngineData } from "./engine-thread.ts";
import type { FromEngine, ToEngine } from "./serve-model.ts";
import { threadFile } from "./thread-file.ts";

/** A few-shot prefix: equal keys mean equal passages. */
export interface PrefixSource {
  readonly key: string;
  readonly passages: readonly Passage[];
}

/** An item's prompt. */
export interface EnginePrompt {
  readonly id: string;
  readonly prefix: PrefixSource | null;
  readonly text: string;
  /** Given away: the pixels' buffers are gone from the caller's hands. */
  readonly media: readonly Media[];
}

export interface EngineRow extends EnginePrompt {
  readonly generation: GenerationOptions;
  /** What sets a sampled row's draws apart from those of others with its seed. Default: the id. */
  readonly drawnAs?: string;
}

export interface EngineRanking extends EnginePrompt {
  readonly candidates: readonly string[];
}

export type EngineSequence = Omit<Sequence, "tokens">;

export type EngineAnswer = EngineSequence &
  Omit<RowResult, keyof Sequence | "alternatives"> & {
    readonly alternatives?: readonly EngineSequence[];
    /** Of all sequences. */
    readonly newTokens: number;
  };

export interface Engine {
  /** Rejects with the row's own fault (prompt_too_long, …), with engine_failed where the engine died, or with the signal's reason. */
  generate(row: EngineRow, signal: AbortSignal): Promise<EngineAnswer>;
  /** Rejects as `generate` does. */
  rank(row: EngineRanking, signal: AbortSignal): Promise<RankResult>;
  /** Where the model computed when it was first opened; null where none does. */
  readonly device: ModelDevice["kind"] | null;
  /** Fires, with the reason, when the thread has died and can't be opened again: every further row would fail. */
  readonly lost: AbortSignal;
  /** Null while there is nothing to tell, or the engine is too busy to tell it. */
  stats(): Promise<ModelStats | null>;
  close(): Promise<void>;
}

type Pending = { readonly reject: (error: unknown) => void } & (
  | { readonly kind: "generate"; readonly resolve: (answer: EngineAnswer) => void }
  | { readonly kind: "rank"; readonly resolve: (answer: RankResult) => void }
);

/** How many prefixes the thread keeps open by name. */
const prefixesOpen = 16;
const statsPatienceMs = 1_000;
/** A run takes seconds; a model that is being opened compiles its kernels, half a minute in software. */
const closePatienceMs = 30_000;

interface Running {
  readonly worker: Worker;
  readonly rows: Map<number, Pending>;
  readonly prefixes: Set<string>;
  readonly stats: ((stats: ModelStats | null) => void)[];
  readonly ready: Promise<ModelDevice>;
  /** Resolves when the thread has closed its model as it was told to, or died. */
  readonly atRest: Promise<void>;
}

export interface EngineOptions {
  /** The model's folder. */
  readonly folder: string;
  readonly sizes: EngineSettings;
  /** Shared by all engines of the process. */
  readonly claims?: DeviceClaims;
  /** Told why the model computes on the CPU although a device was wanted, each time a thread opens it. */
  readonly onFallback?: (why: string) => void;
  /** How long a close waits for a thread that may use a device: one that is ended in a run there takes the process with it. Default: 30 s. */
  readonly closePatienceMs?: number;
  /** Another thread's file, for tests. */
  readonly thread?: URL;
}

/** Resolves when the model is open; rejects with what kept it from opening. */
export async function openEngine(options: EngineOptions): Promise<Engine> {
  let running: Running | null = null;
  let closed = false;
  let lastId = 0;
  const lost = new AbortController();
  const notAgain = (cause: unknown) => new CodedError("engine_failed", "the engine can't be started again", { cause });

  const refuseClosed = (): void => {
    if (closed) throw new CodedError("aborted", "the engine was closed");
  };
  const ensure = (): Running => {
    refuseClosed();
    if (lost.signal.aborted) throw notAgain(lost.signal.reason);
    return (running ??= start(options, (dead) => {
      if (running === dead) running = null;
    }));
  };
  const { kind: device } = await ensure().ready;

  /** Sends one row to the thread, and waits for what `pend` was told. */
  const call = async <Answer>(
    { prefix, media }: EnginePrompt,
    signal: AbortSignal,
    pend: (answered: PromiseWithResolvers<Answer>) => Pending,
    message: (id: number, prefixKey: string | null) => ToEngine,
  ): Promise<Answer> => {
    signal.throwIfAborted();
    const thread = ensure();
    // Whatever keeps the model from opening again isn't this row's fault.
    await thread.ready.catch((cause: unknown) => {
      refuseClosed();
      lost.abort(cause);
      throw notAgain(cause);
    });
    refuseClosed();
    signal.throwIfAborted();
    const id = ++lastId;
    const answered = Promise.withResolvers<Answer>();
    thread.rows.set(id, pend(answered));
    openPrefix(thread, prefix);
    const buffers = media.flat().flatMap(({ buffer }) => (buffer instanceof ArrayBuffer ? [buffer] : []));
    post(thread, message(id, prefix?.key ?? null), buffers);
    const giveUp = () => {
      post(thread, { kind: "cancel", call: id });
      thread.rows.delete(id);
      answered.reject(signal.reason);
    };
    signal.addEventListener("abort", giveUp, { once: true });
    return answered.promise.finally(() => signal.removeEventListener("abort", giveUp));
  };

  return {
    device,
    lost: lost.signal,
    generate: (row, signal) =>
      call<EngineAnswer>(
        row,
        signal,
        ({ resolve, reject }) => ({ kind: "generate", resolve, reject }),
        (id, prefix) => ({ kind: "generate", call: id, row: { ...row, prefix } }),
      ),
    rank: (row, signal) =>
      call<RankResult>(
        row,
        signal,
        ({ resolve, reject }) => ({ kind: "rank", resolve, reject }),
        (id, prefix) => ({ kind: "rank", call: id, row: { ...row, prefix } }),
      ),
    stats: async () => {
      const thread = running;
      if (thread === null) return null;
      const { promise, resolve } = Promise.withResolvers<ModelStats | null>();
      thread.stats.push(resolve);
      post(thread, { kind: "stats" });
      // A run that is under way blocks the thread; whoever asks doesn't wait for it.
      return Promise.race([promise, sleep(statsPatienceMs, null, { ref: false })]);
    },
    close: async () => {
      closed = true;
      const thread = running;
      if (thread === null) return;
      for (const { reject } of thread.rows.values()) reject(new CodedError("aborted", "the engine was closed"));
      thread.rows.clear();
      // Ended in a run on a device, the thread would take the process with it. While it opens its model, it hears of the close when that is done.
      if (options.sizes.device !== "cpu") {
        post(thread, { kind: "close" });
        await Promise.race([thread.atRest, sleep(options.closePatienceMs ?? closePatienceMs, null, { ref: false })]);
      }
      await thread.worker.terminate();
    },
  };
}

function post(thread: Running, message: ToEngine, transfer: ArrayBuffer[] = []): void {
  thread.worker.postMessage(message, transfer);
}

/** Sends a prefix at its first use, and drops the one that was used longest ago where there are too many. */
function openPrefix(thread: Running, prefix: PrefixSource | null): void {
  if (prefix === null) return;
  const { key, passages } = prefix;
  if (!thread.prefixes.delete(key)) post(thread, { kind: "prefix", key, passages });
  thread.prefixes.add(key);
  const [oldest] = thread.prefixes;
  if (thread.prefixes.size <= prefixesOpen || oldest === undefined) return;
  thread.prefixes.delete(oldest);
  post(thread, { kind: "drop", key: oldest });
}

function start(
  {
    folder,
    sizes: { device, threads, rowBytes, cacheBytes },
    claims = newDeviceClaims(),
    onFallback,
    thread: file = threadFile("engine-thread"),
  }: EngineOptions,
  onDeath: (thread: Running) => void,
): Running {
  const ready = Promise.withResolvers<ModelDevice>();
  const atRest = Promise.withResolvers<void>();
  const data: EngineData = { folder, sizes: { device, threads, rowBytes, cacheBytes }, claims };
  const worker = new Worker(file, { workerData: data });
  const { threadId } = worker;
  const thread: Running = {
    worker,
    rows: new Map(),
    prefixes: new Set(),
    stats: [],
    ready: ready.promise,
    atRest: atRest.promise,
  };
  // Nobody may be waiting for it when it fails.
  thread.ready.catch(() => {});
  let fault: CodedError | null = null;
  // Not before the exit: while the thread lives, no other may have its device.
  const die = (error: CodedError) => {
    onDeath(thread);
    endDeviceClaim(claims, threadId);
    atRest.resolve();
    ready.reject(error);
    for (const { reject } of thread.rows.values()) reject(error);
    thread.rows.clear();
    for (const resolve of thread.stats.splice(0)) resolve(null);
  };
  worker.on("message", (message: FromEngine) => {
    if (message.kind === "ready") {
      if (message.device.fallback !== null) onFallback?.(message.device.fallback);
      ready.resolve(message.device);
    } else if (message.kind === "closed") {
      atRest.resolve();
    } else if (message.kind === "stats") thread.stats.shift()?.(message.stats);
    else if (message.kind === "refused") {
      fault ??= new CodedError(message.code, message.message);
      void worker.terminate();
    } else {
      const pending = thread.rows.get(message.call);
      thread.rows.delete(message.call);
      if (message.kind === "failed") pending?.reject(new CodedError(message.code, message.message));
      else if (message.kind === "answer" && pending?.kind === "generate") pending.resolve(message.answer);
      else if (message.kind === "ranked" && pending?.kind === "rank") pending.resolve(message.answer);
    }
  });
  worker.on("error", (error) => {
    fault ??= new CodedError("engine_failed", "the engine's thread failed", { cause: error });
  });
  worker.on("exit", () => die(fault ?? new CodedError("engine_failed", "the engine's thread ended")));
  return thread;
}
