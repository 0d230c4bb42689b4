import { chatCompletion } from "@flamboyance/contracts";
import { expect, it } from "vitest";
import { labelCompletion, textCompletion } from "./completion.ts";

const counts = { promptTokens: 9, cachedTokens: 6 };
const valid = (completion: object): unknown =>
  chatCompletion.omit({ id: true, object: true, created: true, model: true }).strict().parse(completion);

it("makes a choice of every text, trimmed, and counts the tokens of all", () => {
  const completion = textCompletion({
    text: " a bird",
    finish: "stop",
    ...counts,
    newTokens: 7,
    alternatives: [{ text: " a cat on", finish: "length" }],
  });
  expect(valid(completion)).toEqual({
    choices: [
      { index: 0, message: { role: "assistant", content: "a bird", refusal: null }, finish_reason: "stop", logprobs: null },
      { index: 1, message: { role: "assistant", content: "a cat on", refusal: null }, finish_reason: "length", logprobs: null },
    ],
    usage: { prompt_tokens: 9, completion_tokens: 7, total_tokens: 16, prompt_tokens_details: { cached_tokens: 6 } },
  });
});

it("shows each token's log-probability where the engine gives it, with its bytes where it is whole", () => {
  const logProbabilities = [
    { text: " é", logProbability: -0.5 },
    { text: "\uFFFD", logProbability: -2 },
  ];
  const completion = textCompletion({ text: " é…", finish: "length", ...counts, newTokens: 2, logProbabilities });
  expect(valid(completion)).toMatchObject({
    choices: [
      {
        logprobs: {
          content: [
            { token: " é", logprob: -0.5, bytes: [32, 195, 169], top_logprobs: [] },
            { token: "\uFFFD", logprob: -2, bytes: null, top_logprobs: [] },
          ],
          refusal: null,
        },
      },
    ],
  });
});

it("answers the best label, by mean or by sum, and all of them with their scores", () => {
  const labels = ["a bird", "a very long label", "a cat"];
  const candidates = [
    { tokens: [1, 2], sum: -2, mean: -1 },
    { tokens: [1, 2, 3, 4, 5], sum: -2.5, mean: -0.5 },
    { tokens: [1, 3], sum: -2, mean: -1 },
  ];
  const byMean = labelCompletion(labels, { candidates, ...counts }, "mean");
  expect(valid(byMean)).toMatchObject({
    choices: [{ index: 0, message: { content: "a very long label" }, finish_reason: "stop", logprobs: null }],
    usage: { prompt_tokens: 9, completion_tokens: 5, total_tokens: 14 },
    flamingo: {
      labels: [
        { label: "a very long label", sum: -2.5, mean: -0.5 },
        { label: "a bird", sum: -2, mean: -1 },
        { label: "a cat", sum: -2, mean: -1 },
      ],
    },
  });
  expect(labelCompletion(labels, { candidates, ...counts }, "sum").choices[0]?.message.content).toBe("a bird");
});
