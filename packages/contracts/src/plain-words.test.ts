import { expect, it } from "vitest";
import { z } from "zod";
import { createDatasetBatch } from "./dataset.ts";
import { plainWords } from "./plain-words.ts";

const wordsOf = (schema: z.ZodType, value: unknown): string | undefined =>
  schema.safeParse(value, { error: plainWords }).error?.issues[0]?.message;

it("says what a value must be", () => {
  const cases: [z.ZodType, unknown, string][] = [
    [z.string(), undefined, "is needed"],
    [z.string(), 1, "must be a text"],
    [z.int(), 1.5, "must be a whole number"],
    [z.number(), "1", "must be a number"],
    [z.boolean(), "yes", "must be true or false"],
    [z.array(z.string()), {}, "must be a list"],
    [z.strictObject({}), [], "must be an object"],
    [z.string().min(1), "", "must not be empty"],
    [z.string().max(3), "four", "must have 3 characters or fewer"],
    [z.array(z.int()).min(2), [1], "must hold 2 or more"],
    [z.array(z.int()).max(1), [1, 2], "must hold 1 or fewer"],
    [z.int().min(1), 0, "must be at least 1"],
    [z.number().gt(0), 0, "must be more than 0"],
    [z.number().max(2), 3, "must be at most 2"],
    [z.enum(["fail", "skip"]), "stop", "must be one of fail, skip"],
    [z.literal("one"), "two", "must be one"],
    [z.strictObject({}), { colour: "red" }, "has a field that isn't known: colour"],
  ];
  for (const [schema, value, words] of cases) expect(wordsOf(schema, value)).toBe(words);
});

it("leaves a schema's own words alone", () => {
  expect(wordsOf(z.string().min(1, "must name a bucket"), "")).toBe("must name a bucket");
  const least = { model: "demo", task: "caption", input: "s3://photos/" };
  expect(wordsOf(createDatasetBatch, { ...least, completion_window: "soon" })).toBe(
    "must be a number from 1 to 99999 with s, m, h or d, as 24h",
  );
  expect(wordsOf(createDatasetBatch, { ...least, examples: [{ image: "photos", text: 1 }] })).toBe(
    "fits none of the forms that it may have",
  );
});
