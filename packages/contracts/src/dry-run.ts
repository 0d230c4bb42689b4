/** What a dry run ends with: the manifest's faults, a look at some of its images, and how long the whole may take. */
import { z } from "zod";
import { lineError } from "./batch.ts";

const seen = z.int();

export const dryRunReport = z.object({
  object: z.literal("batch.report"),
  batch_id: z.string(),
  lines: z.int().describe("Of the manifest, or objects of the prefix: `items` and `refused`."),
  items: z.int(),
  refused: z.int(),
  would_fail: z.boolean().describe("Whether the batch itself would fail over its refused lines: with `on_invalid: fail` one is enough."),
  errors: z.array(lineError).describe("The first refused lines, at most 1,000."),
  more_errors: z.int().describe("Refused lines that `errors` doesn't show."),
  codes: z.record(z.string(), z.int()).describe("Refused lines by their code, all of them."),
  sample: z
    .object({
      images: seen.describe("Items whose image was looked for (of a list the first): spread evenly over the manifest."),
      found: seen,
      mean_bytes: z.number().nullable().describe("Of those that were found."),
      decoded: seen.describe("Images of the sample that were fetched and decoded."),
      problems: z.array(z.object({ custom_id: z.string(), image: z.string(), code: z.string(), message: z.string() })),
    })
    .describe("A look at some images. A problem here is an item's error in the batch."),
  estimate: z.object({
    image_bytes: z.number().nullable().describe("Of all items' images, by the sample's mean; null where none was found."),
    items_per_second: z
      .number()
      .nullable()
      .describe("Of the model's live workers together, by what they ran lately; null where they ran nothing."),
    seconds: z.number().nullable().describe("At that rate, with all workers and nobody else's work; null where the rate isn't known."),
  }),
});
export type DryRunReport = z.infer<typeof dryRunReport>;
