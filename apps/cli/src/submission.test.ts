import { expect, it } from "vitest";
import { UsageError } from "./failure.ts";
import { collectMetadata, readSubmission, type SubmitFlags } from "./submission.ts";

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
    question: "Why?",
    maxNewTokens: 9,
    onInvalid: "skip",
    completionWindow: "90m",
    metadata: { a: "b" },
  });
  expect(body).toMatchObject({
    ...least,
    question: "Why?",
    generation: { max_new_tokens: 9, min_new_tokens: 0 },
    on_invalid: "skip",
    completion_window: "90m",
    metadata: { a: "b" },
  });
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
    [{ ...least, examples: "half.jsonl" }, /^half.jsonl: .*line 2/],
    [{ file: "list-for-request.json" }, /^list-for-request.json: not a JSON object$/],
  ];
  for (const [flags, message] of cases) await expect(read(flags)).rejects.toThrow(message);
  await expect(readSubmission({ file: "/nowhere/request.json" })).rejects.toThrow(UsageError);
});

it("collects metadata over several flags, and wants an equals sign", () => {
  expect(collectMetadata("b=c=d", collectMetadata("a=1"))).toEqual({ a: "1", b: "c=d" });
  expect(() => collectMetadata("plain")).toThrow(/key=value/);
});
