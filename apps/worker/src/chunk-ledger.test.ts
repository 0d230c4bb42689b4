import { decodePlanIndex } from "@flamboyance/storage";
import { describe, expect, it } from "vitest";
import { ChunkLedger, itemsPerChunk } from "./chunk-ledger.ts";

function planned(lineBytes: readonly number[]) {
  const ledger = new ChunkLedger();
  for (const bytes of lineBytes) ledger.add(bytes);
  const { chunks, pieces } = ledger.index();
  return { chunks, index: [...pieces].flatMap((piece) => decodePlanIndex(piece)) };
}

describe("a chunk's size", () => {
  it.each([
    [1, 4],
    [256, 4],
    [257, 5],
    [6_400, 100],
    [8_128, 127],
    [8_129, 128],
    [500_000_000, 128],
  ])("of a batch of %i items is %i", (items, size) => {
    expect(itemsPerChunk(items)).toBe(size);
  });
});

describe("the index", () => {
  // Around every place where the ledger changes its ways.
  it.each([1, 3, 4, 5, 256, 257, 8_000, 8_063, 8_064, 8_065, 8_127, 8_128, 8_129, 8_191, 8_192, 8_193, 20_000])(
    "covers %i items without gap or overlap",
    (items) => {
      const lineBytes = Array.from({ length: items }, (_, index) => 10 + (index % 7));
      const { chunks, index } = planned(lineBytes);
      expect(index.length).toBe(chunks);
      let offsetBytes = 0;
      let item = 0;
      for (const chunk of index) {
        expect(chunk.firstItem).toBe(item);
        expect(chunk.offsetBytes).toBe(offsetBytes);
        expect(chunk.sizeBytes).toBe(lineBytes.slice(item, item + chunk.items).reduce((sum, bytes) => sum + bytes, 0));
        item += chunk.items;
        offsetBytes += chunk.sizeBytes;
      }
      expect(item).toBe(items);
      expect(index.every(({ items: count }) => count >= 1 && count <= itemsPerChunk(items))).toBe(true);
    },
  );

  it("of no items has no chunks", () => {
    expect(planned([])).toEqual({ chunks: 0, index: [] });
  });
});
