/**
 * A batch over a dataset, as a caller asks for it: where the images are, what to do with each, the solved examples, where results go.
 * Owns the request's schema and the manifest's line. Refuses what is only known later (whether buckets, models and images exist).
 */
import { z } from "zod";
import { generation, generationFaults, generationGiven, isSampled } from "./generation.ts";
import { limits } from "./limits.ts";

/** An object of S3, or an address of the web: no credentials in it, and no IPv6 in brackets. What the web's guard refuses beyond that (ports, addresses) is the worker's. */
const imageLocation = z
  .string()
  .max(limits.urlCharacters)
  .regex(
    /^(?:s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\/.+|https:\/\/[^\s/?#@:\\[\]]+(?::\d{1,5})?(?:[/?#]\S*)?)$/,
    "must be s3://bucket/key or https://host/path",
  );
const s3Input = z
  .string()
  .max(limits.locationCharacters)
  .regex(/^s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\/.*$/, "must be s3://bucket/…");
const s3Folder = z
  .string()
  .max(limits.locationCharacters)
  .regex(/^s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]\/(.*\/)?$/, "must be s3://bucket/folder/, with a slash at its end");
const question = z.string().min(1).max(limits.questionCharacters);

const prompt = z.string().min(1).max(limits.questionCharacters);
/** What an item may be called; the model is asked for the likeliest. */
const labels = z
  .array(z.string().min(1).max(limits.labelCharacters))
  .min(2)
  .max(limits.labels)
  .refine((all) => new Set(all).size === all.length, "must be different labels");

export const task = z.enum(["caption", "vqa", "classify", "prompt"]);
export type Task = z.infer<typeof task>;

/** exact: as the model's reference prepares them, to the bit. fast: large JPEG and WebP images are decoded at a lower resolution. */
export const pixelMode = z.enum(["exact", "fast"]);
export type PixelMode = z.infer<typeof pixelMode>;

/** What an example shows: one image, or the frames of a video in order. */
const shown = { image: imageLocation.optional(), images: z.array(imageLocation).min(1).max(limits.frames).optional() };

/**
 * A solved example: `text` for a caption, a label, or what follows a prompt (`prompt`; without it the batch's), `question` and `answer` for vqa.
 * Without an image it is text only, its `<image>` left out.
 */
export const supportExample = z.union([
  z.strictObject({ ...shown, prompt: prompt.optional(), text: z.string().max(limits.questionCharacters) }),
  z.strictObject({ ...shown, question, answer: z.string().max(limits.questionCharacters) }),
]);
export type SupportExample = z.infer<typeof supportExample>;

export const metadata = z
  .record(z.string().min(1).max(limits.metadataKeyCharacters), z.string().max(limits.metadataValueCharacters))
  .refine((pairs) => Object.keys(pairs).length <= limits.metadataPairs, `at most ${limits.metadataPairs} pairs`);

/** Among a tenant's own batches: the highest first, and of equal ones the oldest. */
export const priority = z.int().min(-limits.priority).max(limits.priority);

/** A number of lines, or a share of all of them (`5%`, `0.5%`). */
export const maxFailed = z.union(
  [
    z.int().min(0).max(limits.manifestItems),
    z
      .string()
      .max(6)
      .regex(/^(100|\d{1,2}(\.\d{1,2})?)%$/, "must be a number of items, or a share from 0% to 100%"),
  ],
  "must be a number of items, or a share, as 5%",
);
export type MaxFailed = z.infer<typeof maxFailed>;

/** `24h`, `90m`, `7d`: from the submit to the deadline. */
export const completionWindow = z
  .string()
  .max(6)
  .regex(/^[1-9]\d{0,4}[smhd]$/, "must be a number from 1 to 99999 with s, m, h or d, as 24h");

export function completionWindowSeconds(window: string): number {
  const seconds = { s: 1, m: 60, h: 3_600, d: 86_400 }[window.slice(-1)];
  if (seconds === undefined) throw new RangeError(`not a completion window: ${window}`);
  return Number(window.slice(0, -1)) * seconds;
}

const columnName = z.string().min(1).max(limits.columnNameCharacters);

/** Our fields by what a manifest calls them; a field that isn't named here has its own name there. */
export const columns = z.strictObject({
  custom_id: columnName.optional(),
  image: columnName.optional(),
  images: columnName.optional(),
  etag: columnName.optional(),
  question: columnName.optional(),
  prompt: columnName.optional(),
  labels: columnName.optional(),
});
export type Columns = z.infer<typeof columns>;

const patterns = z.array(z.string().min(1).max(limits.patternCharacters)).min(1).max(limits.patterns);

/** What results lie in beside output.jsonl and errors.jsonl, which are always there: one table of all lines each. */
export const resultFormat = z.enum(["csv", "parquet"]);
export type ResultFormat = z.infer<typeof resultFormat>;

export const createDatasetBatch = z
  .strictObject({
    model: z.string().min(1).max(200),
    task,
    input: s3Input.describe(
      "A manifest `….jsonl`, `.ndjson`, `.csv`, `.tsv` (each also `.gz`, `.zst`) or `.parquet`, or a prefix: `s3://bucket/folder/` or with a pattern, `s3://bucket/folder/**/*.jpg`.",
    ),
    columns: columns
      .optional()
      .describe(
        "Manifests: which of its columns (of JSON lines: fields) hold ours, `{image: 'url'}`. With it, columns that are none of ours are left alone.",
      ),
    include: patterns
      .optional()
      .describe("Prefixes: of the objects only those that match one of these patterns, relative to the prefix's folder."),
    exclude: patterns
      .optional()
      .describe("Prefixes: none of the objects that match one of these patterns, relative to the prefix's folder."),
    output: s3Folder
      .optional()
      .describe("Where output.jsonl, errors.jsonl, summary.json and what `result_formats` asks for are copied after the end."),
    examples: z.array(supportExample).max(limits.examples).default([]),
    question: question.optional().describe("vqa: asked of every item that brings no question of its own."),
    prompt: prompt.optional().describe("prompt: the text behind each image, which the model goes on from; an item may bring its own."),
    labels: labels.optional().describe("classify: what an item may be called; an item may bring its own labels."),
    rank_by: z
      .enum(["mean", "sum"])
      .optional()
      .describe(
        "classify: the label with the best mean (default, as OpenFlamingo's evaluation has it) or sum of its tokens' log-probabilities wins.",
      ),
    frames: z
      .int()
      .min(1)
      .max(limits.frames)
      .optional()
      .describe(
        "Frames taken, evenly spaced, of each animation (GIF, WebP) or list of `images`; all where there are fewer. Default: of an animation its first, of a list as many as the model takes.",
      ),
    pixels: pixelMode
      .optional()
      .describe(
        "How images become pixels, items' and examples' alike. exact (default): as OpenFlamingo prepares them, to the bit. fast: a JPEG or WebP of at least six times the model's side is decoded to two or three times the side, and resized from there.",
      ),
    generation: generation.prefault({}),
    on_invalid: z.enum(["fail", "skip"]).default("fail"),
    completion_window: completionWindow.default("24h"),
    priority: priority
      .optional()
      .describe(
        "Which of your batches of this model goes first: the highest, then the oldest. 0 without it; can be changed while the batch runs.",
      ),
    result_formats: z
      .array(resultFormat)
      .max(resultFormat.options.length)
      .refine((all) => new Set(all).size === all.length, "must be different formats")
      .optional()
      .describe(
        "Tables of all result lines, completed and failed, in the manifest's order: results.csv, results.parquet, beside output.jsonl and errors.jsonl.",
      ),
    deduplicate: z
      .boolean()
      .optional()
      .describe(
        "Whether items that show and ask the same run once, and the others take that answer (`flamingo.copied_from`). Default true; what is sampled always runs each by itself.",
      ),
    reuse: z
      .boolean()
      .optional()
      .describe(
        "Whether items take the answers that earlier batches of yours with `reuse` gave to the same (image bytes, words, examples, model, generation; `flamingo.reused_from`), and this batch's answers may be taken by later ones. Default false. What is sampled needs a `seed`.",
      ),
    dry_run: z
      .boolean()
      .optional()
      .describe(
        "Reads the manifest, looks at some images and ends with a report (`/report`); nothing runs, and nothing is written to `output`.",
      ),
    max_failed: maxFailed
      .optional()
      .describe(
        "Pauses the batch, with its `paused_reason`, once more lines failed than this number, or than this share of all lines (`5%`). Resumed, it goes on without this limit.",
      ),
    metadata: metadata.nullish().transform((value) => value ?? null),
  })
  .superRefine((body, context) => {
    const refuse = (path: (string | number)[], message: string): void => context.addIssue({ code: "custom", path, message });
    for (const [index, example] of body.examples.entries()) {
      const fault = exampleFault(body.task, example, body.prompt !== undefined);
      if (fault !== null) refuse(["examples", index], fault);
    }
    for (const [field, owner] of [
      ["question", "vqa"],
      ["prompt", "prompt"],
      ["labels", "classify"],
      ["rank_by", "classify"],
    ] as const) {
      if (body[field] !== undefined && body.task !== owner) refuse([field], `is for the task ${owner}`);
    }
    if (body.task === "classify") {
      for (const field of generationGiven(body.generation))
        refuse(["generation", field], "classify ranks its labels and generates nothing");
    } else {
      for (const { field, message } of generationFaults(body.generation)) refuse(["generation", field], message);
      if (body.reuse === true && isSampled(body.generation) && body.generation.seed === undefined)
        refuse(["reuse"], "needs generation.seed: without it what is sampled is drawn anew by each batch");
    }
  });
export type CreateDatasetBatch = z.output<typeof createDatasetBatch>;
/** As a caller writes it: what has a default may be left out. */
export type CreateDatasetBatchInput = z.input<typeof createDatasetBatch>;

function exampleFault(what: Task, example: SupportExample, batchHasPrompt: boolean): string | null {
  if (example.image !== undefined && example.images !== undefined) return "an example has an image or images, not both";
  if (what === "vqa") return "question" in example ? null : "a vqa example needs question and answer";
  if (!("text" in example)) return `a ${what} example needs text`;
  if (what === "prompt") return example.prompt !== undefined || batchHasPrompt ? null : "neither the example nor the batch has a prompt";
  return example.prompt === undefined ? null : `a ${what} example has no prompt`;
}

/** A line of a dataset's manifest: one image, or `images`, the frames of a video in order. Unknown fields are refused, so that a misspelt one isn't silently ignored. */
export const manifestLine = z
  .strictObject({
    custom_id: z.string().min(1).max(limits.customIdCharacters),
    image: imageLocation.optional(),
    images: z.array(imageLocation).min(1).max(limits.imagesPerItem).optional(),
    /** What the ETag of an image in S3 must be; quotes don't count. */
    etag: z.string().min(1).max(limits.etagCharacters).optional(),
    question: question.optional(),
    prompt: prompt.optional(),
    labels: labels.optional(),
  })
  .transform(({ image, images, etag, ...line }, context) => {
    const refuse = (field: string, message: string): void => context.addIssue({ code: "custom", path: [field], message });
    if (etag !== undefined && image?.startsWith("https:")) refuse("etag", "is an S3 image's: one of the web has none");
    else if (image !== undefined && images === undefined) return { ...line, image, ...(etag === undefined ? {} : { etag }) };
    else if (image !== undefined) refuse("images", "a line has an image or images, not both");
    else if (images === undefined) refuse("image", "a line needs an image, or images");
    else if (etag !== undefined) refuse("etag", "is one image's: a line of images has none");
    else return { ...line, images };
    return z.NEVER;
  });
export type ManifestLine = z.infer<typeof manifestLine>;
