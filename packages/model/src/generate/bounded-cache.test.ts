import { describe, expect, it } from "vitest";
import { BoundedCache } from "./bounded-cache.ts";

const entry = (sizeBytes: number): { sizeBytes: number } => ({ sizeBytes });

describe("a cache bounded by bytes", () => {
  it("lets go what was used longest ago", () => {
    const cache = new BoundedCache<{ sizeBytes: number }>(30);
    cache.put("a", entry(10));
    cache.put("b", entry(10));
    cache.put("c", entry(10));
    cache.use("a");
    cache.put("d", entry(10));
    expect(["a", "b", "c", "d"].filter((key) => cache.has(key))).toEqual(["a", "c", "d"]);
    expect(cache.figures).toEqual({ bytes: 30, hits: 1 });
  });

  it("keeps the newest even where it alone is too large", () => {
    const cache = new BoundedCache<{ sizeBytes: number }>(30);
    cache.put("small", entry(10));
    cache.put("large", entry(100));
    expect([cache.has("small"), cache.has("large")]).toEqual([false, true]);
  });

  it("counts an entry that is put twice once", () => {
    const cache = new BoundedCache<{ sizeBytes: number }>(30);
    cache.put("a", entry(10));
    cache.put("a", entry(20));
    expect(cache.figures.bytes).toBe(20);
  });
});
