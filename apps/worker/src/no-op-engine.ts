/**
 * An engine without a model, for benchmarks and tests of everything around it: it answers with a hash of the pixels and of the prompt.
 * With a gate each row first waits for an answer to a GET, so that a test decides when which item is done.
 */
import { createHash } from "node:crypto";
import { CodedError } from "@flamboyance/contracts";
import type { Engine } from "./engine.ts";

export function openNoOpEngine({ gate }: { readonly gate: string | null }): Engine {
  return {
    lost: new AbortController().signal,
    generate: async ({ id, prefix, text, media }, signal) => {
      signal.throwIfAborted();
      if (gate !== null) await pass(gate, id, signal);
      const hash = createHash("sha256");
      for (const pixels of media.flat()) hash.update(new Uint8Array(pixels.buffer, pixels.byteOffset, pixels.byteLength));
      const promptTokens = text.length + (prefix?.passages.length ?? 0);
      return {
        text: `${hash.digest("hex").slice(0, 16)} ${text}`,
        promptTokens,
        cachedTokens: prefix?.passages.length ?? 0,
        newTokens: 1,
        finish: "stop",
      };
    },
    stats: () => Promise.resolve(null),
    close: () => Promise.resolve(),
  };
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
