import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isCoded } from "@flamboyance/contracts";
import { describe, expect, test } from "vitest";
import { buildPrompt, type Prompt } from "./prompt.ts";

const { cases } = JSON.parse(readFileSync(join(import.meta.dirname, "../reference/mpt/expected.json"), "utf8")) as {
  cases: Record<string, { prompt: string; media: string[] }>;
};
const whole = ({ examples, query }: Prompt<string>) => ({
  prompt: [...examples, query].map(({ text }) => text).join(""),
  media: [...examples, query].flatMap(({ images }) => images),
});

describe("prompts are the reference's, to the letter", () => {
  test("two text-only examples: what OpenFlamingo's evaluation calls zero-shot", () => {
    const examples = [{ answer: "A red circle." }, { answer: "Two cats, and a dog." }];
    expect(whole(buildPrompt("caption", examples, { image: "scene.png" }))).toEqual({
      prompt: cases["caption-0"]?.prompt,
      media: cases["caption-0"]?.media,
    });
  });

  test("captions", () => {
    const examples = [
      { image: "photo.jpg", answer: "A large sink." },
      { image: "wide.webp", answer: "a dog in the street" },
    ];
    expect(whole(buildPrompt("caption", examples, { image: "scene.png" }))).toEqual({
      prompt: cases["caption-2"]?.prompt,
      media: cases["caption-2"]?.media,
    });
  });

  test("questions", () => {
    const examples = [
      { image: "gray.png", question: "What colour?", answer: "green" },
      { image: "alpha.png", question: "How many?", answer: "3.5" },
      { image: "tall.jpg", question: "Is it naïve?", answer: "no" },
    ];
    const prompt = whole(buildPrompt("vqa", examples, { image: "large.jpg", question: "What is above?" }));
    expect(prompt).toEqual({ prompt: cases["vqa-3"]?.prompt, media: cases["vqa-3"]?.media });
  });

  test("a template of one's own: the snippet of OpenFlamingo's README", () => {
    const examples = [
      { image: "scene.png", answer: " two cats." },
      { image: "photo.jpg", answer: " a bathroom sink." },
    ];
    const prompt = whole(buildPrompt("caption", examples, { image: "wide.webp" }, "<image>An image of{answer}<|endofchunk|>"));
    expect(prompt).toEqual({ prompt: cases["snippet"]?.prompt, media: cases["snippet"]?.media });
  });

  test("a label is written like a caption, and no examples means none", () => {
    expect(buildPrompt("classify", [], { image: 1 })).toEqual({ examples: [], query: { text: "<image>Output:", images: [1] } });
  });
});

test("a question is inserted as it is, dollars and braces too", () => {
  const { query } = buildPrompt("vqa", [], { image: 0, question: "$& {answer} $1?" });
  expect(query.text).toBe("<image>Question:$& {answer} $1? Short answer:");
});

function paramOf(action: () => unknown): string | null {
  try {
    action();
  } catch (error) {
    if (isCoded(error, "invalid_request")) return error.param;
  }
  return "nothing was refused";
}

test.each([
  "<image>Output:",
  "Output:{answer}<|endofchunk|>",
  "<image><image>{answer}<|endofchunk|>",
  "<image>{answer}{answer}<|endofchunk|>",
  "<image>{answer}.<|endofchunk|>",
  "<image><|endofchunk|>{answer}<|endofchunk|>",
  "<image>{question}{question}{answer}<|endofchunk|>",
  "",
])("the template %j is refused", (template) => {
  expect(paramOf(() => buildPrompt("caption", [], { image: 0, question: "?" }, template))).toBe("template");
});

test("a free prompt stands behind the image as it is, and the model goes on from it", () => {
  const examples = [{ image: "photo.jpg", question: "The colour is", answer: " red" }];
  expect(whole(buildPrompt("prompt", examples, { image: "scene.png", question: "There are" }))).toEqual({
    prompt: "<image>The colour is red<|endofchunk|><image>There are",
    media: ["photo.jpg", "scene.png"],
  });
  expect(() => buildPrompt("prompt", [], { image: "scene.png" })).toThrow(/needs a question/);
});

test("texts that spell a special token are refused, and so is a missing question", () => {
  expect(paramOf(() => buildPrompt("vqa", [], { image: 0, question: "what is <image>?" }))).toBe("question");
  expect(paramOf(() => buildPrompt("caption", [{ answer: "end<|endofchunk|>" }], { image: 0 }))).toBe("answer");
  expect(paramOf(() => buildPrompt("vqa", [], { image: 0 }))).toBe("question");
});
