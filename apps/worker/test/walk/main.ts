/** `npm run check:scripts -- --steps 1000000 --seed 1`: walks until so many steps were taken. Exits non-zero where a law was broken, with the walk's seed and trail. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { startRedis } from "@flamboyance/dev/redis";
import { openLane } from "./lane.ts";
import { walk } from "./walk.ts";

const { values } = parseArgs({
  options: {
    steps: { type: "string", default: "20000" },
    seed: { type: "string", default: "1" },
    walk: { type: "string" },
    lanes: { type: "string", default: "4" },
    help: { type: "boolean", default: false },
  },
});
if (values.help) console.log("npm run check:scripts [-- --steps 20000 --seed 1 --lanes 4]   or, to repeat one: -- --walk <seed>");
else {
  const folder = await mkdtemp(join(tmpdir(), "flamboyance-walk-"));
  const redis = await startRedis({ folder });
  try {
    process.exitCode = await check(redis.url);
  } finally {
    await redis.close();
    await rm(folder, { recursive: true, force: true });
  }
  // Of crashed actors their timers are left.
  process.exit();
}

async function check(url: string): Promise<number> {
  const startedMs = performance.now();
  const wanted = Number(values.steps);
  const ended = new Map<string, number>();
  const befell = new Map<string, number>();
  let [steps, walks, wrong] = [0, 0, 0];
  const one = async (lane: Awaited<ReturnType<typeof openLane>>, seed: number): Promise<void> => {
    const walked = await walk(lane, seed);
    steps += walked.steps;
    walks += 1;
    for (const [counts, names] of [
      [ended, [walked.ended]],
      [befell, walked.befell],
    ] as const)
      for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
    if (walked.broken.length === 0) return;
    wrong += 1;
    console.log(`walk ${seed}: ${walked.broken.join("; ")}\n  ${walked.trail.join("\n  ")}`);
  };
  const single = values.walk === undefined ? null : Number(values.walk);
  const lanes = single === null ? Number(values.lanes) : 1;
  let next = Number(values.seed) * 1_000_000;
  // Told to stop, it ends with the walks under way and says what it came to.
  let stopped = false;
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => (stopped = true));
  const goesOn = (): boolean => steps < wanted && wrong < 5 && !stopped;
  const run = async (index: number): Promise<void> => {
    const lane = await openLane(`${url}/${index}`);
    if (single !== null) await one(lane, single);
    else while (goesOn()) await one(lane, (next += 1));
    await lane.close();
  };
  await Promise.all(Array.from({ length: lanes }, (_, index) => run(index)));
  const told = (counts: ReadonlyMap<string, number>): string =>
    [...counts]
      .toSorted(([name], [other]) => (name < other ? -1 : 1))
      .map(([name, count]) => `${name} ${count}`)
      .join(", ");
  const seconds = (performance.now() - startedMs) / 1_000;
  console.log(`befell: ${told(befell)}`);
  console.log(`ended as: ${told(ended)}; ${(steps / seconds).toFixed(0)} steps a second`);
  console.log(`walks ${walks}, steps ${steps}: ${wrong} broken`);
  return wrong === 0 ? 0 : 1;
}
