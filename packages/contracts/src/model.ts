/** A model of the catalogue: as the wire shows it (OpenAI's), and as api and worker know it. */
import { z } from "zod";

export const model = z.object({ id: z.string(), object: z.literal("model"), created: z.int(), owned_by: z.string() });
export type Model = z.infer<typeof model>;

export const modelList = z.object({ object: z.literal("list"), data: z.array(model) });
export type ModelList = z.infer<typeof modelList>;

/** What tells one model from another in its flamingo.json; the whole of that is the model package's. */
export const modelIdentity = z.object({ contentHash: z.string().regex(/^[0-9a-f]{64}$/), precision: z.string().regex(/^[a-z0-9]+$/) });
export type ModelIdentity = z.infer<typeof modelIdentity>;

/** fp32, int8, …: what a model's queue ends with. */
export function precisionOf({ key }: { readonly key: string }): string {
  return key.slice(key.lastIndexOf("-") + 1);
}

/** The model's queue: `3f…-fp32`. Two names with equal content share it. */
export function modelKeyOf({ contentHash, precision }: ModelIdentity): string {
  return `${contentHash}-${precision}`;
}
