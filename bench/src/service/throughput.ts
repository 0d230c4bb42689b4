/**
 * How many items a second go through the whole service when the model costs nothing, and what they cost the worker's processor. One api, one worker, Redis and the
 * development S3 server on this machine; every item is fetched, decoded, given its line, recorded and finalized.
 */
import type { Batch } from "@flamboyance/contracts";
import { noOpModelName } from "@flamboyance/dev/no-op-model";
import { manifest, verdictOf, type Dataset } from "./dataset.ts";
import { machine, print, processorSeconds, readMetrics, stages } from "./figures.ts";
import { withSystem } from "./run-system.ts";

/** False where counts and lines don't agree. */
export async function measureThroughput(dataset: Dataset, signal: AbortSignal): Promise<boolean> {
  return withSystem({ dataset, workers: 1 }, signal, async ({ system, client, storage }) => {
    const { items, images, imageSide } = dataset;
    const [worker] = system.workers;
    if (worker === undefined) throw new Error("one worker was started");
    const before = await Promise.all([worker.url, system.apiUrl].map(readMetrics));
    const startedMs = performance.now();
    let plannedSeconds = 0;
    const secondsSoFar = () => (performance.now() - startedMs) / 1_000;
    const onProgress = ({ in_progress_at }: Batch) => {
      if (in_progress_at !== null) plannedSeconds ||= secondsSoFar();
    };
    const { id } = await client.batches.create({ model: noOpModelName, task: "caption", input: manifest }, { signal });
    const batch = await client.batches.wait(id, { signal, intervalMs: 100, onProgress });
    const seconds = secondsSoFar();
    const verdict = await verdictOf(storage, batch, items, signal);
    const after = await Promise.all([worker.url, system.apiUrl].map(readMetrics));
    const [workerMs, apiMs] = after.map(
      (metrics, index) => (1_000 * (processorSeconds(metrics) - processorSeconds(before[index] ?? ""))) / items,
    );
    print(
      `${items} items over ${images} images (PNG, ${imageSide} × ${imageSide}), engine: none, one worker`,
      machine,
      "",
      "| seconds in all | items per second | worker's processor time per item | api's | planned after | counts and lines |",
      "|---|---|---|---|---|---|",
      `| ${seconds.toFixed(1)} | ${(items / seconds).toFixed(0)} | ${(workerMs ?? NaN).toFixed(2)} ms | ${(apiMs ?? NaN).toFixed(2)} ms | ${plannedSeconds.toFixed(1)} s | ${verdict} |`,
      "",
      "| stage | times | ms each |",
      "|---|---|---|",
      ...stages(after[0] ?? "").map(
        ({ stage, times, seconds: spent }) => `| ${stage} | ${times} | ${((1_000 * spent) / Math.max(1, times)).toFixed(1)} |`,
      ),
    );
    return verdict === "right";
  });
}
