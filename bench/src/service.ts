/**
 * `npm run bench:service`: how many items a second go through the whole service when the model costs nothing.
 * One api, one worker, Redis and the development S3 server on this machine; every item is fetched, decoded, given its line, recorded and finalized.
 * Exits non-zero where counts and lines don't agree.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createClient } from "@flamboyance/client";
import { resultLine, type Batch } from "@flamboyance/contracts";
import { noOpModelName, publishNoOpModel } from "@flamboyance/dev/no-op-model";
import { plainImage } from "@flamboyance/dev/plain-image";
import { serviceBucket, startSystem } from "@flamboyance/dev/system";
import { jsonLine, openStorage, parseLocation, readLines, type Storage } from "@flamboyance/storage";

const bucket = "bench";
const imageSide = 256;
const uploadsAtOnce = 16;

async function uploadImages(storage: Storage, count: number, signal: AbortSignal): Promise<void> {
  for (let first = 0; first < count; first += uploadsAtOnce) {
    const numbers = Array.from({ length: Math.min(uploadsAtOnce, count - first) }, (_, index) => first + index);
    await Promise.all(
      numbers.map((number) => {
        const location = { bucket, key: `images/${number}.png` };
        return storage.write(location, plainImage(number, imageSide), { contentType: "image/png", signal });
      }),
    );
  }
}

/** Which item is which image: spread, so that neighbours differ. */
async function* manifestLines(items: number, images: number): AsyncGenerator<Uint8Array> {
  for (let item = 0; item < items; item++) {
    yield Buffer.from(jsonLine({ custom_id: `item-${item}`, image: `s3://${bucket}/images/${(item * 7919) % images}.png` }));
  }
}

/** True where the results file holds every item once, in order. */
async function isWhole(storage: Storage, location: string | undefined, items: number, signal: AbortSignal): Promise<boolean> {
  if (location === undefined) return false;
  let expected = 0;
  for await (const line of readLines(storage.stream(parseLocation(location), { signal }), { maxLineBytes: 1e6 })) {
    if (line.kind !== "line" || resultLine.parse(JSON.parse(line.text)).custom_id !== `item-${expected}`) return false;
    expected += 1;
  }
  return expected === items;
}

/** What the worker says of itself. */
async function readMetrics(url: string): Promise<string> {
  return (await fetch(`${url}/metrics`)).text();
}

/** The worker's processor time so far, all its threads together. */
function processorSeconds(text: string): number {
  return Number(/^process_cpu_seconds_total (\S+)$/m.exec(text)?.[1] ?? NaN);
}

/** A row per stage of the pipe. */
function stageRows(text: string): string[] {
  const figures = (name: string) => {
    const lines = text.matchAll(new RegExp(String.raw`^flamboyance_stage_seconds_${name}\{stage="(\w+)"\} (\S+)$`, "gm"));
    return new Map([...lines].map((match) => [match[1] ?? "", Number(match[2])]));
  };
  const counts = figures("count");
  return [...figures("sum")].map(([stage, seconds]) => {
    const times = counts.get(stage) ?? 0;
    return `| ${stage} | ${times} | ${((1_000 * seconds) / Math.max(1, times)).toFixed(1)} |`;
  });
}

async function bench(items: number, images: number): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), "flamboyance-bench-"));
  const signal = AbortSignal.timeout(30 * 60_000);
  const environment = { FLAMBOYANCE_ENGINE: "none", FLAMBOYANCE_LOG_LEVEL: "warn" };
  const system = await startSystem({ folder, workers: 1, environment }, async (s3) => {
    const storage = openStorage({ ...s3, pathStyle: true });
    for (const name of [serviceBucket, bucket]) await storage.ensureBucket(name, { signal });
    await publishNoOpModel(storage, serviceBucket, signal);
    await uploadImages(storage, images, signal);
    await storage.writeStream({ bucket, key: "manifest.jsonl" }, manifestLines(items, images), {
      contentType: "application/jsonl",
      signal,
    });
    storage.close();
  });
  const storage = openStorage({ ...system.s3, pathStyle: true });
  try {
    const client = createClient({ baseUrl: system.apiUrl, apiKey: system.apiKey });
    const [worker] = system.workers;
    if (worker === undefined) throw new Error("one worker was started");
    const processorBefore = processorSeconds(await readMetrics(worker.url));
    const startedMs = performance.now();
    let plannedSeconds = 0;
    const secondsSoFar = () => (performance.now() - startedMs) / 1_000;
    const onProgress = ({ in_progress_at }: Batch) => {
      if (in_progress_at !== null) plannedSeconds ||= secondsSoFar();
    };
    const { id } = await client.batches.create(
      { model: noOpModelName, task: "caption", input: `s3://${bucket}/manifest.jsonl`, deduplicate: false },
      { signal },
    );
    const batch = await client.batches.wait(id, { signal, intervalMs: 100, onProgress });
    const seconds = secondsSoFar();

    const { total, completed, failed } = batch.request_counts;
    const counted = batch.status === "completed" && total === items && completed === items && failed === 0;
    const right = counted && (await isWhole(storage, batch.results?.output, items, signal));
    const verdict = right ? "right" : `WRONG: ${JSON.stringify({ status: batch.status, total, completed, failed })}`;
    const metrics = await readMetrics(worker.url);
    const processorMs = (1_000 * (processorSeconds(metrics) - processorBefore)) / items;
    const report = [
      `${items} items over ${images} images (PNG, ${imageSide} × ${imageSide}), engine: none, one worker`,
      `${cpus()[0]?.model ?? "unknown processor"}, ${availableParallelism()} cores, Node ${process.version}, ${new Date().toISOString().slice(0, 10)}`,
      "",
      "| seconds in all | items per second | worker's processor time per item | planned after | counts and lines |",
      "|---|---|---|---|---|",
      `| ${seconds.toFixed(1)} | ${(items / seconds).toFixed(0)} | ${processorMs.toFixed(2)} ms | ${plannedSeconds.toFixed(1)} s | ${verdict} |`,
      "",
      "| stage | times | ms each |",
      "|---|---|---|",
      ...stageRows(metrics),
    ];
    process.stdout.write(`${report.join("\n")}\n`);
    return right;
  } finally {
    storage.close();
    await system.close();
    await rm(folder, { recursive: true, force: true });
  }
}

const { values } = parseArgs({
  options: {
    items: { type: "string", default: "20000" },
    images: { type: "string", default: "2000" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) process.stdout.write("npm run bench:service [-- --items 20000 --images 2000]\n");
else process.exitCode = (await bench(Number(values.items), Number(values.images))) ? 0 : 1;
