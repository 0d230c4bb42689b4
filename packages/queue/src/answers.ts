/** What the scripts answer, as schemas. Owns the parse only: the meanings stand with the interface in queue.ts. */
import { batchOutcome, quotas, recordStatus } from "@flamboyance/contracts";
import { z } from "zod";

const gone = z.object({ kind: z.literal("gone") });
const withStatus = <Kind extends string>(kind: Kind) => z.object({ kind: z.literal(kind), status: recordStatus });
const bare = <Kind extends string>(kind: Kind) => z.object({ kind: z.literal(kind) });

export const reserveAnswer = z.discriminatedUnion("kind", [z.object({ kind: z.literal("reserved"), now: z.int() }), bare("mismatch")]);
export const reserveAgainAnswer = z.object({ kind: z.literal("reserved"), id: z.string(), known: z.boolean(), now: z.int() });
export const planTurnAnswer = z.discriminatedUnion("kind", [z.object({ kind: z.literal("turn"), at: z.int() }), gone]);
export const submitAnswer = z.object({ kind: z.enum(["created", "exists", "mismatch"]) });
export const numberAnswer = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("taken"), number: z.int() }),
  withStatus("conflict"),
  gone,
]);
export const cancelAnswer = z.discriminatedUnion("kind", [withStatus("cancelling"), withStatus("conflict"), gone]);
export const pageAnswer = z.discriminatedUnion("kind", [z.object({ kind: z.literal("page"), ids: z.array(z.string()) }), bare("unknown")]);
export const controlAnswer = z.discriminatedUnion("kind", [withStatus("applied"), withStatus("superseded"), withStatus("conflict"), gone]);
const overAny = z.object({ kind: z.literal("over"), quota: quotas.keyof(), have: z.int(), most: z.int() });
export const admitAnswer = z.discriminatedUnion("kind", [bare("admitted"), overAny]);
export const quotaUseAnswer = z.object({ running_batches: z.int(), items_queued: z.int(), stored_bytes: z.int() });
export const claimPlanAnswer = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("run"), suspect: z.boolean(), convicted: z.array(z.string()) }),
  withStatus("stopped"),
  gone,
]);
export const adoptAnswer = z.discriminatedUnion("kind", [
  overAny.extend({ quota: quotas.omit({ running_batches: true }).keyof() }),
  z.object({ kind: z.literal("adopted"), sealed: z.boolean() }),
  withStatus("lost"),
  gone,
]);
const handOut = z.object({ id: z.string(), chunk: z.int(), dispatch: z.int() });
export type HandOut = z.infer<typeof handOut>;
export const dispatchAnswer = z.object({ chunks: z.array(handOut), overtakes: z.boolean() });
export const orderAnswer = z.object({ kind: z.literal("ordered"), jobs: z.int() });
export const claimAnswer = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("run"), plan: z.string(), expiresAt: z.int(), suspect: z.boolean(), quarantined: z.array(z.int()) }),
  bare("parked"),
  bare("stopped"),
  bare("recorded"),
  bare("sealed"),
  bare("superseded"),
  gone,
]);
export const noteAnswer = z.object({ kind: z.enum(["noted", "superseded", "gone"]) });
export const releaseAnswer = z.object({ kind: z.enum(["released", "gone"]) });
export const recordAnswer = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("recorded"), last: z.boolean() }),
  z.object({
    kind: z.literal("refused"),
    reason: z.enum(["sealed", "has_part", "other_plan", "not_cut", "no_such_chunk", "gone"]),
  }),
]);
export const expireAnswer = z.discriminatedUnion("kind", [
  bare("expiring"),
  z.object({ kind: z.literal("not_due"), leftMs: z.int() }),
  withStatus("refused"),
  gone,
]);
export const sealAnswer = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("sealed"), outcome: batchOutcome }),
  z.object({ kind: z.literal("lost"), seal: z.string(), outcome: batchOutcome }),
  z.object({ kind: z.literal("waiting"), running: z.int(), leftMs: z.int() }),
  withStatus("refused"),
  gone,
]);
export const fenceAnswer = z.discriminatedUnion("kind", [bare("sealed"), withStatus("refused"), gone]);
export const endAnswer = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("ended"), status: batchOutcome }),
  withStatus("refused"),
  gone,
]);
export const confirmAnswer = z.object({ kind: z.enum(["confirmed", "refused", "gone"]) });
export const batchJobAnswer = z.object({ kind: z.enum(["stands", "none"]) });
export const repairAnswer = z.object({ again: z.array(handOut), back: z.array(z.int()), entered: z.boolean() });
export const beginAnswer = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("taken"), lost: z.boolean(), now: z.int() }),
  bare("held"),
]);
export const holdAnswer = z.object({ kind: z.enum(["held", "lost"]) });
export const forgetAnswer = z.object({ kind: z.enum(["forgotten", "lost"]) });
export const publishAnswer = z.object({ kind: z.enum(["published", "exists", "lost"]) });
export const relistedAnswer = z.object({ kind: z.enum(["relisted", "lost"]) });
export const believeAnswer = z.object({ kind: z.enum(["believed", "lost"]) });
export const announceAnswer = bare("announced");
export const liveAnswer = z.array(
  z.object({ key: z.string(), slots: z.number(), workers: z.int(), itemsPerSecond: z.number().nullable() }),
);
export const sweepableAnswer = z.array(z.string());
export const startDeleteAnswer = z.discriminatedUnion("kind", [bare("started"), withStatus("refused"), bare("retried")]);
export const forgetDeletedAnswer = bare("forgotten");
export const sweptAnswer = z.object({ kind: z.enum(["swept", "gone"]) });
export const allowCallAnswer = z.object({ waitMs: z.int() });
export const leaseAnswer = z.object({ kind: z.enum(["held", "lost"]) });
