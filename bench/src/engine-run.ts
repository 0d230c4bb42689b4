/**
 * One precision's part of `npm run bench:engine`, in a process of its own so that its peak memory is its own: opens the folder, captions the images at each
 * number of shots, and prints a JSON line for each (engineLine). Owns what is timed.
 */
import { openModel, type Model, type ModelStats } from "@flamboyance/model";
import { engineJob, type EngineLine } from "./engine-job.ts";
import { peakMemoryBytes } from "./peak-memory.ts";

const job = engineJob.parse(JSON.parse(process.argv[2] ?? "null"));

/** A picture of noise: no two are equal, so nothing comes out of a cache by accident. */
function pixels(number: number, side: number): Float32Array {
  let state = number * 7919 + 1;
  return Float32Array.from({ length: 3 * side * side }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

function print(line: EngineLine): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

async function caption(model: Model, shots: number, firstImage: number): Promise<{ seconds: number; spent: ModelStats["seconds"] }> {
  const side = model.description.preprocessing.imageSize;
  const before = model.stats().seconds;
  const started = performance.now();
  const examples = Array.from({ length: shots }, (_, shot) => ({
    text: `<image>${"e".repeat(job.shotTokens - 2)}<|endofchunk|>`,
    media: [[pixels(1_000_000 + shot, side)]],
  }));
  const prefix = shots === 0 ? {} : { prefix: model.openPrefix(examples) };
  await Promise.all(
    Array.from({ length: job.images }, (_, index) =>
      model.generate({
        id: `image-${firstImage + index}`,
        text: `<image>${"q".repeat(job.queryTokens - 1)}`,
        media: [[pixels(firstImage + index, side)]],
        ...prefix,
        generation: { maxNewTokens: job.newTokens, minNewTokens: job.newTokens, numBeams: job.beams },
      }),
    ),
  );
  const after = model.stats().seconds;
  return {
    seconds: (performance.now() - started) / 1000,
    spent: {
      vision: after.vision - before.vision,
      prefill: after.prefill - before.prefill,
      decode: after.decode - before.decode,
      host: after.host - before.host,
    },
  };
}

const model = await openModel(job.folder, { device: job.device, threads: job.threads, maxCacheBytes: job.cacheBytes });
// The first runs of a session are slower: memory is laid out in them.
await caption(model, 0, 0);
let nextImage = job.images;
for (const shots of job.shots) {
  for (const prefix of shots === 0 ? (["none"] as const) : (["within", "ready"] as const)) {
    const measured = await caption(model, shots, nextImage);
    nextImage += job.images;
    print({ shots, prefix, ...measured });
  }
}
await model.close();
print({ peakBytes: await peakMemoryBytes() });
