/** GET /v1/batches/{id}/results: lines in manifest order, readable while the batch runs; `next` is an opaque cursor, null once the last line of an ended batch was given. */
import { z } from "zod";
import { batchStatus } from "./status.ts";
import { resultLine } from "./result-line.ts";

export const resultsPage = z.object({
  object: z.literal("list"),
  data: z.array(resultLine),
  /** Pass it as `after`; stays the same while nothing new can be shown. */
  next: z.string().nullable(),
  has_more: z.boolean().describe("True while more lines stand ready behind `next`."),
  status: batchStatus,
});
export type ResultsPage = z.infer<typeof resultsPage>;
