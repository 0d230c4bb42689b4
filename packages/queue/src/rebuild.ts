/**
 * Making Redis believed again: the lease, the removal of what is left, the records one by one, and the sentinel. Owns the way from a batch's state to its record.
 * Refuses to choose that state: it is read from S3 by whoever holds the lease.
 */
import {
  CodedError,
  type After,
  type BatchRequest,
  type End,
  type PartChoice,
  type Plan,
  type Rebuilt,
  type Seal,
  type Tally,
} from "@flamboyance/contracts";
import type { Redis } from "ioredis";
import { beginAnswer, believeAnswer, forgetAnswer, holdAnswer, publishAnswer, relistedAnswer } from "./answers.ts";
import { keyHash } from "./batches.ts";
import { reached } from "./connect.ts";
import { jobLists } from "./jobs.ts";
import { isRebuilt, keyOf, partBytes, partFlags } from "./layout.ts";
import { endFields, flat, submittedFields, type RecordFields } from "./record.ts";
import type { Queue } from "./queue.ts";
import type { ReplayedControls } from "./replay.ts";
import type { RunScript } from "./script.ts";
import * as scripts from "./scripts/rebuild.ts";
import { newUlid, packUlid } from "./ulid.ts";

/** What a batch that hasn't ended stands at. */
export interface OpenState {
  /** The rebuild's, or the batch's own where it is rebuilt alone. */
  readonly epoch: number;
  /** Where it isn't sealed. */
  readonly status: Rebuilt["status"];
  readonly controls: ReplayedControls;
  readonly plan: Pick<Plan, "plan" | "items" | "chunks" | "refused" | "stored_bytes"> | null;
  /** One per chunk of the plan; null where it has no part yet. */
  readonly parts: readonly (PartChoice | null)[];
  /** Of all parts together. */
  readonly tally: Tally;
  /** Of the parts behind the first chunk that has none: no frontier object names them yet. */
  readonly loose: ReadonlyMap<number, Tally>;
  readonly inProgressAt: number | null;
  readonly seal: Pick<Seal, "seal" | "outcome" | "sealed_at" | "cancelling_at" | "errors" | "terms"> | null;
}

/** What S3 says of a batch that has ended; `after` null: what follows its end isn't done. */
export interface EndedState {
  readonly end: End;
  readonly plan: string | null;
  readonly after: After | null;
}

/** Held by one process at a time, and only in the run of the server that it was taken in. Each step throws `service_unavailable` once it is lost. */
export interface Rebuild {
  /** Whether this Redis isn't believed: all of it is to be rebuilt, and the sentinel to be set. */
  readonly lost: boolean;
  /** Unix seconds of Redis's clock, when the lease was taken. */
  readonly now: number;
  /** For another `ttlMs`. */
  renew(): Promise<void>;
  /** Removes everything that is made anew: open batches, turns, jobs. */
  forget(signal: AbortSignal): Promise<void>;
  /** After rebuilt/<epoch>.json stands. `exists`: the batch has a record, which stays. */
  publish(request: BatchRequest, state: OpenState): Promise<"published" | "exists">;
  publishEnded(request: BatchRequest, state: EndedState): Promise<"published" | "exists">;
  /** Last of all: this Redis is believed, and the lease ends. */
  believe(epoch: number): Promise<void>;
  /** Where Redis is believed: the ended batches up to this id are listed again; null: all of them. */
  relisted(upTo: string | null): Promise<void>;
  release(): Promise<void>;
}

interface Dependencies {
  readonly redis: Redis;
  readonly prefix: string;
  readonly run: RunScript;
}

