/** Submitting, listing and controlling: the api's side of the queue. Owns derived ids and the list's pages. */
import { createHash } from "node:crypto";
import { CodedError, recordStatus, type BatchRequest } from "@flamboyance/contracts";
import type { Redis } from "ioredis";
import { z } from "zod";
import {
  admitAnswer,
  cancelAnswer,
  controlAnswer,
  numberAnswer,
  pageAnswer,
  quotaUseAnswer,
  reserveAgainAnswer,
  reserveAnswer,
  submitAnswer,
} from "./answers.ts";
import { reached, replies } from "./connect.ts";
import type { Jobs } from "./jobs.ts";
import { keyOf } from "./layout.ts";
import type { OpenCount, Queue } from "./queue.ts";
import { addPlanJob } from "./plan-job.ts";
import { parseRecord, submittedFields, type BatchRecord } from "./record.ts";
import { notBelieved, type RunScript } from "./script.ts";
import { admit, quotaUse } from "./scripts/admit.ts";
import * as control from "./scripts/control.ts";
import { page } from "./scripts/page.ts";
import * as submission from "./scripts/submit.ts";
import { readBelieved } from "./sentinel.ts";
import { newUlid, unpackUlid } from "./ulid.ts";

type BatchesPart = Pick<
  Queue,
  | "reserve"
  | "reserved"
  | "reserveRetry"
  | "admit"
  | "quotaUse"
  | "submit"
  | "takeNumber"
  | "applyCancel"
  | "applyPause"
  | "applyResume"
  | "applyPriority"
  | "applyDeadline"
  | "batch"
  | "batches"
  | "openBatches"
  | "openCounts"
>;

interface Dependencies extends Pick<Queue, "believed"> {
  readonly redis: Redis;
  readonly prefix: string;
  readonly run: RunScript;
  readonly jobs: Jobs;
}

