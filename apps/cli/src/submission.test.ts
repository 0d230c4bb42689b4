import { expect, it } from "vitest";
import { UsageError } from "./failure.ts";
import { collectPairs, readSubmission, type SubmitFlags } from "./submission.ts";

const least = { model: "demo", task: "caption", input: "s3://photos/" };
const files: Record<string, string> = {
  "request.json": JSON.stringify({ ...least, generation: { min_new_tokens: 2 }, metadata: { from: "file" } }),
  "list.json": JSON.stringify([{ image: "s3://photos/a.jpg", text: "a bird" }]),
  "lines.jsonl": '{"image":"s3://photos/a.jpg","text":"a bird"}\n\n{"text":"two birds"}\n',
  "half.jsonl": '{"text":"a bird"}\n{"text":',
  "list-for-request.json": "[]",
};
const read = (flags: SubmitFlags) => readSubmission(flags, (path) => Promise.resolve(files[path] ?? ""));

it("makes the request of flags", async () => {
  const body = await read({
    ...least,
    task: "vqa",
    question: "Why?",
    maxNewTokens: 9,
    onInvalid: "skip",
    completionWindow: "90m",
    metadata: { a: "b" },
  });
  expect(body).toMatchObject({
    ...least,
    task: "vqa",
    question: "Why?",
    generation: { max_new_tokens: 9, min_new_tokens: 0 },
    on_invalid: "skip",
    completion_window: "90m",
    metadata: { a: "b" },
  });
});

it("asks for earlier batches' answers where the flag says so, and refuses what can't have them in the flag's words", async () => {
  expect(await read({ ...least, reuse: true })).toMatchObject({ reuse: true });
  expect(await read(least)).not.toHaveProperty("reuse");
  await expect(read({ ...least, reuse: true, temperature: 1 })).rejects.toThrow(/^--reuse needs generation\.seed/);
});

it("lays flags over a file's fields, generation's one by one", async () => {
  const body = await read({ file: "request.json", model: "other", maxNewTokens: 9 });
  expect(body).toMatchObject({
    model: "other",
    input: "s3://photos/",
    generation: { max_new_tokens: 9, min_new_tokens: 2 },
    metadata: { from: "file" },
  });
});

it("has a flag for every way to generate and to classify", async () => {
  const sampled = await read({ ...least, temperature: 0.8, topK: 40, topP: 0.9, seed: -7, n: 2, stop: [".", "\n"], logprobs: true });
  expect(sampled.generation).toEqual({
    min_new_tokens: 0,
    temperature: 0.8,
    top_k: 40,
    top_p: 0.9,
    seed: -7,
    n: 2,
    stop: [".", "\n"],
    logprobs: true,
  });
  for (const [earlyStopping, value] of [
    ["true", true],
    ["false", false],
    ["never", "never"],
  ] as const) {
    const searched = await read({ ...least, numBeams: 4, lengthPenalty: -1.5, earlyStopping });
    expect(searched.generation).toEqual({ min_new_tokens: 0, num_beams: 4, length_penalty: -1.5, early_stopping: value });
  }
  const classified = await read({ ...least, task: "classify", labels: ["a bird", "a cat"], rankBy: "sum" });
  expect(classified).toMatchObject({ task: "classify", labels: ["a bird", "a cat"], rank_by: "sum" });
  expect(await read({ ...least, frames: 4 })).toMatchObject({ frames: 4 });
  expect(await read({ ...least, pixels: "fast" })).toMatchObject({ pixels: "fast" });
  expect(await read({ ...least, column: { image: "url" } })).toMatchObject({ columns: { image: "url" } });
  expect(await read({ ...least, include: ["*.jpg"], exclude: ["b/", "c/"] })).toMatchObject({ include: ["*.jpg"], exclude: ["b/", "c/"] });
  expect(await read({ ...least, task: "prompt", prompt: "The colour is" })).toMatchObject({ task: "prompt", prompt: "The colour is" });
});

it("reads examples from a JSON list or JSON lines", async () => {
  expect((await read({ ...least, examples: "list.json" })).examples).toHaveLength(1);
  expect((await read({ ...least, examples: "lines.jsonl" })).examples).toEqual([
    { image: "s3://photos/a.jpg", text: "a bird" },
    { text: "two birds" },
  ]);
});

it("names the flag, field or line that is wrong", async () => {
  const cases: [SubmitFlags, RegExp][] = [
    [{ task: "caption", input: "s3://photos/" }, /^--model is needed$/],
    [{ ...least, input: "photos/" }, /^--input must be s3:/],
    [{ ...least, completionWindow: "soon" }, /^--completion-window must be/],
    [{ ...least, maxNewTokens: 0 }, /^--max-new-tokens /],
    [{ ...least, temperature: 0.5, numBeams: 3 }, /^--temperature samples, which goes with one beam: num_beams is 3$/],
    [{ ...least, stop: ["x".repeat(65)] }, /^--stop /],
    [{ ...least, frames: 65 }, /^--frames /],
    [{ ...least, pixels: "blurred" }, /^--pixels /],
    [{ ...least, column: { picture: "url" } }, /^--column .*picture/],
    [{ ...least, exclude: [""] }, /^--exclude /],
    [{ ...least, labels: ["a bird", "a cat"] }, /^--labels is for the task classify$/],
    [{ ...least, examples: "half.jsonl" }, /^half.jsonl: .*line 2/],
    [{ file: "list-for-request.json" }, /^list-for-request.json: not a JSON object$/],
  ];
  for (const [flags, message] of cases) await expect(read(flags)).rejects.toThrow(message);
  await expect(readSubmission({ file: "/nowhere/request.json" })).rejects.toThrow(UsageError);
});

it("collects pairs over several flags, and wants an equals sign", () => {
  const collect = collectPairs("--metadata", "key=value");
  expect(collect("b=c=d", collect("a=1"))).toEqual({ a: "1", b: "c=d" });
  expect(() => collect("plain")).toThrow(/^--metadata takes key=value/);
});
