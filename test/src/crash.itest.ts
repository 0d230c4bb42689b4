/** What a batch survives: workers that die, freeze and wake late, leave in order, and an S3 that fails for a while. */
import type { ResultLine } from "@flamboyance/contracts";
import { startTestServer } from "@flamboyance/dev/s3";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { codesOf, startService, wholeBatch, type Service } from "./testing/service.ts";
import { until } from "./testing/until.ts";

let service: Service;
/** How many requests S3 still answers with 503; those before are counted. */
const outage = { left: 0, met: 0 };
beforeAll(async () => {
  const faults = () => {
    if (outage.left <= 0) return null;
    outage.left -= 1;
    outage.met += 1;
    return { kind: "error", code: "SlowDown" } as const;
  };
  service = await startService({ s3: await startTestServer({ faults }), workers: 2 });
});
afterAll(() => service.close());

type Application = Service["workers"][number];
const gone = new Set<Application>();
const alive = () => service.workers.filter((worker) => !gone.has(worker));

async function end(worker: Application, signal: NodeJS.Signals): Promise<number | null> {
  worker.kill(signal);
  const code = await worker.exited;
  gone.add(worker);
  return code;
}

/** Each test begins with two workers. */
beforeEach(async () => {
  for (const surplus of alive().slice(2)) await end(surplus, "SIGTERM");
  while (alive().length < 2) await service.addWorker();
});
afterEach(() => {
  service.gate.open();
  for (const worker of alive()) worker.kill("SIGCONT");
});

/** Of a batch of at most 256 items. */
const itemsPerChunk = 4;

/** One of the two workers, whose chunks stay its own so long that no other takes them over within the test: what it leaves it has finished or handed back. */
async function replaceOne(drainSeconds: string): Promise<Application> {
  const [first] = alive();
  if (first !== undefined) await end(first, "SIGTERM");
  return service.addWorker({ FLAMBOYANCE_LOCK_SECONDS: "600", FLAMBOYANCE_DRAIN_SECONDS: drainSeconds });
}

const chunksRunning = async () =>
  (await service.queue.depths()).filter(({ kind }) => kind === "chunk").reduce((sum, { running }) => sum + running, 0);

/** How many rows of the batch ran more than once. */
const ranAgain = (id: string) => {
  const rows = service.gate.asked().filter((row) => row.startsWith(`${id}-`));
  return rows.length - new Set(rows).size;
};

/** A batch that is in its middle: some chunks are recorded, and the rows of two chunks of each worker wait in the engine. */
async function startBatch(name: string): Promise<{ id: string; customIds: string[]; worker: Application; other: Application }> {
  const { input, customIds } = await service.writeManifest(name, 80);
  service.gate.hold(20);
  const { id } = await service.submit({ input });
  await until(
    "two chunks of each worker in the engine",
    () => new Set(service.gate.waiting().map((row) => Math.floor(Number(row.split("-").at(-1)) / itemsPerChunk))).size,
    (chunks) => chunks === 4,
  );
  const [worker, other] = alive();
  if (worker === undefined || other === undefined) throw new Error("two workers run");
  return { id, customIds, worker, other };
}

/** The batch has completed, every item has its one line, and all of them succeeded. */
async function expectAllRight(id: string, customIds: readonly string[]): Promise<ResultLine[]> {
  expect((await service.ended(id)).status).toBe("completed");
  const lines = await wholeBatch(service, id, customIds);
  expect(new Set(codesOf(lines))).toEqual(new Set(["ok"]));
  return lines;
}

describe("a batch", () => {
  it("survives a worker that is killed in its middle", async () => {
    const { id, customIds, worker } = await startBatch("killed");
    await end(worker, "SIGKILL");
    service.gate.open();
    await expectAllRight(id, customIds);
  });

  it("survives a worker that freezes until its chunks are taken over, and wakes", async () => {
    const { id, customIds, worker } = await startBatch("frozen");
    worker.kill("SIGSTOP");
    await until("the frozen one's two chunks to wait for another worker", chunksRunning, (running) => running === 2);
    // Room for them: the other one's hands are full. They wait in front of the chunks that nobody has had.
    await service.addWorker();
    // The frozen worker's rows still wait. They, or rows of the same chunks that had passed before, come again from the one that took these over: one by one, for they are suspect.
    await until(
      "a row that comes again",
      () => ranAgain(id),
      (again) => again > 0,
    );
    worker.kill("SIGCONT");
    service.gate.open();
    await expectAllRight(id, customIds);
  });

  it("survives a worker that freezes, and wakes after the batch's end", async () => {
    const { id, customIds, worker } = await startBatch("late");
    worker.kill("SIGSTOP");
    service.gate.open();
    const before = await expectAllRight(id, customIds);
    worker.kill("SIGCONT");
    await until(
      "the woken worker to hold no chunk",
      () => figure(worker, "flamboyance_chunks_running"),
      (chunks) => chunks === 0,
    );
    expect(await wholeBatch(service, id, customIds)).toEqual(before);
  });

  it("loses nothing when a worker leaves in order: it finishes what it holds", async () => {
    const leaving = await replaceOne("40");
    const { id, customIds } = await startBatch("drained");
    leaving.kill("SIGTERM");
    await until(
      "the leaving worker to take no more work",
      () => isReady(leaving),
      (ready) => !ready,
    );
    expect(await chunksRunning()).toBe(4);
    service.gate.open();
    expect(await leaving.exited).toBe(0);
    gone.add(leaving);
    await expectAllRight(id, customIds);
    expect(ranAgain(id)).toBe(0);
  });

  it("loses nothing when a worker leaves and can't finish in time: it hands its chunks back", async () => {
    const leaving = await replaceOne("0.2");
    const { id, customIds } = await startBatch("handed-back");
    expect(await end(leaving, "SIGTERM")).toBe(0);
    // While the gate is still shut, its chunks are nobody's: they wait for the other worker, whose hands are full.
    expect(await chunksRunning()).toBe(2);
    service.gate.open();
    await expectAllRight(id, customIds);
    expect(ranAgain(id)).toBeGreaterThan(0);
  });

  it("waits for its first worker", async () => {
    for (const worker of alive()) await end(worker, "SIGKILL");
    const { input, customIds } = await service.writeManifest("alone", 8);
    const { id } = await service.submit({ input });
    await service.addWorker();
    await expectAllRight(id, customIds);
  });

  it("waits out an S3 that answers 503, without one failed item", async () => {
    const { id, customIds } = await startBatch("unavailable");
    outage.met = 0;
    // More than one request's own tries can wait out.
    outage.left = 200;
    service.gate.open();
    await expectAllRight(id, customIds);
    expect(outage).toEqual({ left: 0, met: 200 });
  });
});

async function figure(worker: Application, name: string): Promise<number | null> {
  const answer = await fetch(`${worker.url}/metrics`, { signal: AbortSignal.timeout(2_000) }).catch(() => null);
  const found = new RegExp(`^${name} (\\S+)$`, "m").exec((await answer?.text()) ?? "");
  return found === null ? null : Number(found[1]);
}

async function isReady(worker: Application): Promise<boolean> {
  const answer = await fetch(`${worker.url}/ready`, { signal: AbortSignal.timeout(2_000) }).catch(() => null);
  await answer?.body?.cancel();
  return answer?.ok ?? false;
}
