import { expect, it } from "vitest";
import { examplePassages, labelsOf, queryText } from "./prompt.ts";
import { requestOf } from "./testing/request.ts";

it("puts the prompt behind the image: the item's, the example's, or the batch's", () => {
  const batch = requestOf({
    task: "prompt",
    prompt: "The colour is",
    examples: [{ text: " red" }, { prompt: "Its size:", text: " small" }],
  });
  expect(examplePassages(batch, ["first", null])).toEqual([
    { text: "<image>The colour is red<|endofchunk|>", images: ["first"] },
    { text: "Its size: small<|endofchunk|>", images: [] },
  ]);
  expect(queryText(batch, { question: null })).toBe("<image>The colour is");
  expect(queryText(batch, { question: null, prompt: "There are" })).toBe("<image>There are");
  expect(() => queryText(batch, { question: null, prompt: "<image>" })).toThrow(expect.objectContaining({ code: "invalid_request" }));
});

it("asks for a label as for a caption, among the item's own or the batch's", () => {
  const batch = requestOf({ task: "classify", labels: ["a bird", "a cat"], examples: [{ text: "a bird" }] });
  expect(examplePassages(batch, ["first"])).toEqual([{ text: "<image>Output:a bird<|endofchunk|>", images: ["first"] }]);
  expect(queryText(batch, { question: null })).toBe("<image>Output:");
  expect(labelsOf(batch, {})).toEqual(["a bird", "a cat"]);
  expect(labelsOf(batch, { labels: ["one", "two"] })).toEqual(["one", "two"]);
  expect(() => labelsOf(batch, { labels: ["one", "<image>"] })).toThrow(expect.objectContaining({ code: "invalid_request" }));
});
