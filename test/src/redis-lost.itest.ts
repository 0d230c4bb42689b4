/**
 * Redis is lost while everything runs: emptied, started anew with all it had, or without its last second; once, twice, with workers that die. What S3 holds goes on:
 * every item has its one line, and a line that was shown is the line of the end.
 */
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ResultLine } from "@flamboyance/contracts";
import { startRedis, type RunningRedis } from "@flamboyance/dev/redis";
import { startTestServer } from "@flamboyance/dev/s3";
import { eraseQueue } from "@flamboyance/queue";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { codesOf, startService, wholeBatch, type Service } from "./testing/service.ts";
import { until } from "./testing/until.ts";

// Each test starts processes anew, or waits for several takeovers.
vi.setConfig({ testTimeout: 180_000, hookTimeout: 180_000 });

let folder: string;
let redis: RunningRedis;
let service: Service;
/** Writes of keys that match are answered with 503; how many came is counted. */
const outage = { keys: null as RegExp | null, met: 0 };
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "flamboyance-lost-"));
  redis = await startRedis({ folder: join(folder, "redis") });
  const faults = ({ method, key }: { method: string; key: string }) => {
    if ((method !== "PUT" && method !== "POST") || outage.keys?.test(key) !== true) return null;
    outage.met += 1;
    return { kind: "error", code: "SlowDown" } as const;
  };
  service = await startService({ redis, s3: await startTestServer({ faults }), workers: 2 });
});
afterAll(async () => {
  await service.close();
  await redis.close();
  await rm(folder, { recursive: true, force: true });
});

const gone = new Set<Service["workers"][number]>();
const alive = () => service.workers.filter((worker) => !gone.has(worker));
async function kill(worker: Service["workers"][number] | undefined): Promise<void> {
  worker?.kill("SIGKILL");
  await worker?.exited;
  if (worker !== undefined) gone.add(worker);
}
/** Each test begins with two workers. */
beforeEach(async () => {
  while (alive().length < 2) await service.addWorker();
});
afterEach(() => {
  outage.keys = null;
  service.gate.open();
});

/** FLUSHALL, as far as the service goes. */
const empty = () => eraseQueue(service.redis);

/** Redis goes and comes back on its port; `earlier`: with the files of then. */
async function restart(earlier?: string): Promise<void> {
  const port = Number(new URL(redis.url).port);
  await redis.close();
  if (earlier !== undefined) {
    await rm(join(folder, "redis"), { recursive: true });
    await cp(earlier, join(folder, "redis"), { recursive: true });
  }
  redis = await startRedis({ folder: join(folder, "redis"), port });
  expect(new URL(redis.url).port).toBe(String(port));
}

const believed = () =>
  until(
    "Redis to be rebuilt",
    () => service.queue.believed().catch(() => null),
    (epoch) => epoch !== null,
  );

/** A batch of which some lines are shown, and the others wait in the engine. */
async function startBatch(name: string): Promise<{ id: string; customIds: string[]; shown: ResultLine[] }> {
  const { input, customIds } = await service.writeManifest(name, 80);
  service.gate.hold(40);
  const { id } = await service.submit({ input });
  await until(
    "rows of two workers in the engine",
    () => service.gate.waiting().length,
    (waiting) => waiting >= 8,
  );
  const { data } = await until(
    "lines to be shown",
    () => service.client.batches.resultsPage(id, { limit: 1_000 }),
    ({ data: lines }) => lines.length > 0,
  );
  return { id, customIds, shown: data };
}

/** The batch has completed, every item has its one line, all of them succeeded, and what was shown stands. */
async function expectAllRight({ id, customIds, shown }: Awaited<ReturnType<typeof startBatch>>): Promise<void> {
  expect((await service.ended(id)).status).toBe("completed");
  const lines = await wholeBatch(service, id, customIds);
  expect(new Set(codesOf(lines))).toEqual(new Set(["ok"]));
  expect(lines.slice(0, shown.length)).toEqual(shown);
}

