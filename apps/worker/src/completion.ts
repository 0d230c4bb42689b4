/** From what the engine answers to an item's chat completion: texts as choices, ranked labels as one. Owns what is counted and shown; refuses running anything. */
import type { ChatCompletion } from "@flamboyance/contracts";
import type { RankResult, TokenLogProbability } from "@flamboyance/model";
import type { EngineAnswer, EngineSequence } from "./engine.ts";

export type Completion = Pick<ChatCompletion, "choices" | "usage" | "flamingo">;

type Choice = Completion["choices"][number];

/** A choice per text, the best or first drawn first. */
export function textCompletion(answer: EngineAnswer): Completion {
  const sequences = [answer, ...(answer.alternatives ?? [])];
  return { choices: sequences.map(textChoice), usage: usageOf(answer, answer.newTokens) };
}

/** The winning label as the one choice, and all of them with their scores. Of equals the earlier one in `labels` wins. */
export function labelCompletion(labels: readonly string[], ranking: RankResult, rankBy: "mean" | "sum"): Completion {
  const ranked = ranking.candidates
    .map(({ tokens, sum, mean }, index) => ({ label: labels[index] ?? "", sum, mean, tokens }))
    .toSorted((a, b) => b[rankBy] - a[rankBy]);
  const best = ranked[0];
  return {
    choices: [choice(0, best?.label ?? "", "stop", null)],
    usage: usageOf(ranking, best?.tokens.length ?? 0),
    flamingo: { labels: ranked.map(({ label, sum, mean }) => ({ label, sum, mean })) },
  };
}

function textChoice({ text, finish, logProbabilities }: EngineSequence, index: number): Choice {
  // Templates have no space before the answer, models begin theirs with one.
  return choice(
    index,
    text.trim(),
    finish,
    logProbabilities === undefined ? null : { content: logProbabilities.map(tokenLogprob), refusal: null },
  );
}

function choice(index: number, content: string, finish: Choice["finish_reason"], logprobs: Choice["logprobs"]): Choice {
  return { index, message: { role: "assistant", content, refusal: null }, finish_reason: finish, logprobs };
}

function tokenLogprob({ text, logProbability }: TokenLogProbability): NonNullable<Choice["logprobs"]>["content"][number] {
  const isWhole = !text.includes("\uFFFD");
  return { token: text, logprob: logProbability, bytes: isWhole ? [...Buffer.from(text)] : null, top_logprobs: [] };
}

function usageOf({ promptTokens, cachedTokens }: { promptTokens: number; cachedTokens: number }, newTokens: number): Completion["usage"] {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: newTokens,
    total_tokens: promptTokens + newTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  };
}
