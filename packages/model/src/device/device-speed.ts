/**
 * Whether a device is quicker than the CPU at what a model mostly does. Owns the products that are timed. A driver's name doesn't come through to us, and one
 * that computes in software calls itself a GPU as any other does: only its speed tells.
 */
import { createGraph, type Value } from "../onnx/graph-builder.ts";
import { encodeModel } from "../onnx/model-file.ts";
import type { Session } from "../session.ts";

const products = 8;
const tries = 2;
/** A first, small product tells a driver in software at once; a GPU, which is only waited for there, shows its speed at the large one. */
const stages = [
  { side: 384, mayBeSlower: 10 },
  { side: 1024, mayBeSlower: 1 },
] as const;

/** Milliseconds that products of matrices of this side take. */
export type TimeProducts = (side: number) => Promise<number>;

/** Null where the device is faster, else the times in words. */
export async function slowness(onDevice: TimeProducts, onCpu: TimeProducts): Promise<string | null> {
  for (const { side, mayBeSlower } of stages) {
    const [deviceMs, cpuMs] = [await onDevice(side), await onCpu(side)];
    if (deviceMs > mayBeSlower * cpuMs) return `${deviceMs.toFixed(1)} ms for products that take the CPU ${cpuMs.toFixed(1)} ms`;
  }
  return null;
}

/** The best time of a chain of products of square matrices, in milliseconds; `open` opens a graph. */
export async function productMs(open: (graph: Uint8Array) => Promise<Session>, side: number): Promise<number> {
  const session = await open(productGraph(side));
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
export function productGraph(side: number): Uint8Array {
  const graph = createGraph("speed");
  const numbers = graph.input("numbers", "float32", [side, side]);
  let product: Value = numbers;
  for (let count = 0; count < products; count++) product = graph.node("MatMul", [product, numbers]); // (side, side)
  graph.output("sum", graph.node("ReduceSum", [product, graph.integers([0, 1])], { keepdims: 1 }), "float32", [1, 1]);
  return encodeModel(graph.finish(), "");
}
