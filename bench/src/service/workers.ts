/**
 * How the service grows with its workers: the same batch by one worker and by several, with an engine that just waits. Each worker's rows pass a gate of its own
 * (FLAMBOYANCE_ENGINE_GATE), one after the other, `waitMs` each: what limits the rate is then the workers, and what the service adds shows.
 */
import { noOpModelName } from "@flamboyance/dev/no-op-model";
import { manifest, verdictOf, type Dataset } from "./dataset.ts";
import { machine, note, print } from "./figures.ts";
import { openGates } from "./gates.ts";
import { withSystem } from "./run-system.ts";

export interface WorkersSetting {
  readonly dataset: Dataset;
  readonly workers: number;
  readonly waitMs: number;
}

/** False where counts and lines don't agree. */
export async function measureWorkers({ dataset, workers, waitMs }: WorkersSetting, signal: AbortSignal): Promise<boolean> {
  const rates: number[] = [];
  const rows: string[] = [];
  let right = true;
  for (const count of [1, workers]) {
    note(`${count} workers: ${dataset.items} items`);
    const { seconds, verdict } = await timeBatch({ dataset, workers: count, waitMs }, signal);
    right &&= verdict === "right";
    rates.push(dataset.items / seconds);
    rows.push(`| ${count} | ${seconds.toFixed(1)} | ${(dataset.items / seconds).toFixed(1)} | ${verdict} |`);
  }
  const [one = NaN, several = NaN] = rates;
  print(
    `${dataset.items} items, an engine that waits ${waitMs} ms an item`,
    machine,
    "",
    "| workers | seconds in all | items per second | counts and lines |",
    "|---|---|---|---|",
    ...rows,
    "",
    `1 → ${workers} workers: ${(several / one).toFixed(2)} × the rate`,
  );
  return right;
}

async function timeBatch({ dataset, workers, waitMs }: WorkersSetting, signal: AbortSignal): Promise<{ seconds: number; verdict: string }> {
  const gates = await openGates(waitMs);
  try {
    return await withSystem({ dataset, workers: 0 }, signal, async ({ system, client, storage }) => {
      for (let worker = 0; worker < workers; worker++) await system.addWorker({ FLAMBOYANCE_ENGINE_GATE: `${gates.url}/${worker}` });
      const startedMs = performance.now();
      const { id } = await client.batches.create(
        { model: noOpModelName, task: "caption", input: manifest, deduplicate: false },
        { signal },
      );
      const batch = await client.batches.wait(id, { signal, intervalMs: 100 });
      return { seconds: (performance.now() - startedMs) / 1_000, verdict: await verdictOf(storage, batch, dataset.items, signal) };
    });
  } finally {
    gates.close();
  }
}
