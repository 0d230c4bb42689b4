import { describe, expect, it } from "vitest";
import { createGraph } from "./graph-builder.ts";

describe("a graph under construction", () => {
  it("stores a weight once, however often it is used", () => {
    const graph = createGraph("shared");
    expect(graph.weight("embedding", [3, 5])).toBe(graph.weight("embedding", [3, 5]));
    expect(graph.finish().weights).toHaveLength(1);
  });

  it("lays weights out in the order of first use, at multiples of 64 bytes, without overlap", () => {
    const graph = createGraph("laid out");
    graph.weight("first", [5]);
    graph.weight("second", [16]);
    graph.weight("third", [1]);
    expect(graph.finish().weights.map(({ name, offsetBytes, sizeBytes }) => [name, offsetBytes, sizeBytes])).toEqual([
      ["first", 0, 20],
      ["second", 64, 64],
      ["third", 128, 4],
    ]);
  });

  it("declares equal constants once and unequal ones apart", () => {
    const graph = createGraph("constants");
    expect(graph.integers([1, 2])).toBe(graph.integers([1, 2]));
    expect(graph.integers([1])).not.toBe(graph.integer(1));
    expect(graph.float(1)).not.toBe(graph.integer(1));
    expect(graph.finish().constants).toHaveLength(4);
  });
});
