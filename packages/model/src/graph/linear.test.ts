import { expect, it } from "vitest";
import { openProduct } from "../bench/open-product.ts";

const inWidth = 2048;

it.each([
  ["all of one sign", (input: number) => 1 + (input % 3) / 100],
  ["of alternating signs", (input: number) => (input % 2 === 0 ? 1 : -1)],
])("takes exact sums in 8 bits where every number is as large as it gets, weights %s", async (_, weightAt) => {
  // Sixteen outputs: whole vectors of the kernel.
  const weight = Float32Array.from({ length: 16 * inWidth }, (_, at) => weightAt(at % inWidth));
  const session = await openProduct("int8", weight, [16, inWidth], { threads: 1 });
  // One row whose products have one sign throughout, and one where they cancel.
  const data = Float32Array.from({ length: 2 * inWidth }, (_, at) => (at < inWidth ? Math.sign(weightAt(at)) : 1));
  const { products } = await session.run({ rows: { type: "float32", data, shape: [2, inWidth] } }, ["products"]);
  await session.release();
  const due = (row: number): number =>
    Array.from({ length: inWidth }, (_, input) => weightAt(input) * (data[row * inWidth + input] ?? 0)).reduce((sum, each) => sum + each, 0);
  // A product that saturates would be off by a tenth and more.
  for (let row = 0; row < 2; row++) expect(Math.abs((products.data[row * 16] ?? 0) - due(row))).toBeLessThan(inWidth * 0.005);
});
