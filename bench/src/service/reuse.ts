/**
 * What `reuse` costs and saves when the model costs nothing: the same items in a batch without it, in one that lends its answers and finds none, and in one that finds
 * them all. The worker's processor time says it, whatever else the machine does.
 */
import { noOpModelName } from "@flamboyance/dev/no-op-model";
import { manifest, verdictOf, type Dataset } from "./dataset.ts";
import { machine, print, processorSeconds, readMetrics } from "./figures.ts";
import { withSystem } from "./run-system.ts";

/** False where counts and lines don't agree, or answers weren't found. */
export async function measureReuse(dataset: Dataset, signal: AbortSignal): Promise<boolean> {
  return withSystem({ dataset, workers: 1 }, signal, async ({ system, client, storage }) => {
    const { items, images, imageSide } = dataset;
    const [worker] = system.workers;
    if (worker === undefined) throw new Error("one worker was started");
    const rows: string[] = [];
    let right = true;
    for (const [what, reuse, expected] of [
      ["to warm up", false, 0],
      ["without reuse", false, 0],
      ["lends, finds none", true, 0],
      ["finds all", true, items],
    ] as const) {
      const before = processorSeconds(await readMetrics(worker.url));
      const startedMs = performance.now();
      const { id } = await client.batches.create(
        { model: noOpModelName, task: "caption", input: manifest, deduplicate: false, reuse, metadata: { what } },
        { signal },
      );
      const batch = await client.batches.wait(id, { signal, intervalMs: 100 });
      const seconds = (performance.now() - startedMs) / 1_000;
      const spentMs = (1_000 * (processorSeconds(await readMetrics(worker.url)) - before)) / items;
      const verdict = await verdictOf(storage, batch, items, signal);
      right &&= verdict === "right" && batch.saved.reused === expected;
      rows.push(`| ${what} | ${batch.saved.reused} | ${spentMs.toFixed(2)} ms | ${(items / seconds).toFixed(0)} | ${verdict} |`);
    }
    print(
      `${items} items over ${images} images (PNG, ${imageSide} × ${imageSide}), engine: none, one worker`,
      machine,
      "",
      "| batch | reused | worker's processor time per item | items per second | counts and lines |",
      "|---|---|---|---|---|",
      ...rows.slice(1),
    );
    return right;
  });
}
