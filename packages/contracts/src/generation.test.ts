import { describe, expect, it } from "vitest";
import { createDatasetBatch, manifestLine } from "./dataset.ts";
import { beamsOf, generation } from "./generation.ts";

const least = { model: "demo", task: "caption", input: "s3://photos/" };

/** The places that are refused. */
const refused = (changes: object): string[] => {
  const parsed = createDatasetBatch.safeParse({ ...least, ...changes });
  return parsed.success ? [] : parsed.error.issues.map(({ path }) => path.join("."));
};

describe("a batch's generation", () => {
  it.each([
    [{}, 3],
    [{ num_beams: 5 }, 5],
    [{ temperature: 0.7 }, 1],
    [{ top_k: 5 }, 1],
    [{ top_p: 0.5 }, 1],
    [{ seed: 0 }, 1],
    [{ stop: ["."] }, 1],
    [{ logprobs: true, n: 2 }, 3],
  ])("%j has %i beams", (asked, beams) => {
    expect(beamsOf(generation.parse(asked))).toBe(beams);
    expect(refused({ generation: asked })).toEqual([]);
  });

  it.each([
    ["num_beams", { num_beams: 0 }],
    ["num_beams", { num_beams: 9 }],
    ["length_penalty", { length_penalty: 2.5 }],
    ["early_stopping", { early_stopping: "always" }],
    ["temperature", { temperature: 0 }],
    ["temperature", { temperature: 2.5 }],
    ["top_k", { top_k: 0 }],
    ["top_p", { top_p: 0 }],
    ["top_p", { top_p: 1.1 }],
    ["seed", { seed: 0.5 }],
    ["n", { temperature: 1, n: 9 }],
    ["stop", { stop: [] }],
    ["stop.0", { stop: [""] }],
    ["stop.1", { stop: [".", "x".repeat(65)] }],
    ["stop", { stop: ["1", "2", "3", "4", "5"] }],
    // What doesn't go together.
    ["min_new_tokens", { min_new_tokens: 6, max_new_tokens: 5 }],
    ["temperature", { temperature: 0.5, num_beams: 2 }],
    ["top_k", { top_k: 5, seed: 3, num_beams: 2 }],
    ["seed", { seed: 3, num_beams: 2 }],
    ["stop", { stop: ["."], num_beams: 2 }],
    ["n", { n: 4 }],
    ["n", { n: 3, num_beams: 2 }],
    ["n", { n: 2, num_beams: 1 }],
    ["length_penalty", { length_penalty: 1, num_beams: 1 }],
    ["early_stopping", { early_stopping: false, temperature: 1 }],
  ])("is refused for its %s: %j", (field, asked) => {
    expect(refused({ generation: asked })).toEqual([`generation.${field}`]);
  });

  it("may be sent as it was read: a second reading changes nothing", () => {
    const body = createDatasetBatch.parse({ ...least, generation: { temperature: 0.5, n: 2 } });
    expect(createDatasetBatch.parse(body)).toEqual(body);
  });
});

describe("the tasks", () => {
  const labels = ["a bird", "a cat"];

  it("take what is theirs", () => {
    expect(refused({ task: "classify", labels, rank_by: "sum", examples: [{ text: "a bird" }] })).toEqual([]);
    // Each line may bring its own.
    expect(refused({ task: "classify" })).toEqual([]);
    expect(
      refused({ task: "prompt", prompt: "The colour is", examples: [{ text: " red" }, { prompt: "Its size:", text: " small" }] }),
    ).toEqual([]);
    expect(manifestLine.safeParse({ custom_id: "a", image: "s3://photos/a", labels }).success).toBe(true);
    expect(manifestLine.safeParse({ custom_id: "a", image: "s3://photos/a", prompt: "Its size:" }).success).toBe(true);
  });

  it.each([
    ["labels", { labels }],
    ["rank_by", { rank_by: "sum" }],
    ["prompt", { prompt: "The colour is" }],
    ["question", { question: "What?" }],
    ["question", { task: "classify", labels, question: "What?" }],
    ["labels", { task: "classify", labels: ["one"] }],
    ["labels", { task: "classify", labels: ["one", "one"] }],
    ["labels.1", { task: "classify", labels: ["one", ""] }],
    ["labels", { task: "classify", labels: Array.from({ length: 101 }, (_, index) => `${index}`) }],
    ["generation.max_new_tokens", { task: "classify", labels, generation: { max_new_tokens: 5 } }],
    ["generation.temperature", { task: "classify", labels, generation: { temperature: 1 } }],
    ["examples.0", { task: "classify", labels, examples: [{ question: "What?", answer: "a bird" }] }],
    ["examples.0", { task: "prompt", examples: [{ text: "red" }] }],
    ["examples.0", { examples: [{ prompt: "The colour is", text: "red" }] }],
    ["examples.0", { task: "vqa", examples: [{ text: "red" }] }],
  ])("refuse %s: %j", (place, changes) => {
    expect(refused(changes)).toEqual([place]);
  });
});
