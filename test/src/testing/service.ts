/**
 * A whole service for one test file: Redis, S3, api and workers as real processes, with short locks and an engine that the test holds back at will.
 * Owns the look at a batch from all sides: lines, counts, files, queues, marker.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient, type Client } from "@flamboyance/client";
import { resultLine, type Batch, type CreateDatasetBatchInput, type ResultLine } from "@flamboyance/contracts";
import { noOpModelName, publishNoOpModel } from "@flamboyance/dev/no-op-model";
import { plainImage } from "@flamboyance/dev/plain-image";
import { startTestServer, type RunningTestServer } from "@flamboyance/dev/s3";
import { serviceBucket, startSystem, type System } from "@flamboyance/dev/system";
import { openQueue, type Queue } from "@flamboyance/queue";
import { batchKeys, jsonLine, openStorage, parseLocation, readLines, type Storage } from "@flamboyance/storage";
import { expect } from "vitest";
import { startGate, type EngineGate } from "./gate.ts";
import { until } from "./until.ts";

export interface Service extends System {
  readonly client: Client;
  readonly storage: Storage;
  readonly queue: Queue;
  readonly gate: EngineGate;
  /** Submits a batch over the no-op model. */
  submit(body: Partial<CreateDatasetBatchInput> & { input: string }): Promise<Batch>;
  /** Writes images and a manifest over them, and answers its location and its custom_ids. */
  writeManifest(name: string, count: number, lines?: (lines: string[]) => string[]): Promise<{ input: string; customIds: string[] }>;
  ended(id: string): Promise<Batch>;
}

export const customerBucket = "customer";

/** Times of all processes, short enough for a takeover within seconds. */
const environment = {
  FLAMBOYANCE_ENGINE: "none",
  FLAMBOYANCE_LOCK_SECONDS: "1.5",
  FLAMBOYANCE_SENTINEL_SECONDS: "0.2",
  FLAMBOYANCE_RECONCILE_SECONDS: "0.5",
  FLAMBOYANCE_FRONTIER_SECONDS: "0.2",
  FLAMBOYANCE_STOP_SECONDS: "0.2",
  FLAMBOYANCE_QUIET_SECONDS: "5",
  FLAMBOYANCE_DRAIN_SECONDS: "5",
  FLAMBOYANCE_DECODE_THREADS: "1",
  FLAMBOYANCE_CATALOGUE_SECONDS: "0",
};

export async function startService(
  options: {
    /** Fills the service's bucket before the workers start. Default: the no-op model. */
    prepare?: (storage: Storage, signal: AbortSignal) => Promise<void>;
    workers?: number;
    environment?: Record<string, string>;
    s3?: RunningTestServer;
    redis?: { readonly url: string };
    faults?: Parameters<typeof startTestServer>[0];
  } = {},
): Promise<Service> {
  const folder = await mkdtemp(join(tmpdir(), "flamboyance-test-"));
  const gate = await startGate();
  const s3 = options.s3 ?? (await startTestServer(options.faults ?? {}));
  const storage = openStorage({ ...s3, pathStyle: true });
  const { signal } = new AbortController();
  const system = await startSystem(
    {
      folder,
      s3,
      ...(options.redis === undefined ? {} : { redis: options.redis }),
      workers: options.workers ?? 1,
      environment: { ...environment, FLAMBOYANCE_ENGINE_GATE: gate.url, ...options.environment },
    },
    async () => {
      for (const bucket of [serviceBucket, customerBucket]) await storage.ensureBucket(bucket, { signal });
      await (options.prepare ?? ((opened) => publishNoOpModel(opened, serviceBucket, signal)))(storage, signal);
    },
  );
  const queue = await openQueue(system.redis);
  const client = createClient({ baseUrl: system.apiUrl, apiKey: system.apiKey });
  return {
    ...system,
    client,
    storage,
    queue,
    gate,
    submit: (body) => client.batches.create({ model: noOpModelName, task: "caption", ...body }),
    writeManifest: async (name, count, change = (lines) => lines) => {
      const customIds = Array.from({ length: count }, (_, index) => `${name}-${index}`);
      const lines = customIds.map((custom_id, index) => jsonLine({ custom_id, image: `s3://${customerBucket}/${name}/${index % 50}.png` }));
      for (let index = 0; index < Math.min(50, count); index++) {
        await storage.write({ bucket: customerBucket, key: `${name}/${index}.png` }, plainImage(index), {
          contentType: "image/png",
          signal,
        });
      }
      const location = { bucket: customerBucket, key: `${name}.jsonl` };
      await storage.write(location, change(lines).join(""), { contentType: "application/jsonl", signal });
      return { input: `s3://${customerBucket}/${location.key}`, customIds };
    },
    ended: async (id) => client.batches.wait(id, { intervalMs: 50, signal: AbortSignal.timeout(50_000) }),
    close: async () => {
      await queue.close();
      await system.close();
      await gate.close();
      storage.close();
      await s3.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** All lines of the ended batch, after holding them against counts, files, queues and the marker. */
export async function wholeBatch(service: Service, id: string, customIds: readonly (string | null)[]): Promise<ResultLine[]> {
  const batch = await service.client.batches.get(id);
  const lines: ResultLine[] = [];
  for await (const line of service.client.batches.results(id)) lines.push(line);
  // Every item exactly one line, in the manifest's order.
  expect(lines.map(({ custom_id }) => custom_id)).toEqual(customIds);
  expect(new Set(lines.map((line) => line.id)).size).toBe(lines.length);
  const completed = lines.filter(({ response }) => response?.status_code === 200);
  expect(batch.request_counts).toEqual({ total: lines.length, completed: completed.length, failed: lines.length - completed.length });
  // The files hold the same lines, each in order.
  if (batch.results !== null) {
    expect(await linesOf(service, batch.results.output)).toEqual(completed);
    expect(await linesOf(service, batch.results.errors)).toEqual(lines.filter((line) => !completed.includes(line)));
  }
  await until(
    "the queues to be empty",
    () => service.queue.depths(),
    (depths) => depths.every(({ ready, running }) => ready + running === 0),
  );
  const marker = { bucket: serviceBucket, key: batchKeys(id).marker };
  await until(
    "the marker to go",
    () => service.storage.describe(marker, { signal: AbortSignal.timeout(30_000) }),
    (found) => found === null,
  );
  return lines;
}

/** The lines of a results file, by its location. */
export async function linesOf(service: Service, location: string): Promise<ResultLine[]> {
  const lines: ResultLine[] = [];
  const bytes = service.storage.stream(parseLocation(location), { signal: AbortSignal.timeout(30_000) });
  for await (const line of readLines(bytes, { maxLineBytes: 1e6 })) {
    if (line.kind !== "line") throw new Error(`${location}: line ${line.number} is ${line.kind}`);
    lines.push(resultLine.parse(JSON.parse(line.text)));
  }
  return lines;
}

/** The codes of all lines, `ok` where a line succeeded. */
export function codesOf(lines: readonly ResultLine[]): string[] {
  return lines.map(({ response, error }) => {
    const body = response?.body;
    if (error !== null) return error.code;
    return body !== undefined && "error" in body ? (body.error.code ?? "?") : "ok";
  });
}
