import { describe, expect, it } from "vitest";
import type { ModelDescription } from "../description.ts";
import type { GenerationOptions } from "../model.ts";
import { chooseSearch } from "./choose-search.ts";

const description = { specialTokens: { endOfChunk: 3 }, architecture: { decoder: { vocabularySize: 4 } } } as ModelDescription;
const choose = (options: Partial<GenerationOptions>): ReturnType<typeof chooseSearch> =>
  chooseSearch({ maxNewTokens: 5, ...options }, { promptTokens: 4, drawnAs: "row", isStopped: null }, description);

describe("the choice of a search", () => {
  it("gives every text that is searched for a row of its own", () => {
    expect(choose({}).beams).toBe(1);
    expect(choose({ numBeams: 3, numReturnSequences: 2 }).beams).toBe(3);
    expect(choose({ sampling: { seed: 1 }, numReturnSequences: 4 }).beams).toBe(4);
  });

  it("draws by the seed and the row's name", () => {
    const first = (seed: number, drawnAs: string): unknown =>
      chooseSearch({ maxNewTokens: 1, sampling: { seed } }, { promptTokens: 4, drawnAs, isStopped: null }, {
        ...description,
        architecture: { decoder: { vocabularySize: 4_000 } },
      } as ModelDescription).next(new Float32Array(4_000));
    expect(first(1, "row")).toEqual(first(1, "row"));
    expect(first(1, "row")).not.toEqual(first(2, "row"));
    expect(first(1, "row")).not.toEqual(first(1, "another"));
  });

  it.each<[string, Partial<GenerationOptions>]>([
    ["max_new_tokens", { maxNewTokens: 0 }],
    ["num_beams", { numBeams: 0 }],
    ["num_beams", { numBeams: 2, sampling: { seed: 1 } }],
    ["stop", { numBeams: 2, stop: ["."] }],
    ["stop", { stop: [""] }],
    ["n", { numReturnSequences: 1.5 }],
    ["n", { numReturnSequences: 2 }],
    ["n", { numBeams: 2, numReturnSequences: 3 }],
    ["temperature", { sampling: { seed: 1, temperature: 0 } }],
    ["top_k", { sampling: { seed: 1, topK: -1 } }],
    ["top_p", { sampling: { seed: 1, topP: 0 } }],
    ["seed", { sampling: { seed: 0.5 } }],
  ])("refuses a wrong %s: %j", (param, options) => {
    expect(() => choose(options)).toThrow(expect.objectContaining({ code: "invalid_request", param }));
  });
});
