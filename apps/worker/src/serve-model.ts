/**
 * An open model behind messages: rows in, text out. Owns the messages' forms, the names of prefixes and the rows in flight; refuses to open the model, and
 * the thread, which engine-thread.ts ends.
 */
import { isCoded, type ErrorCode } from "@flamboyance/contracts";
import type { Model, ModelDevice, ModelStats, Passage, Prefix, RankResult, Sequence } from "@flamboyance/model";
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

/**
 * Takes the thread's messages. On a device a failed run ends the thread once the model is closed (`end`): a device that was lost stays so in its thread.
 */
export function serveModel(
  model: Model,
  { answer, end }: { readonly answer: (message: FromEngine) => void; readonly end: () => void },
): (message: ToEngine) => void {
  /** An opened prefix, or why it can't be opened: every row that names it then fails with that. */
  const prefixes = new Map<string, Prefix | Error>();
  const rows = new Map<number, AbortController>();
  let ending = false;

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

  const fail = (call: number, error: unknown): void => {
    // The model is closed under rows that came meanwhile: they fail with the thread.
    if (ending && isCoded(error, "aborted")) return;
    answer({ kind: "failed", call, ...fault(error) });
    if (ending || model.device.kind === "cpu" || !isCoded(error, "engine_failed")) return;
    ending = true;
    void model.close().then(end, end);
  };

  return (message) => {
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
        .then(answer, (error: unknown) => fail(call, error))
        .finally(() => rows.delete(call));
    }
  };
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

export function fault(error: unknown): { readonly code: ErrorCode; readonly message: string } {
  const message = error instanceof Error ? error.message : String(error);
  return { code: isCoded(error) ? error.code : "item_failed", message };
}
