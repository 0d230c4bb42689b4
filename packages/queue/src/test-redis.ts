/** For this package's tests: a Redis of their own on a free port in a temporary folder, and a queue on it with short times. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import type { BatchRequest, End, Tally } from "@flamboyance/contracts";
import { Redis } from "ioredis";
import { openQueue, type QueueOptions } from "./open.ts";
import type { Queue } from "./queue.ts";
import type { OpenState } from "./rebuild.ts";
import { replayControls } from "./replay.ts";
import { newUlid } from "./ulid.ts";

/** The longest wait between two tries of a job. */
export const retryCapMs = 50;

export interface TestRedis {
  readonly url: string;
  /** To look past the door, or to break something. */
  readonly raw: Redis;
  queue(options?: Partial<QueueOptions>): Promise<Queue>;
  /** Stops the server and starts it anew on the same port and append-only file: another run, that isn't believed. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

export async function startTestRedis({ appendOnly = false } = {}): Promise<TestRedis> {
  const folder = await mkdtemp(join(tmpdir(), "queue-redis-"));
  const port = await freePort();
  const settings = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendfsync", "always"];
  const start = async () => {
    const started = spawn(serverCommand(), [...settings, "--appendonly", appendOnly ? "yes" : "no"], { stdio: "ignore" });
    await once(started, "spawn");
    return started;
  };
  let server = await start();
  const stop = async () => {
    server.kill();
    if (server.exitCode === null && server.signalCode === null) await once(server, "exit");
  };

  const url = `redis://127.0.0.1:${port}`;
  const raw = new Redis(url, { retryStrategy: () => 20 });
  raw.on("error", () => {});
  await raw.ping();
  const queues: Queue[] = [];
  return {
    url,
    raw,
    async queue(options = {}) {
      const queue = await openQueue({ url, graceMs: 0, retryCapMs, ...options });
      queues.push(queue);
      if ((await queue.believed()) === null) await believe(queue);
      return queue;
    },
    async restart() {
      await stop();
      server = await start();
      await raw.ping();
    },
    async close() {
      await Promise.all(queues.map((queue) => queue.close()));
      raw.disconnect();
      await stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** As a rebuild that finds nothing in S3; answers the epoch. */
export async function believe(queue: Queue, epoch = 1): Promise<number> {
  const rebuild = await queue.beginRebuild(10_000);
  await rebuild?.believe(epoch);
  return epoch;
}

/** What a rebuild may choose for a batch of so many chunks: in progress, without a part. */
export function stateOf(request: BatchRequest, chunks: number, fields: Partial<OpenState> = {}): OpenState {
  return {
    epoch: 2,
    status: "in_progress",
    controls: replayControls("in_progress", request, []),
    plan: { plan: newUlid(), items: 4 * chunks, chunks, refused: 0, stored_bytes: 100 },
    parts: Array.from({ length: chunks }, () => null),
    tally: tallyOf(0),
    loose: new Map(),
    inProgressAt: request.created_at,
    seal: null,
    ...fields,
  };
}

/** A request as the api freezes it. */
export function requestOf(fields: Partial<BatchRequest> = {}): BatchRequest {
  const created_at = Math.floor(Date.now() / 1_000);
  return {
    id: `batch_${newUlid()}`,
    tenant: "birds",
    access: { read: ["images"], write: ["images"], credentials: [] },
    created_at,
    expires_at: created_at + 3_600,
    idempotency_key: null,
    model: { name: "flamingo", key: `${newUlid()}-fp32` },
    task: "caption",
    input: "s3://images/manifest.jsonl",
    output: null,
    examples: [],
    question: null,
    pixels: "exact",
    generation: { max_new_tokens: 20, min_new_tokens: 0, num_beams: 1 },
    on_invalid: "fail",
    completion_window: "1h",
    metadata: null,
    weight: 1,
    priority: 0,
    ...fields,
  };
}

export function tallyOf(completed: number, failed = 0): Tally {
  const tokens = { input_tokens: 10 * completed, cached_tokens: 5 * completed, output_tokens: 3 * completed };
  return { completed, failed, ...tokens, stored_bytes: 7 * (completed + failed) };
}

/** The end.json of a batch whose record is given. */
export function endOf(seal: string, status: End["status"], [total, completed, failed]: [number, number, number]): End {
  const usage = {
    input_tokens: 10,
    input_tokens_details: { cached_tokens: 5 },
    output_tokens: 3,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: 13,
  };
  const counts = { total, completed, failed };
  return {
    seal,
    status,
    ended_at: 2_000,
    in_progress_at: 1_000,
    finalizing_at: 1_900,
    cancelling_at: null,
    counts,
    usage,
    errors: [],
    files: null,
  };
}

/** Waits until the condition holds; fails after 20 s. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error("the condition never held");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Whichever server the PATH holds. */
function serverCommand(): string {
  const folders = (process.env["PATH"] ?? "").split(delimiter);
  return ["redis-server", "valkey-server"].find((name) => folders.some((folder) => existsSync(join(folder, name)))) ?? "redis-server";
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}
