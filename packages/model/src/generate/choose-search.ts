/** Which strategy a row's options ask for. Owns which options go together, and refuses with invalid_request what doesn't: nothing is left aside in silence. */
import { CodedError } from "@flamboyance/contracts";
import type { ModelDescription } from "../description.ts";
import type { GenerationOptions, SamplingOptions } from "../model.ts";
import { beamSearch } from "./beam-search.ts";
import { seededDraw } from "./draw.ts";
import { sampledSearch } from "./sampled-search.ts";
import { greedySearch, type Search, type TextLimits } from "./search.ts";

export interface SearchedRow {
  /** Prefix and row together. */
  readonly promptTokens: number;
  /** What sets its draws apart from those of other rows of its seed. */
  readonly drawnAs: string;
  readonly isStopped: TextLimits["isStopped"];
}

/** Throws invalid_request, with the option's name on the wire as `param`. */
export function chooseSearch(options: GenerationOptions, row: SearchedRow, { specialTokens, architecture }: ModelDescription): Search {
  const { maxNewTokens, minNewTokens = 0, numBeams = 1, numReturnSequences = 1, sampling, logProbabilities = false } = options;
  checkOptions(options);
  const vocabulary = architecture.decoder.vocabularySize;
  const endToken = specialTokens.endOfChunk;
  if (numBeams > 1) {
    const { lengthPenalty = 0, earlyStopping = false } = options;
    return beamSearch({
      beams: numBeams,
      promptTokens: row.promptTokens,
      vocabulary,
      maxNewTokens,
      minNewTokens,
      endToken,
      lengthPenalty,
      earlyStopping,
      answers: numReturnSequences,
      logProbabilities,
    });
  }
  const limits = { maxNewTokens, minNewTokens, endToken, isStopped: row.isStopped };
  if (sampling === undefined) return greedySearch({ ...limits, logProbabilities });
  const { seed, ...filters } = sampling;
  return sampledSearch({
    ...limits,
    filters,
    sequences: numReturnSequences,
    draw: seededDraw(seed, row.drawnAs),
    vocabulary,
    logProbabilities,
  });
}

function checkOptions({ maxNewTokens, numBeams = 1, numReturnSequences = 1, sampling, stop = [] }: GenerationOptions): void {
  const refuse = (message: string, param: string): never => {
    throw new CodedError("invalid_request", message, { param });
  };
  const positive = { max_new_tokens: maxNewTokens, num_beams: numBeams, n: numReturnSequences };
  for (const [param, value] of Object.entries(positive)) {
    if (!Number.isInteger(value) || value < 1) refuse(`${param} must be a positive integer`, param);
  }
  if (stop.includes("")) refuse("a stop string may not be empty", "stop");
  if (numBeams > 1) {
    if (sampling !== undefined) refuse("beams aren't sampled", "num_beams");
    if (stop.length > 0) refuse("stop strings go with one beam only", "stop");
    if (numReturnSequences > numBeams) refuse("no more texts can be answered than there are beams", "n");
  } else if (sampling === undefined) {
    if (numReturnSequences > 1) refuse("greedy decoding has one text", "n");
  } else checkSampling(sampling, refuse);
}

function checkSampling(
  { temperature = 1, topK = 0, topP = 1, seed }: SamplingOptions,
  refuse: (message: string, param: string) => never,
): void {
  if (!(temperature > 0 && temperature < Infinity)) refuse("temperature must be greater than 0", "temperature");
  if (!Number.isInteger(topK) || topK < 0) refuse("top_k must be an integer from 0", "top_k");
  if (!(topP > 0 && topP <= 1)) refuse("top_p must be greater than 0 and at most 1", "top_p");
  if (!Number.isSafeInteger(seed)) refuse("seed must be an integer", "seed");
}
