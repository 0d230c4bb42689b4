/**
 * A batch over a dataset, as a caller asks for it: where the images are, what to do with each, the solved examples, where results go.
 * Owns the request's schema and the manifest's line. Refuses what is only known later (whether buckets, models and images exist).
 */
import { z } from "zod";
import { limits } from "./limits.ts";

const s3Location = z.string().regex(/^s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\/.+$/, "must be s3://bucket/key");
const s3Input = z.string().regex(/^s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\/.*$/, "must be s3://bucket/…");
const s3Folder = z
  .string()
  .regex(/^s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\/(.*\/)?$/, "must be s3://bucket/folder/, with a slash at its end");
const question = z.string().min(1).max(limits.questionCharacters);

export const task = z.enum(["caption", "vqa"]);
export type Task = z.infer<typeof task>;

/** A solved example: `text` for a caption, `question` and `answer` for vqa. Without an image it is text only, its `<image>` left out. */
export const supportExample = z.union([
  z.strictObject({ image: s3Location.optional(), text: z.string().max(limits.questionCharacters) }),
  z.strictObject({ image: s3Location.optional(), question, answer: z.string().max(limits.questionCharacters) }),
]);
export type SupportExample = z.infer<typeof supportExample>;

/** How the text is generated. Greedy for now: `num_beams` is 1 and there is no temperature. */
export const generation = z.strictObject({
  max_new_tokens: z.int().min(1).max(limits.newTokens).optional().describe("Default 20 for captions, 5 for vqa."),
  min_new_tokens: z.int().min(0).max(limits.newTokens).default(0),
  num_beams: z.literal(1).default(1),
});
export type Generation = z.infer<typeof generation>;

export const metadata = z
  .record(z.string().min(1).max(limits.metadataKeyCharacters), z.string().max(limits.metadataValueCharacters))
  .refine((pairs) => Object.keys(pairs).length <= limits.metadataPairs, `at most ${limits.metadataPairs} pairs`);

/** `24h`, `90m`, `7d`: from the submit to the deadline. */
export const completionWindow = z.string().regex(/^[1-9]\d{0,4}[smhd]$/, "must be a number with s, m, h or d, as 24h");

export function completionWindowSeconds(window: string): number {
  const seconds = { s: 1, m: 60, h: 3_600, d: 86_400 }[window.slice(-1)];
  if (seconds === undefined) throw new RangeError(`not a completion window: ${window}`);
  return Number(window.slice(0, -1)) * seconds;
}

export const createDatasetBatch = z
  .strictObject({
    model: z.string().min(1).max(200),
    task,
    input: s3Input.describe("A manifest `….jsonl`, or a prefix: `s3://bucket/folder/` or with a pattern, `s3://bucket/folder/**/*.jpg`."),
    output: s3Folder.optional().describe("Where output.jsonl, errors.jsonl and summary.json are copied after the end."),
    examples: z.array(supportExample).max(limits.examples).default([]),
    question: question.optional().describe("vqa: asked of every item that brings no question of its own."),
    generation: generation.prefault({}),
    on_invalid: z.enum(["fail", "skip"]).default("fail"),
    completion_window: completionWindow.default("24h"),
    metadata: metadata.nullish().transform((value) => value ?? null),
  })
  .superRefine((body, context) => {
    for (const [index, example] of body.examples.entries()) {
      const fits = body.task === "vqa" ? "question" in example : "text" in example;
      if (!fits) {
        const message = body.task === "vqa" ? "a vqa example needs question and answer" : "a caption example needs text";
        context.addIssue({ code: "custom", path: ["examples", index], message });
      }
    }
    if (body.generation.min_new_tokens > (body.generation.max_new_tokens ?? limits.newTokens)) {
      context.addIssue({ code: "custom", path: ["generation", "min_new_tokens"], message: "is larger than max_new_tokens" });
    }
  });
export type CreateDatasetBatch = z.output<typeof createDatasetBatch>;
/** As a caller writes it: what has a default may be left out. */
export type CreateDatasetBatchInput = z.input<typeof createDatasetBatch>;

/** A line of a dataset's manifest. Unknown fields are refused, so that a misspelt one isn't silently ignored. */
export const manifestLine = z.strictObject({
  custom_id: z.string().min(1).max(limits.customIdCharacters),
  image: s3Location,
  question: question.optional(),
});
export type ManifestLine = z.infer<typeof manifestLine>;
