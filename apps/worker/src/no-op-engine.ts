/**
 * An engine without a model, for benchmarks and tests of everything around it: it answers with a hash of the pixels and of the prompt.
 * With a gate each row first waits for an answer to a GET, so that a test decides when which item is done.
 */
import { createHash } from "node:crypto";
import { CodedError } from "@flamboyance/contracts";
import type { Engine, EnginePrompt, EngineSequence } from "./engine.ts";

export function openNoOpEngine({ gate }: { readonly gate: string | null }): Engine {
  return {
    device: null,
    lost: new AbortController().signal,
    generate: async (row, signal) => {
      const { hash, promptTokens, cachedTokens } = await look(row, gate, signal);
      const { numReturnSequences = 1, logProbabilities = false } = row.generation;
      const sequence = (text: string): EngineSequence => ({
        text,
        finish: "stop",
        ...(logProbabilities ? { logProbabilities: [{ text, logProbability: 0 }] } : {}),
      });
      const text = `${hash.slice(0, 16)} ${row.text}`;
      const alternatives = Array.from({ length: numReturnSequences - 1 }, (_, index) => sequence(`${text} #${index + 1}`));
      return {
        ...sequence(text),
        ...(alternatives.length === 0 ? {} : { alternatives }),
        promptTokens,
        cachedTokens,
        newTokens: numReturnSequences,
      };
    },
    rank: async (row, signal) => {
      const { hash, promptTokens, cachedTokens } = await look(row, gate, signal);
      const best = Number.parseInt(hash.slice(0, 8), 16) % row.candidates.length;
      const candidates = row.candidates.map((_, index) => ({ tokens: [0], sum: index === best ? -1 : -2, mean: index === best ? -1 : -2 }));
      return { candidates, promptTokens, cachedTokens };
    },
    stats: () => Promise.resolve(null),
    close: () => Promise.resolve(),
  };
}

/** What the answer is made of: a hash of the pixels, the prompt's length. */
async function look(
  { id, prefix, text, media }: EnginePrompt,
  gate: string | null,
  signal: AbortSignal,
): Promise<{ readonly hash: string; readonly promptTokens: number; readonly cachedTokens: number }> {
  signal.throwIfAborted();
  if (gate !== null) await pass(gate, id, signal);
  const hash = createHash("sha256");
  for (const pixels of media.flat()) hash.update(new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.byteLength));
  const cachedTokens = prefix?.passages.length ?? 0;
  return { hash: hash.digest("hex"), promptTokens: text.length + cachedTokens, cachedTokens };
}

async function pass(gate: string, row: string, signal: AbortSignal): Promise<void> {
  const url = new URL(gate);
  url.searchParams.set("row", row);
  try {
    const answer = await fetch(url, { signal });
    await answer.body?.cancel();
  } catch (error) {
    signal.throwIfAborted();
    throw new CodedError("engine_failed", "the gate doesn't answer", { cause: error });
  }
}
