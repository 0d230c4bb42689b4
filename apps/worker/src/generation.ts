/** A batch's generation as the engine's options. Owns the names' translation alone: the wire's schema has checked what goes together. */
import { isSampled, type BatchRequest } from "@flamboyance/contracts";
import type { GenerationOptions, SamplingOptions } from "@flamboyance/model";

export function generationOptions({ generation }: Pick<BatchRequest, "generation">): GenerationOptions {
  const { n, stop, logprobs, length_penalty: lengthPenalty, early_stopping: earlyStopping } = generation;
  return {
    maxNewTokens: generation.max_new_tokens,
    minNewTokens: generation.min_new_tokens,
    numBeams: generation.num_beams,
    ...(lengthPenalty === undefined ? {} : { lengthPenalty }),
    ...(earlyStopping === undefined ? {} : { earlyStopping }),
    ...(isSampled(generation) ? { sampling: samplingOptions(generation) } : {}),
    ...(n === undefined ? {} : { numReturnSequences: n }),
    ...(stop === undefined ? {} : { stop }),
    ...(logprobs === undefined ? {} : { logProbabilities: logprobs }),
  };
}

function samplingOptions({ seed = 0, temperature, top_k: topK, top_p: topP }: BatchRequest["generation"]): SamplingOptions {
  return {
    seed,
    ...(temperature === undefined ? {} : { temperature }),
    ...(topK === undefined ? {} : { topK }),
    ...(topP === undefined ? {} : { topP }),
  };
}
