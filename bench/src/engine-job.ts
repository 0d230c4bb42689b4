/** What the parts of `npm run bench:engine` tell each other. Owns the forms only. */
import { deviceChoiceSchema } from "@flamboyance/model";
import { z } from "zod";

export const engineJob = z.object({
  folder: z.string(),
  threads: z.int(),
  device: deviceChoiceSchema,
  /** Of the cache of images, and of that of prefixes. */
  cacheBytes: z.int(),
  images: z.int(),
  beams: z.int(),
  newTokens: z.int(),
  shots: z.array(z.int()),
  /** Tokens of one example, `<image>` and `<|endofchunk|>` included, and of the query. */
  shotTokens: z.int(),
  queryTokens: z.int(),
});
export type EngineJob = z.infer<typeof engineJob>;

const seconds = z.number();

export const shotsMeasure = z.object({
  shots: z.int(),
  /** Whether the run computed the prefix itself, or found it. */
  prefix: z.enum(["none", "within", "ready"]),
  /** For all images together. */
  seconds,
  spent: z.object({ vision: seconds, prefill: seconds, decode: seconds, host: seconds }),
});
export type ShotsMeasure = z.infer<typeof shotsMeasure>;

/** The engine's lines: one per measure, then the peak of resident memory. */
export const engineLine = z.union([shotsMeasure, z.object({ peakBytes: z.number() })]);
export type EngineLine = z.infer<typeof engineLine>;

export interface EngineReport {
  readonly measures: readonly ShotsMeasure[];
  readonly peakBytes: number;
}

/** The peer's line per number of shots. */
export const peerReport = z.object({ shots: z.int(), batch: z.int(), seconds_per_caption: z.number() });
export type PeerReport = z.infer<typeof peerReport>;
