/** What a batch survives: workers that die, freeze and wake late, leave in order, and an S3 that fails for a while. */
import { startTestServer } from "@flamboyance/dev/s3";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
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

/** The running workers: the last two that were started and not ended by a test. */
const alive = () => service.workers.filter(({ name }) => !gone.has(name));
const gone = new Set<string>();

/** Every chunk's rows that both workers can hold are in the engine, waiting. */
async function untilBothAreBusy(): Promise<void> {
  // Two workers with two chunks of four items each.
  await until(
    "rows of both workers in the engine",
    () => service.gate.waiting().length,
    (waiting) => waiting >= 16,
  );
}

async function successor(): Promise<void> {
  await service.addWorker();
}

describe("a batch", () => {
  it("survives a worker that is killed in its middle", async () => {
    const { input, customIds } = await service.writeManifest("killed", 80);
    service.gate.hold(20);
    const { id } = await service.submit({ input });
    await untilBothAreBusy();
    const [victim] = alive();
    victim?.kill("SIGKILL");
    await victim?.exited;
    gone.add(victim?.name ?? "");
    service.gate.open();
    expect((await service.ended(id)).status).toBe("completed");
    expect(new Set(codesOf(await wholeBatch(service, id, customIds)))).toEqual(new Set(["ok"]));
    await successor();
  });

  it("survives a worker that freezes until its chunks are taken over, and wakes", async () => {
    const { input, customIds } = await service.writeManifest("frozen", 80);
    service.gate.hold(20);
    const { id } = await service.submit({ input });
    await untilBothAreBusy();
    const [frozen] = alive();
    frozen?.kill("SIGSTOP");
    // The frozen worker's rows still wait; the same rows come again from the one that took its chunks over.
    await until(
      "a row that waits twice",
      () => {
        const rows = service.gate.waiting();
        return rows.length - new Set(rows).size;
      },
      (twice) => twice > 0,
    );
    frozen?.kill("SIGCONT");
    service.gate.open();
    expect((await service.ended(id)).status).toBe("completed");
    expect(new Set(codesOf(await wholeBatch(service, id, customIds)))).toEqual(new Set(["ok"]));
    expect(frozen?.name).toBe(alive()[0]?.name);
  });

  it("survives a worker that freezes, and wakes after the batch's end", async () => {
    const { input, customIds } = await service.writeManifest("late", 80);
    service.gate.hold(20);
    const { id } = await service.submit({ input });
    await untilBothAreBusy();
    const [frozen] = alive();
    frozen?.kill("SIGSTOP");
    service.gate.open();
    expect((await service.ended(id)).status).toBe("completed");
    const before = await wholeBatch(service, id, customIds);
    frozen?.kill("SIGCONT");
    await until(
      "the woken worker to be ready",
      () => isReady(frozen?.url),
      (ready) => ready,
    );
    expect(await wholeBatch(service, id, customIds)).toEqual(before);
  });

  it("loses nothing when a worker leaves in order: it finishes what it holds", async () => {
    const { input, customIds } = await service.writeManifest("drained", 80);
    service.gate.hold(20);
    const { id } = await service.submit({ input });
    await untilBothAreBusy();
    const [leaving] = alive();
    leaving?.kill("SIGTERM");
    await until(
      "the leaving worker to take no more work",
      () => isReady(leaving?.url),
      (ready) => !ready,
    );
    service.gate.open();
    expect(await leaving?.exited).toBe(0);
    gone.add(leaving?.name ?? "");
    expect((await service.ended(id)).status).toBe("completed");
    expect(new Set(codesOf(await wholeBatch(service, id, customIds)))).toEqual(new Set(["ok"]));
  });

  it("loses nothing when a worker leaves and can't finish in time: it hands its chunks back", async () => {
    await service.addWorker({ FLAMBOYANCE_DRAIN_SECONDS: "0.2" });
    const { input, customIds } = await service.writeManifest("handed-back", 80);
    service.gate.hold(20);
    const { id } = await service.submit({ input });
    await untilBothAreBusy();
    const leaving = alive().at(-1);
    leaving?.kill("SIGTERM");
    expect(await leaving?.exited).toBe(0);
    gone.add(leaving?.name ?? "");
    service.gate.open();
    expect((await service.ended(id)).status).toBe("completed");
    expect(new Set(codesOf(await wholeBatch(service, id, customIds)))).toEqual(new Set(["ok"]));
    await successor();
  });

  it("waits for its first worker", async () => {
    const { input, customIds } = await service.writeManifest("alone", 8);
    for (const worker of alive()) {
      worker.kill("SIGKILL");
      await worker.exited;
      gone.add(worker.name);
    }
    const { id } = await service.submit({ input });
    await successor();
    expect((await service.ended(id)).status).toBe("completed");
    await wholeBatch(service, id, customIds);
    await successor();
  });

  it("waits out an S3 that answers 503, without one failed item", async () => {
    const { input, customIds } = await service.writeManifest("unavailable", 60);
    service.gate.hold(10);
    const { id } = await service.submit({ input });
    await until(
      "rows in the engine",
      () => service.gate.waiting().length,
      (waiting) => waiting > 0,
    );
    outage.met = 0;
    // More than one request's own tries can wait out.
    outage.left = 200;
    service.gate.open();
    expect((await service.ended(id)).status).toBe("completed");
    expect(outage).toEqual({ left: 0, met: 200 });
    expect(new Set(codesOf(await wholeBatch(service, id, customIds)))).toEqual(new Set(["ok"]));
  });
});

async function isReady(url: string | undefined): Promise<boolean> {
  const answer = await fetch(`${url ?? ""}/ready`, { signal: AbortSignal.timeout(2_000) }).catch(() => null);
  await answer?.body?.cancel();
  return answer?.ok ?? false;
}
