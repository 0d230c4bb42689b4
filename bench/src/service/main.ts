/** `npm run bench:service`: what the service takes beside its model. Owns the flags and the exit status: 1 where a batch's counts or lines are wrong. */
import { parseArgs } from "node:util";
import { measureEngine } from "./engine.ts";
import { measureFairness } from "./fairness.ts";
import { measureMemory } from "./memory.ts";
import { measureReuse } from "./reuse.ts";
import { measureThroughput } from "./throughput.ts";
import { measureWorkers } from "./workers.ts";

const help = `npm run bench:service -- [throughput | reuse | workers | fairness | memory | engine] [options]

  throughput   items a second and processor time an item when the model costs nothing (default)
                 --items <n> (20000)  --images <n> (2000)
  reuse        what answers of an earlier batch save, and what looking for them costs
                 --items <n> (5000)  --images <n> (2000)
  workers      the same batch by one worker and by several, with an engine that waits
                 --items <n> (3200)  --workers <n> (8)  --wait-ms <n> (50)
  fairness     a batch of 100 items behind another tenant's large one, and behind many small ones
                 --items <n> (1000000)  --batches <n> (10000)  --wait-ms <n> (50)
  memory       Redis's, the worker's and the api's memory with a small and a large batch in flight
                 --items <n>, may be repeated (100000 and 10000000)  --seconds <n> in flight (60)
  engine       the whole service against the bare engine
                 --model <folder>  --items <n> (48)
`;

async function main(): Promise<boolean> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      items: { type: "string", multiple: true },
      images: { type: "string", default: "2000" },
      workers: { type: "string", default: "8" },
      batches: { type: "string", default: "10000" },
      "wait-ms": { type: "string", default: "50" },
      seconds: { type: "string", default: "60" },
      model: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  const [measure = "throughput"] = positionals;
  const signal = AbortSignal.timeout(2 * 60 * 60_000);
  const items = (values.items ?? []).map(Number);
  const dataset = (standard: number) => ({ items: items[0] ?? standard, images: Number(values.images), imageSide: 256 });
  if (!values.help) {
    if (measure === "throughput") return measureThroughput(dataset(20_000), signal);
    if (measure === "reuse") return measureReuse(dataset(5_000), signal);
    if (measure === "workers") {
      const setting = { workers: Number(values.workers), waitMs: Number(values["wait-ms"]) };
      return measureWorkers({ dataset: { ...dataset(3_200), images: 1 }, ...setting }, signal);
    }
    if (measure === "fairness") {
      const setting = { items: items[0] ?? 1_000_000, batches: Number(values.batches), waitMs: Number(values["wait-ms"]) };
      return measureFairness(setting, signal);
    }
    if (measure === "memory")
      return measureMemory({ items: items.length === 0 ? [100_000, 10_000_000] : items, seconds: Number(values.seconds) }, signal);
    if (measure === "engine" && values.model !== undefined) return measureEngine({ model: values.model, items: items[0] ?? 48 }, signal);
  }
  process.stdout.write(help);
  return values.help;
}

process.exitCode = (await main()) ? 0 : 1;
