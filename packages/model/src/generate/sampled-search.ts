/**
 * Texts drawn token by token from the filtered distribution (temperature, then top_k, then top_p). Owns the draw and several texts beside each other, which share
 * the row's prompt as beams do; refuses to judge them: they are answered in the order of their numbers, not of their likelihood.
 */
import { samplingProbabilities, type SamplingFilters } from "../sampling.ts";
import type { Draw } from "./draw.ts";
import { finishOf, logProbability, type Answer, type Search, type TextLimits } from "./search.ts";

export interface SampledOptions extends TextLimits {
  readonly filters: SamplingFilters;
  /** How many texts. */
  readonly sequences: number;
  readonly draw: Draw;
  readonly vocabulary: number;
  readonly logProbabilities: boolean;
}

interface Text {
  readonly tokens: number[];
  readonly logProbabilities: number[] | null;
  finish: Answer["finish"] | null;
}

export function sampledSearch(options: SampledOptions): Search {
  const { sequences, vocabulary } = options;
  const texts = Array.from({ length: sequences }, (): Text => ({
    tokens: [],
    logProbabilities: options.logProbabilities ? [] : null,
    finish: null,
  }));
  let started = false;
  return {
    beams: sequences,
    next: (logits) => {
      let position = 0;
      for (const [sequence, text] of texts.entries()) {
        if (text.finish !== null) continue;
        const row = logits.subarray(position * vocabulary, (position + 1) * vocabulary);
        // All texts begin at the prompt's one last position.
        if (started) position += 1;
        const token = drawToken(row, text.tokens.length, sequence, options);
        text.tokens.push(token);
        text.logProbabilities?.push(logProbability(row, token));
        text.finish = finishOf(text.tokens, options);
      }
      started = true;
      if (texts.some(({ finish }) => finish === null)) {
        // One that has ended keeps its place, and reads nothing, until the others have.
        const tokens = texts.map(({ tokens: own, finish }) => (finish === null ? own.slice(-1) : []));
        return { kind: "step", step: { parents: texts.map((_, sequence) => sequence), tokens } };
      }
      return {
        kind: "end",
        answers: texts.map(({ tokens, logProbabilities, finish }) => ({
          tokens,
          score: null,
          logProbabilities,
          finish: finish ?? "length",
        })),
      };
    },
  };
}

function drawToken(logits: Float32Array, step: number, sequence: number, options: SampledOptions): number {
  const { minNewTokens, endToken, filters, draw } = options;
  const allowed = step < minNewTokens ? Float32Array.from(logits, (logit, token) => (token === endToken ? -Infinity : logit)) : logits;
  return tokenAt(samplingProbabilities(allowed, filters), draw(sequence, step));
}

/**
 * The token in whose stretch of the sum the number falls. In the vocabulary's order, not in that of likelihood: what is nearly equally likely then needs no order,
 * and the last bits of logits move the stretches' ends alone.
 */
function tokenAt(probabilities: Float64Array, drawn: number): number {
  let sum = 0;
  let last = 0;
  for (let token = 0; token < probabilities.length; token++) {
    const probability = probabilities[token] ?? 0;
    if (!(probability > 0)) continue;
    sum += probability;
    if (drawn < sum) return token;
    last = token;
  }
  // The sum may fall a rounding short of 1.
  return last;
}
