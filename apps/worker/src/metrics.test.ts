import type { ModelStats } from "@flamboyance/model";
import { expect, it } from "vitest";
import { createMetrics } from "./metrics.ts";

const stats: ModelStats = {
  rows: { started: 3, ended: 3, cancelled: 0 },
  newTokens: 12,
  steps: 2,
  rowsPerStep: { 4: 2 },
  seconds: { vision: 1, prefill: 2, decode: 3, host: 4 },
  media: { encoded: 5, hits: 6, bytes: 700 },
  prefixes: { prefilled: 1, hits: 9, bytes: 80 },
};

it("tells what the engine's caches hold, and how often they helped", async () => {
  const metrics = createMetrics(() => Promise.resolve([]));
  metrics.engine("demo", stats);
  const lines = (await metrics.registry.metrics()).split("\n").filter((line) => line.startsWith("flamboyance_engine_cache"));
  expect(lines).toEqual([
    'flamboyance_engine_cache_bytes{model="demo",cache="images"} 700',
    'flamboyance_engine_cache_bytes{model="demo",cache="prefixes"} 80',
    'flamboyance_engine_cache_lookups{model="demo",cache="images",result="hit"} 6',
    'flamboyance_engine_cache_lookups{model="demo",cache="images",result="computed"} 5',
    'flamboyance_engine_cache_lookups{model="demo",cache="prefixes",result="hit"} 9',
    'flamboyance_engine_cache_lookups{model="demo",cache="prefixes",result="computed"} 1',
  ]);
});

it("counts an engine's steps once, also when another engine begins anew", async () => {
  const metrics = createMetrics(() => Promise.resolve([]));
  for (const steps of [2, 5, 1]) metrics.engine("demo", { ...stats, rowsPerStep: { 4: steps } });
  expect(await metrics.registry.metrics()).toContain('flamboyance_engine_rows_per_run_count{model="demo"} 6');
});
