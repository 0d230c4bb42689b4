/**
 * How quick a device is at what a model mostly does. Owns the product that is timed; refuses judging. A driver's name doesn't come through to us, and one that
 * computes in software calls itself a GPU as any other: only its speed tells.
 */
import { createGraph, type Value } from "./onnx/graph-builder.ts";
import { encodeModel } from "./onnx/model-file.ts";
import type { Session } from "./session.ts";

const side = 768;
const products = 8;
const tries = 2;

/** The best time of a chain of matrix products, in milliseconds; `open` opens its graph. */
export async function productMs(open: (graph: Uint8Array) => Promise<Session>): Promise<number> {
  const session = await open(encodeModel(productGraph(), ""));
  try {
    const numbers = { type: "float32", data: new Float32Array(side * side).fill(1 / side), shape: [side, side] } as const;
    let best = Infinity;
    // The first run compiles and warms.
    for (let attempt = 0; attempt <= tries; attempt++) {
      const started = performance.now();
      await session.run({ numbers }, ["sum"]);
      if (attempt > 0) best = Math.min(best, performance.now() - started);
    }
    return best;
  } finally {
    await session.release();
  }
}

/** Only a sum comes back, so that the way to the host isn't what is timed. */
function productGraph() {
  const graph = createGraph("speed");
  const numbers = graph.input("numbers", "float32", [side, side]);
  let product: Value = numbers;
  for (let count = 0; count < products; count++) product = graph.node("MatMul", [product, numbers]); // (side, side)
  graph.output("sum", graph.node("ReduceSum", [product, graph.integers([0, 1])], { keepdims: 1 }), "float32", [1, 1]);
  return graph.finish();
}
