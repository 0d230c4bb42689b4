/**
 * The graph that moves K and V about in a device's memory: entries appended, groups that left closed up, a prefix taken out, media joined, all by one
 * gather per tensor. Owns the rows' order; refuses to know which entry belongs where: the caller says it with small index tensors.
 *
 * Every tensor is read as rows of one head's numbers: a row of zeros first (for room that nothing fills), then those of `kept`, then those of `added`.
 * The entry at (group, entry) of the result is, for head h, the row `start + h · step`.
 */
import { createGraph } from "../onnx/graph-builder.ts";
import type { GraphDeclaration } from "../onnx/model-file.ts";
import { add, concat, multiply, reshape, type Wiring } from "./layers.ts";

export interface ArrangedTensors {
  readonly count: number;
  readonly heads: number;
  readonly headWidth: number;
}

export function buildArrangementGraph({ count, heads, headWidth }: ArrangedTensors): GraphDeclaration {
  const graph = createGraph("arrangement");
  const wiring: Wiring = { graph, has: () => false, products: "float32", attention: "spelled" };
  const start = graph.input("start", "int32", ["groups", 1, "entries"]);
  const step = graph.input("step", "int32", ["groups", 1, "entries"]);
  const shape = graph.input("shape", "int64", ["axes"]);
  const head = graph.shortIntegers(
    Array.from({ length: heads }, (_, index) => index),
    [heads, 1],
  );
  const rows = add(wiring, start, multiply(wiring, step, head)); // (groups, heads, entries)
  const zeros = graph.floats(
    Array.from({ length: headWidth }, () => 0),
    [1, headWidth],
  );
  for (let index = 0; index < count; index++) {
    const kept = graph.input(`kept.${index}`, "float32", ["kept_groups", heads, "kept_entries", headWidth]);
    const added = graph.input(`added.${index}`, "float32", ["added_groups", heads, "added_entries", headWidth]);
    const source = concat(wiring, [zeros, reshape(wiring, kept, [-1, headWidth]), reshape(wiring, added, [-1, headWidth])], 0); // (rows, headWidth)
    const arranged = graph.node("Gather", [source, rows], { axis: 0 }); // (groups, heads, entries, headWidth)
    graph.output(`arranged.${index}`, graph.node("Reshape", [arranged, shape], { allowzero: 1 }), "float32", []);
  }
  return graph.finish();
}
