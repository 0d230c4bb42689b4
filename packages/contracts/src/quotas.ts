/** What a tenant may have at once. Owns the schema: it stands with the tenant's key, and what of it a plan needs is frozen with each batch. */
import { z } from "zod";

/** What isn't given is as much as the tenant likes. */
export const quotas = z.strictObject({
  /** Batches that haven't ended. */
  running_batches: z.int().min(1).optional(),
  /** Items of these that have no line yet. How many a batch brings its plan tells: one that would bring too many fails there. */
  items_queued: z.int().min(1).optional(),
  /** Bytes that its batches keep in the service's bucket, ended or not, until they are deleted: plans, parts, results. */
  stored_bytes: z.int().min(1).optional(),
});
export type Quotas = z.infer<typeof quotas>;

const use = (what: string) =>
  z.object({ have: z.int().describe(what), most: z.int().nullable().describe("The most that it may be; null: as much as you like.") });

/** What a tenant has of each, beside its quotas. */
export const quotaUse = z.object({
  object: z.literal("quota_use"),
  running_batches: use("Batches that haven't ended."),
  items_queued: use("Items of these that have no line yet."),
  stored_bytes: use("Bytes that your batches keep in the service's bucket until they are deleted."),
});
export type QuotaUse = z.infer<typeof quotaUse>;
