/** The engine's thread: one open model, rows in and text out. Owns the model and the names of its prefixes; decides nothing. */
import { parentPort, workerData } from "node:worker_threads";
import { isCoded, type ErrorCode } from "@flamboyance/contracts";
import {
  openModel,
  type DeviceClaims,
  type Model,
  type ModelDevice,
  type ModelStats,
  type Passage,
  type Prefix,
  type RankResult,
  type Sequence,
} from "@flamboyance/model";
import type { EngineSizes } from "./config.ts";
import type { EngineAnswer, EnginePrompt, EngineRanking, EngineRow, EngineSequence } from "./engine.ts";

export type ToEngine =
  | { readonly kind: "prefix"; readonly key: string; readonly passages: readonly Passage[] }
  | { readonly kind: "drop"; readonly key: string }
  | { readonly kind: "generate"; readonly call: number; readonly row: Named<EngineRow> }
  | { readonly kind: "rank"; readonly call: number; readonly row: Named<EngineRanking> }
  | { readonly kind: "cancel"; readonly call: number }
  | { readonly kind: "stats" }
  /** Give up all rows and close the model; the thread is then at rest. */
  | { readonly kind: "close" };

/** What a thread is started with. */
export interface EngineData {
  readonly folder: string;
  readonly sizes: EngineSizes;
  readonly claims: DeviceClaims;
}

/** With its prefix by name. */
type Named<Row extends EnginePrompt> = Omit<Row, "prefix"> & { readonly prefix: string | null };

export type FromEngine =
  | { readonly kind: "ready"; readonly device: ModelDevice }
  | { readonly kind: "closed" }
  /** The model can't be opened. */
  | { readonly kind: "refused"; readonly code: ErrorCode; readonly message: string }
  | { readonly kind: "answer"; readonly call: number; readonly answer: EngineAnswer }
  | { readonly kind: "ranked"; readonly call: number; readonly answer: RankResult }
  | { readonly kind: "failed"; readonly call: number; readonly code: ErrorCode; readonly message: string }
  | { readonly kind: "stats"; readonly stats: ModelStats };

const port = parentPort;
if (port === null) throw new Error("engine-thread runs as a worker thread only");
const answer = (message: FromEngine) => port.postMessage(message);

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- engine.ts starts this thread, and nobody else
const { folder, sizes, claims } = workerData as EngineData;
try {
  // The model's own bound holds for images and for prefixes, each by itself.
  const { device, threads, rowBytes, cacheBytes } = sizes;
  const model = await openModel(folder, { device, claims, threads, maxRowBytes: rowBytes, maxCacheBytes: Math.floor(cacheBytes / 2) });
  serve(model);
  answer({ kind: "ready", device: model.device });
} catch (error) {
  answer({ kind: "refused", ...fault(error) });
}

function serve(model: Model): void {
  /** An opened prefix, or why it can't be opened: every row that names it then fails with that. */
  const prefixes = new Map<string, Prefix | Error>();
  const rows = new Map<number, AbortController>();

  /** The row with its prefix opened. */
  const prepared = <Row extends { readonly prefix: string | null }>({
    prefix: key,
    ...row
  }: Row): Omit<Row, "prefix"> & { prefix?: Prefix } => {
    if (key === null) return row;
    const prefix = prefixes.get(key);
    if (prefix instanceof Error) throw prefix;
    if (prefix === undefined) throw new Error(`the prefix ${key} was never opened`);
    return { ...row, prefix };
  };

  const run = async (message: Extract<ToEngine, { kind: "generate" | "rank" }>, signal: AbortSignal): Promise<FromEngine> => {
    const { call } = message;
    if (message.kind === "rank") return { kind: "ranked", call, answer: await model.rank(prepared(message.row), signal) };
    const { alternatives = [], promptTokens, cachedTokens, ...best } = await model.generate(prepared(message.row), signal);
    const newTokens = [best, ...alternatives].reduce((sum, { tokens }) => sum + tokens.length, 0);
    const others = alternatives.length === 0 ? {} : { alternatives: alternatives.map(withoutTokens) };
    return { kind: "answer", call, answer: { ...withoutTokens(best), ...others, promptTokens, cachedTokens, newTokens } };
  };

  port?.on("message", (message: ToEngine) => {
    if (message.kind === "prefix") prefixes.set(message.key, open(model, message.passages));
    else if (message.kind === "drop") prefixes.delete(message.key);
    else if (message.kind === "stats") answer({ kind: "stats", stats: model.stats() });
    else if (message.kind === "close") void model.close().finally(() => answer({ kind: "closed" }));
    else if (message.kind === "cancel") rows.get(message.call)?.abort();
    else {
      const { call } = message;
      const controller = new AbortController();
      rows.set(call, controller);
      void run(message, controller.signal)
        .then(answer, (error: unknown) => answer({ kind: "failed", call, ...fault(error) }))
        .finally(() => rows.delete(call));
    }
  });
}

/** The main thread has no use for ids. */
function withoutTokens({ text, finish, score, logProbabilities }: Sequence): EngineSequence {
  return { text, finish, ...(score === undefined ? {} : { score }), ...(logProbabilities === undefined ? {} : { logProbabilities }) };
}

function open(model: Model, passages: readonly Passage[]): Prefix | Error {
  try {
    return model.openPrefix(passages);
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

function fault(error: unknown): { readonly code: ErrorCode; readonly message: string } {
  const message = error instanceof Error ? error.message : String(error);
  return { code: isCoded(error) ? error.code : "item_failed", message };
}