describe("a running batch outlives a Redis", () => {
  it("that is emptied", async () => {
    const batch = await startBatch("emptied");
    await empty();
    await believed();
    expect((await service.client.batches.resultsPage(batch.id, { limit: 1_000 })).data.slice(0, batch.shown.length)).toEqual(batch.shown);
    service.gate.open();
    await expectAllRight(batch);
  });

  it("that is emptied while its rows come out of the engine", async () => {
    const batch = await startBatch("under-way");
    service.gate.open();
    await empty();
    await expectAllRight(batch);
  });

  it("that is started anew with all it had", async () => {
    const batch = await startBatch("restarted");
    await restart();
    await believed();
    service.gate.open();
    await expectAllRight(batch);
  });

  it("that comes back without its last second: what was submitted, cancelled and shown in it stays so", async () => {
    const batch = await startBatch("rolled-back");
    const { input } = await service.writeManifest("cancelled", 8);
    const cancelled = await service.submit({ input });
    await cp(join(folder, "redis"), join(folder, "earlier"), { recursive: true });
    await service.client.batches.cancel(cancelled.id);
    const last = await service.writeManifest("last-second", 8);
    const submitted = await service.submit({ input: last.input });
    await restart(join(folder, "earlier"));
    await believed();
    expect(["cancelling", "finalizing", "cancelled"]).toContain((await service.client.batches.get(cancelled.id)).status);
    service.gate.open();
    await expectAllRight(batch);
    await expectAllRight({ id: submitted.id, customIds: last.customIds, shown: [] });
    expect((await service.ended(cancelled.id)).status).toBe("cancelled");
  });

  it("that is emptied again and again, also while it is rebuilt, and a worker that dies with it", async () => {
    const batch = await startBatch("again");
    await empty();
    await believed();
    await empty();
    Object.assign(outage, { keys: /\/rebuilt\//, met: 0 });
    await until(
      "a rebuild to be in its middle",
      () => outage.met,
      (met) => met > 0,
    );
    await kill(alive()[0]);
    await empty();
    outage.keys = null;
    await believed();
    service.gate.open();
    await expectAllRight(batch);
  });

  it.each([
    ["it is planned", /\/plan\.json$/],
    ["its parts are written", /\/parts\//],
    ["its seal is written", /\/seals\//],
    ["its results are written", /\/final\/.*\/output\.jsonl$/],
    ["its end is written", /\/end\.json$/],
    ["what follows its end is written", /\/after\.json$/],
  ])("that is emptied while %s", async (name, keys) => {
    const { input, customIds } = await service.writeManifest(name.replaceAll(" ", "-"), 12);
    Object.assign(outage, { keys, met: 0 });
    const { id } = await service.submit({ input });
    await until(
      "the step",
      () => outage.met,
      (met) => met > 0,
    );
    await empty();
    await believed();
    outage.keys = null;
    await expectAllRight({ id, customIds, shown: [] });
  });
});

describe("while Redis is lost and no worker lives to rebuild it", () => {
  it("an ended batch answers with its results; everything else is to be asked again, and nothing isn't there", async () => {
    const { input, customIds } = await service.writeManifest("ended", 8);
    const ended = await service.submit({ input });
    await service.ended(ended.id);
    const lines = await wholeBatch(service, ended.id, customIds);
    const batch = await startBatch("open");
    for (const worker of alive()) await kill(worker);
    await empty();

    const ask = (path: string, method = "GET", body?: object) =>
      fetch(`${service.apiUrl}/v1/batches${path}`, {
        method,
        headers: { authorization: `Bearer ${service.apiKey}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    const found = await ask(`/${ended.id}`);
    expect(await found.json()).toMatchObject({ id: ended.id, status: "completed", request_counts: { total: 8, completed: 8 } });
    const results = (await (await ask(`/${ended.id}/results`)).json()) as { data: unknown };
    expect(results.data).toEqual(lines);
    const submission = { model: ended.model, task: "caption", input };
    for (const answer of [
      await ask(`/${batch.id}`),
      await ask(`/${batch.id}/results`),
      await ask(`/${batch.id}/cancel`, "POST"),
      await ask(""),
      await ask("", "POST", submission),
    ]) {
      expect(answer.status).toBe(503);
      expect(answer.headers.get("retry-after")).not.toBeNull();
    }
    await service.addWorker();
    service.gate.open();
    await expectAllRight(batch);
  });
});
