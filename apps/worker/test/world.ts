/**
 * A real Redis and a real S3, and a worker's steps on them one by one and by hand, so that a test loses Redis between any two: plan, parts, frontier, rebuild, repair.
 * Each attempt's lines say which attempt wrote them. Owns the look at a batch from S3's side: its lines once each, in order, as many as are counted.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  end as endSchema,
  neverRanLine,
  resultLine,
  succeededLine,
  type BatchRequest,
  type PartChoice,
  type ResultLine,
} from "@flamboyance/contracts";
import { startRedis } from "@flamboyance/dev/redis";
import { startTestServer } from "@flamboyance/dev/s3";
import { eraseQueue, newUlid, openQueue } from "@flamboyance/queue";
import { batchKeys, encodePlanIndex, jsonLine, openStorage, readJson, readLines, type Storage } from "@flamboyance/storage";
import { expect } from "vitest";
import { runFinalize } from "../src/finalize.ts";
import { advanceFrontier } from "../src/frontier.ts";
import { openLog } from "../src/log.ts";
import { createMetrics } from "../src/metrics.ts";
import { rebuildLost } from "../src/rebuild.ts";
import { openReconciler } from "../src/reconcile.ts";
import { tallyOf, addTallies, noTally } from "../src/result-tally.ts";
import { requestOf } from "../src/testing/request.ts";

export const bucket = "service";
export const itemsPerChunk = 4;
const { signal } = new AbortController();

export type World = Awaited<ReturnType<typeof startWorld>>;

export async function startWorld() {
  const folder = await mkdtemp(join(tmpdir(), "flamboyance-rebuild-"));
  let redis = await startRedis({ folder: join(folder, "redis") });
  const s3 = await startTestServer();
  const storage = openStorage({ ...s3, pathStyle: true });
  await storage.ensureBucket(bucket, { signal });
  const queue = await openQueue({ url: redis.url, graceMs: 0, quietMs: 0 });
  // Given to a step in place of the storage: what happens before an object is written.
  const before = (happens: (key: string) => Promise<void>): Storage => ({
    ...storage,
    write: async (location, ...rest) => {
      await happens(location.key);
      return storage.write(location, ...rest);
    },
  });
  const worker = (storageOfStep: Storage = storage, rebuildLeaseMs = 30_000) => ({
    storage: storageOfStep,
    buckets: { of: () => storageOfStep },
    queue,
    serviceBucket: bucket,
    metrics: createMetrics(() => Promise.resolve([])),
    log: openLog({ level: "silent", worker: "w" }),
    rebuildLeaseMs,
    leaseMs: 30_000,
    sweepMs: 3_600_000,
    keptMs: null,
  });
  const put = async (key: string, text: string | Uint8Array): Promise<void> =>
    void (await storage.write({ bucket, key }, text, { contentType: "application/octet-stream", signal }));

  const world = {
    queue,
    storage,
    before,
    worker,
    put,
    /** FLUSHALL, as far as the service goes. */
    lose: () => eraseQueue({ url: redis.url, prefix: "flamboyance" }),
    /** Redis goes and comes back with all it had. */
    async restart(): Promise<void> {
      await redis.close();
      redis = await startRedis({ folder: join(folder, "redis"), port: Number(new URL(redis.url).port) });
    },
    /** Whether Redis is believed again by this. */
    rebuild: (step = worker()) => rebuildLost(step, signal),
    reconcile: () => openReconciler(worker()).round(signal),

    async submit(fields: Partial<BatchRequest> = {}): Promise<BatchRequest> {
      const created_at = Math.floor(Date.now() / 1_000);
      const model = { name: "m", key: `${newUlid()}-fp32` };
      const request = requestOf({ id: `batch_${newUlid()}`, created_at, expires_at: created_at + 3_600, model, ...fields });
      await put(batchKeys(request.id).request, JSON.stringify(request));
      await put(batchKeys(request.id).marker, "");
      await queue.submit(request);
      return request;
    },

    /** A plan's folder, whole. */
    async writePlan({ id }: BatchRequest, chunks: number): Promise<string> {
      const plan = newUlid();
      const keys = batchKeys(id).plan(plan);
      const lines = Array.from({ length: chunks * itemsPerChunk }, (_, item) =>
        jsonLine({ custom_id: `item ${item}`, line: item + 1, question: null, image: "s3://photos/a.png" }),
      );
      let offsetBytes = 0;
      const index = Array.from({ length: chunks }, (_, chunk) => {
        const text = lines.slice(chunk * itemsPerChunk, (chunk + 1) * itemsPerChunk).join("");
        const planned = { offsetBytes, sizeBytes: Buffer.byteLength(text), firstItem: chunk * itemsPerChunk, items: itemsPerChunk };
        offsetBytes += planned.sizeBytes;
        return planned;
      });
      await put(keys.items, lines.join(""));
      await put(keys.index, encodePlanIndex(index));
      await put(keys.manifest, jsonLine({ plan, items: lines.length, chunks, refused: 0, items_sha256: "", examples: [] }));
      return plan;
    },

    async adopt(request: BatchRequest, chunks: number): Promise<string> {
      const plan = await world.writePlan(request, chunks);
      await queue.adoptPlan({ id: request.id, plan, items: chunks * itemsPerChunk, chunks, refused: 0 });
      return plan;
    },

    /** A part in S3 alone. `cut`: only its first item ran. */
    async writePart({ id }: BatchRequest, plan: string, chunk: number, part: Partial<PartChoice> = {}) {
      const { attempt = newUlid(), cut = false } = part;
      const lines = Array.from({ length: itemsPerChunk }, (_, at) => lineOf(id, chunk * itemsPerChunk + at, attempt, cut && at > 0));
      await put(batchKeys(id).part(plan, chunk, attempt, cut), lines.map(jsonLine).join(""));
      const tally = { ...lines.map(tallyOf).reduce(addTallies, noTally), stored_bytes: Buffer.byteLength(lines.map(jsonLine).join("")) };
      return { id, plan, chunk, attempt, cut, tally };
    },

    async record(request: BatchRequest, plan: string, chunk: number, part: Partial<PartChoice> = {}): Promise<string> {
      const written = await world.writePart(request, plan, chunk, part);
      expect(await queue.record(written)).toMatchObject({ kind: "recorded" });
      return written.attempt;
    },

    /** What the results API shows from now on. */
    confirm: ({ id }: BatchRequest, step = worker()) => advanceFrontier(step, id, signal),

    async control({ id }: BatchRequest, kind: "cancel" | "pause" | "resume"): Promise<void> {
      const taken = await queue.takeNumber({ id, kind });
      if (taken.kind !== "taken") throw new Error(taken.kind);
      await put(batchKeys(id).control(taken.number, newUlid()), jsonLine({ kind }));
      const step = { id, number: taken.number };
      await (kind === "cancel" ? queue.applyCancel(step) : kind === "pause" ? queue.applyPause(step) : queue.applyResume(step));
    },

    /** Runs what is left to run, and everything that follows, by honest workers and repair. */
    async finish(request: BatchRequest): Promise<void> {
      const { id, model } = request;
      await queue.announce({ worker: "w", model: model.key, slots: 100 }, 60_000);
      for (let round = 0; round < 10; round += 1) {
        await world.reconcile();
        const record = await queue.batch(id);
        if (record === null || record.settled) return;
        const parts = await queue.parts({ id });
        for (const [chunk, part] of parts.entries()) {
          const claim = { id, chunk, attempt: newUlid(), dispatch: 1_000, worker: "w" };
          if (part !== null || (await queue.claim(claim)).kind !== "run") continue;
          await world.record(request, record.plan ?? "", chunk, { attempt: claim.attempt });
        }
        await runFinalize(worker(), id, signal);
      }
      throw new Error(`${id} never ended`);
    },

    /** The first so many parts, as S3 holds them: what was shown. */
    async shown({ id }: BatchRequest): Promise<string[]> {
      const record = await queue.batch(id);
      const parts = await queue.parts({ id, count: record?.confirmed ?? 0 });
      return parts.map((part) => part?.attempt ?? "none");
    },

    /** Of the ended batch: who wrote each chunk's lines, `none` where they never ran, after all that must hold of every end. */
    async chunkWriters({ id }: BatchRequest): Promise<string[]> {
      const end = await readJson(storage, { bucket, key: batchKeys(id).end }, endSchema, signal);
      if (end === null || end.files === null) return [];
      const lines: ResultLine[] = [];
      for (const { key } of [end.files.output, end.files.errors]) {
        for await (const line of readLines(storage.stream({ bucket, key }, { signal }), { maxLineBytes: 1e6 }))
          if (line.kind === "line") lines.push(resultLine.parse(JSON.parse(line.text)));
      }
      const inOrder = lines.toSorted((a, b) => numberOf(a) - numberOf(b));
      expect(inOrder.map(numberOf)).toEqual(inOrder.map((_, item) => item));
      const sum = lines.map(tallyOf).reduce(addTallies, noTally);
      expect(end.counts).toEqual({ total: lines.length, completed: sum.completed, failed: sum.failed });
      const record = await queue.batch(id);
      expect(record).toMatchObject({
        status: end.status,
        completed: sum.completed,
        failed: sum.failed,
        items: lines.length,
        settled: true,
      });
      await world.reconcile();
      expect(await storage.describe({ bucket, key: batchKeys(id).marker }, { signal })).toBeNull();
      return inOrder.filter((_, item) => item % itemsPerChunk === 0).map(writerOf);
    },

    async close(): Promise<void> {
      await queue.close();
      storage.close();
      await s3.close();
      await redis.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
  return world;
}

function lineOf(batchId: string, item: number, attempt: string, neverRan: boolean): ResultLine {
  const identity = { batchId, item, customId: `item ${item}` };
  if (neverRan) return neverRanLine(identity, "batch_cancelled");
  return succeededLine(identity, {
    created: 1,
    model: "m",
    choices: [{ index: 0, message: { role: "assistant", content: attempt, refusal: null }, finish_reason: "stop", logprobs: null }],
    usage: { prompt_tokens: 2, completion_tokens: 1, total_tokens: 3, prompt_tokens_details: { cached_tokens: 1 } },
  });
}

const numberOf = ({ custom_id }: ResultLine): number => Number(custom_id?.split(" ")[1]);

function writerOf({ response }: ResultLine): string {
  const body = response?.body;
  return body !== undefined && "choices" in body ? (body.choices[0]?.message.content ?? "none") : "none";
}