export function rebuildOf({ redis, prefix, run }: Dependencies): Pick<Queue, "beginRebuild" | "relistAfter"> {
  async function* pieces(signal: AbortSignal): AsyncGenerator<readonly string[]> {
    let cursor = "0";
    do {
      signal.throwIfAborted();
      const [next, keys] = await reached(redis.scan(cursor, "MATCH", `${prefix}:*`, "COUNT", keysAtOnce));
      yield keys;
      cursor = next;
    } while (cursor !== "0");
  }

  return {
    relistAfter: () => reached(redis.get(keyOf(prefix, "relist"))),

    async beginRebuild(ttlMs: number): Promise<Rebuild | null> {
      const token = newUlid();
      const begun = await run(scripts.begin, [token, ttlMs], beginAnswer);
      if (begun.kind === "held") return null;
      const publish = async (request: BatchRequest, fields: RecordFields, parts: Buffer, loose: ReadonlyMap<number, Tally>) => {
        const { id, tenant, model, created_at, idempotency_key } = request;
        const hash = idempotency_key === null ? "" : keyHash(tenant, idempotency_key);
        const tallies = JSON.stringify([...loose].map(([chunk, tally]) => [chunk, tallyText(tally)]));
        const given = [token, id, tenant, model.key, created_at, hash, parts, tallies, ...flat({ ...submittedFields(request), ...fields })];
        const { kind } = await run(scripts.publish, given, publishAnswer);
        if (kind === "lost") throw lostLease();
        return kind;
      };
      return {
        lost: begun.lost,
        now: begun.now,
        renew: async () => stillHeld(await run(scripts.hold, [token, ttlMs], holdAnswer)),
        forget: async (signal) => {
          const forget = async (keys: readonly string[]) => stillHeld(await run(scripts.forget, [token, ...keys], forgetAnswer));
          // Lists before jobs, a queue's all at once: BullMQ takes up each id that it finds in one, and would write what makes a hash of a job that is gone.
          const lists = new Map<string, string[]>();
          for await (const keys of pieces(signal)) {
            for (const key of keys) {
              const found = jobLists(prefix, key);
              if (found !== null) lists.set(found[0] ?? "", found);
            }
          }
          for (const keys of lists.values()) await forget(keys);
          for await (const keys of pieces(signal)) {
            const going = keys.filter((key) => isRebuilt(prefix, key));
            if (going.length > 0) await forget(going);
          }
        },
        publish: (request, state) => publish(request, openFields(state), packParts(state.parts), state.loose),
        publishEnded: (request, state) => publish(request, endedFields(state), Buffer.alloc(0), new Map()),
        believe: async (epoch) => stillHeld(await run(scripts.believe, [token, epoch], believeAnswer)),
        relisted: async (upTo) => stillHeld(await run(scripts.relisted, [token, upTo ?? ""], relistedAnswer)),
        release: async () => {
          await run(scripts.letGo, [token], holdAnswer);
        },
      };
    },
  };
}

const keysAtOnce = 500;

function openFields({ epoch, status, controls, plan, parts, tally, inProgressAt, seal }: OpenState): RecordFields {
  const gap = parts.indexOf(null);
  const frontier = gap === -1 ? parts.length : gap;
  const { expiresAt, number, applied, priority, priorityNumber, cancellingAt, completionWindow, deadlineNumber } = controls;
  // The log may have a control that came too late for the seal.
  const terms = seal?.terms ?? { completion_window: completionWindow, expires_at: expiresAt, priority };
  return {
    epoch,
    status: seal === null ? status : "finalizing",
    // Numbers that were taken before the loss, and come late, stay below those of now.
    number: number + numbersUnderWay,
    applied,
    ...terms,
    priority_number: priorityNumber,
    deadline_number: deadlineNumber,
    max_failed_lifted: controls.maxFailedLifted ? 1 : null,
    plan: plan?.plan ?? null,
    items: plan?.items ?? 0,
    chunks: plan?.chunks ?? 0,
    refused: plan?.refused ?? 0,
    recorded: parts.filter((part) => part !== null).length,
    // The rebuilt/ object names them, as a frontier object does.
    frontier,
    confirmed: frontier,
    next: frontier,
    completed: tally.completed,
    failed: tally.failed + (plan?.refused ?? 0),
    input_tokens: tally.input_tokens,
    cached_tokens: tally.cached_tokens,
    output_tokens: tally.output_tokens,
    stored_bytes: tally.stored_bytes + (plan?.stored_bytes ?? 0),
    in_progress_at: plan === null ? null : inProgressAt,
    cancelling_at: seal === null ? cancellingAt : seal.cancelling_at,
    finalizing_at: seal?.sealed_at ?? null,
    seal: seal?.seal ?? null,
    outcome: seal?.outcome ?? null,
    errors: seal === null ? null : JSON.stringify(seal.errors),
  };
}

const numbersUnderWay = 1_000;

function endedFields({ end, plan, after }: EndedState): RecordFields {
  return {
    ...endFields(end),
    plan,
    items: end.counts.total,
    settled: after === null ? null : 1,
    delivery: after === null ? null : JSON.stringify(after.delivery),
  };
}

function packParts(parts: readonly (PartChoice | null)[]): Buffer {
  const bytes = Buffer.alloc(parts.length * partBytes);
  for (const [chunk, part] of parts.entries()) {
    if (part === null) continue;
    bytes[chunk * partBytes] = partFlags.has + (part.cut ? partFlags.cut : 0);
    packUlid(part.attempt).copy(bytes, chunk * partBytes + 1);
  }
  return bytes;
}

function tallyText({ completed, failed, input_tokens, cached_tokens, output_tokens, stored_bytes }: Tally): string {
  return [completed, failed, input_tokens, cached_tokens, output_tokens, stored_bytes].join(" ");
}

function stillHeld({ kind }: { readonly kind: string }): void {
  if (kind === "lost") throw lostLease();
}

function lostLease(): CodedError {
  return new CodedError("service_unavailable", "The lease of the rebuild was lost.");
}
