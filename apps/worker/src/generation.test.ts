import { generation } from "@flamboyance/contracts";
import { expect, it } from "vitest";
import { generationOptions } from "./generation.ts";

const optionsOf = (asked: object): unknown =>
  generationOptions({ generation: { ...generation.parse(asked), max_new_tokens: 20, num_beams: 1, ...asked } });
const plain = { maxNewTokens: 20, minNewTokens: 0, numBeams: 1 };

it("hands on what was asked for, and leaves the rest to the engine", () => {
  expect(optionsOf({})).toEqual(plain);
  expect(optionsOf({ num_beams: 4, length_penalty: -1, early_stopping: "never", n: 2, min_new_tokens: 3, logprobs: true })).toEqual({
    ...plain,
    numBeams: 4,
    lengthPenalty: -1,
    earlyStopping: "never",
    numReturnSequences: 2,
    minNewTokens: 3,
    logProbabilities: true,
  });
  expect(optionsOf({ stop: [".", "\n"] })).toEqual({ ...plain, stop: [".", "\n"] });
});

it("samples where anything of sampling is given", () => {
  expect(optionsOf({ seed: 7 })).toEqual({ ...plain, sampling: { seed: 7 } });
  expect(optionsOf({ seed: 7, temperature: 0.5, top_k: 3, top_p: 0.9, n: 4 })).toEqual({
    ...plain,
    sampling: { seed: 7, temperature: 0.5, topK: 3, topP: 0.9 },
    numReturnSequences: 4,
  });
});