export function batchesOf({ redis, prefix, run, jobs, believed }: Dependencies): BatchesPart {
  const readAll = async (ids: readonly string[]): Promise<(BatchRecord | null)[]> => {
    const reading = redis.pipeline();
    for (const id of ids) reading.hgetall(keyOf(prefix, "batch", id));
    const { found, belief } = await readBelieved(reading, prefix);
    const records = found.map((hash) => parseRecord(hashOf(hash)));
    // A Redis that isn't believed may lack a record, or its last step; the rows of settled batches never change.
    if (belief === null && records.some((record) => record?.settled !== true)) throw notBelieved();
    return records;
  };

  return {
    async reserve({ tenant, bodyHash, idempotencyKey, retry = false }) {
      if (idempotencyKey === undefined) {
        const asked = [keyHash(tenant, bodyHash), `batch_${newUlid()}`, retry ? 1 : 0];
        const { id, known, now } = await run(submission.reserveAgain, asked, reserveAgainAnswer);
        return { id, known, now };
      }
      const id = derivedId(tenant, idempotencyKey, bodyHash);
      const answer = await run(submission.reserve, [keyHash(tenant, idempotencyKey), id], reserveAnswer);
      if (answer.kind === "mismatch") throw mismatch();
      return { id, known: true, now: answer.now };
    },

    async reserved({ tenant, bodyHash, idempotencyKey, retry = false }) {
      if (idempotencyKey === undefined) return retry ? reached(redis.get(keyOf(prefix, "retry", keyHash(tenant, bodyHash)))) : null;
      const held = await reached(redis.get(keyOf(prefix, "key", keyHash(tenant, idempotencyKey))));
      const id = derivedId(tenant, idempotencyKey, bodyHash);
      if (held !== null && held !== id) throw mismatch();
      return id;
    },

    async reserveRetry({ id, token }) {
      const answer = await run(submission.reserveRetry, [id, token], reserveAnswer);
      return answer.kind === "reserved" ? { now: answer.now } : null;
    },

    admit: ({ tenant, id, quotas: { running_batches: batches = "", items_queued: items = "", stored_bytes: bytes = "" } }) =>
      run(admit, [tenant, id, batches, items, bytes], admitAnswer),

    quotaUse: (tenant) => run(quotaUse, [tenant], quotaUseAnswer),

    async submit(request: BatchRequest) {
      const { id, tenant, model, created_at, idempotency_key } = request;
      const hash = idempotency_key === null ? "" : keyHash(tenant, idempotency_key);
      const given = [id, tenant, model.key, created_at, hash, ...Object.entries(submittedFields(request)).flat()];
      const answer = await run(submission.submit, given, submitAnswer);
      if (answer.kind === "mismatch") throw mismatch();
      if (answer.kind === "created") await addPlanJob({ run, jobs }, id);
      return answer.kind;
    },

    takeNumber: ({ id, kind }) => run(control.takeNumber, [id, kind], numberAnswer),
    applyCancel: ({ id, number }) => run(control.applyCancel, [id, number], cancelAnswer),
    applyPause: ({ id, number }) => run(control.applyPause, [id, number], controlAnswer),
    applyResume: ({ id, number, lifts = false }) => run(control.applyResume, [id, number, lifts ? 1 : 0], controlAnswer),
    applyPriority: ({ id, number, priority }) => run(control.applyPriority, [id, number, priority], controlAnswer),
    applyDeadline: ({ id, number, completionWindow, expiresAt }) =>
      run(control.applyDeadline, [id, number, completionWindow, expiresAt], controlAnswer),

    async batch(id) {
      const [record = null] = await readAll([id]);
      return record;
    },

    async batches({ tenant, after, limit }) {
      const answer = await run(page, [tenant, after ?? "", limit + 1], pageAnswer);
      if (answer.kind === "unknown") throw new CodedError("invalid_cursor", "`after` isn't a batch of this list.", { param: "after" });
      const { ids } = answer;
      const records = await readAll(ids.slice(0, limit));
      return { records: records.filter((record) => record !== null), hasMore: ids.length > limit };
    },

    async openCounts() {
      const ids = await reached(redis.zrange(keyOf(prefix, "open"), "0", "-1"));
      const counts = new Map<string, OpenCount>();
      for (let first = 0; first < ids.length; first += statusesAtOnce) {
        const reading = redis.pipeline();
        for (const id of ids.slice(first, first + statusesAtOnce)) reading.hmget(keyOf(prefix, "batch", id), "status", "model");
        for (const reply of await replies(reading)) {
          const found = statusAndModel.safeParse(reply).data;
          if (found === undefined) continue;
          const [status, model] = found;
          const known = counts.get(`${status} ${model}`);
          counts.set(`${status} ${model}`, { status, model, count: (known?.count ?? 0) + 1 });
        }
      }
      return [...counts.values()];
    },

    async *openBatches() {
      const epoch = await believed();
      let cursor = "0";
      do {
        const [next, entries] = await reached(redis.zscan(keyOf(prefix, "open"), cursor, "COUNT", 100));
        cursor = next;
        // Ids and scores by turns.
        yield* entries.filter((_, index) => index % 2 === 0);
      } while (cursor !== "0");
      // Emptied meanwhile, it gave fewer than there are.
      if (epoch === null || (await believed()) !== epoch) throw notBelieved();
    },
  };
}

/**
 * The id of the one batch that retries this one: it follows from the id alone, so that the newest of a lineage can be looked for from any of it, and two
 * requests at once can't make two.
 */
export function retryId(id: string): string {
  return `batch_${unpackUlid(digest("retry", id).subarray(0, 16))}`;
}

const statusesAtOnce = 1_000;
const statusAndModel = z.tuple([recordStatus, z.string()]);

function hashOf(reply: unknown): Record<string, string> {
  return reply !== null && typeof reply === "object"
    ? Object.fromEntries(Object.entries(reply).map(([key, value]) => [key, String(value)]))
    : {};
}

/** What an idempotency key, or a body, is known by. */
export function keyHash(tenant: string, key: string): string {
  return digest(tenant, key).toString("hex");
}

/** The id of a batch with an idempotency key follows from tenant, key and body. */
function derivedId(tenant: string, key: string, bodyHash: string): string {
  return `batch_${unpackUlid(digest(tenant, key, bodyHash).subarray(0, 16))}`;
}

function digest(...parts: readonly string[]): Buffer {
  return createHash("sha256").update(JSON.stringify(parts)).digest();
}

function mismatch(): CodedError {
  return new CodedError("idempotency_mismatch", "The idempotency key was used with another body.");
}
