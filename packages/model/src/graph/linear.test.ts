import { expect, it } from "vitest";
import { openProduct } from "../bench/open-product.ts";

const [outWidth, inWidth] = [16, 2048]; // whole vectors of the kernel

const weightsOf: Readonly<Record<string, (input: number) => number>> = {
  "of one sign": (input) => 1 + (input % 3) / 100,
  "of alternating signs": (input) => (input % 2 === 0 ? 1 : -1),
};

it.each(Object.keys(weightsOf))("takes exact sums in 8 bits where every number is as large as it gets, with weights %s", async (signs) => {
  const weightAt = (at: number): number => weightsOf[signs]?.(at % inWidth) ?? 0;
  const session = await openProduct(
    "int8",
    Float32Array.from({ length: outWidth * inWidth }, (_, at) => weightAt(at)),
    [outWidth, inWidth],
  );
  // One row whose products are all positive, and one of ones.
  const data = Float32Array.from({ length: 2 * inWidth }, (_, at) => (at < inWidth ? Math.sign(weightAt(at)) : 1));
  const { products } = await session.run({ rows: { type: "float32", data, shape: [2, inWidth] } }, ["products"]);
  await session.release();
  for (const row of [0, 1]) {
    let due = 0;
    for (let input = 0; input < inWidth; input++) due += weightAt(input) * (data[row * inWidth + input] ?? 0);
    // Sums that saturate would be off by almost all.
    expect(Math.abs((products.data[row * outWidth] ?? 0) - due)).toBeLessThan(inWidth * 0.005);
  }
});
