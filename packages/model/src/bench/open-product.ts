/** One product with a weight as a session, just as the engine's graphs have it in each precision. Owns nothing else: for measuring, and for laws of the arithmetic. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ProductForm } from "../graph/layers.ts";
import { linear } from "../graph/linear.ts";
import { createGraph } from "../onnx/graph-builder.ts";
import { encodeModel } from "../onnx/model-file.ts";
import { packWeight } from "../onnx/weight-form.ts";
import { openSession, type SessionOptions } from "../device/cpu-session.ts";
import type { Session } from "../session.ts";

/** `rows` (rows, in) → `products` (rows, out). `weight`: (out, in). */
export async function openProduct(
  form: ProductForm,
  weight: Float32Array,
  [outWidth, inWidth]: readonly [number, number],
  options: SessionOptions = {},
): Promise<Session> {
  const graph = createGraph("product");
  const wiring = { graph, has: (name: string) => name.endsWith("weight"), products: form, attention: "fused" } as const;
  const input = graph.input("rows", "float32", ["rows", inWidth]);
  graph.output("products", linear(wiring, input, "product", outWidth, inWidth), "float32", ["rows", outWidth]);
  const declared = graph.finish();
  const bytes: Uint8Array[] = [];
  let end = 0;
  for (const { form: weightForm, tensorShape, offsetBytes, sizeBytes } of declared.weights) {
    bytes.push(new Uint8Array(offsetBytes - end), packWeight(weightForm, weight, tensorShape));
    end = offsetBytes + sizeBytes;
  }
  const folder = await mkdtemp(join(tmpdir(), "flamboyance-product-"));
  try {
    await writeFile(join(folder, "product.data"), Buffer.concat(bytes));
    await writeFile(join(folder, "product.onnx"), encodeModel(declared, "product.data"));
    return await openSession(join(folder, "product.onnx"), options);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
