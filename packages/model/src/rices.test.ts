import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readSafetensors } from "./import/safetensors.ts";
import { nearestExamples } from "./rices.ts";

test("the most similar comes last, whatever the vectors' lengths", () => {
  const pool = [
    { id: "same direction", embedding: Float32Array.of(10, 0.1) },
    { id: "opposite", embedding: Float32Array.of(-1, 0) },
    { id: "near", embedding: Float32Array.of(1, 1) },
  ];
  expect(nearestExamples(Float32Array.of(1, 0), pool, 2)).toEqual(["near", "same direction"]);
  expect(nearestExamples(Float32Array.of(1, 0), pool, 9)).toEqual(["opposite", "near", "same direction"]);
});

test("of equals the earlier in the pool counts as nearer", () => {
  const pool = ["first", "second", "third"].map((id) => ({ id, embedding: Float32Array.of(0, 1) }));
  expect(nearestExamples(Float32Array.of(0, 2), pool, 2)).toEqual(["second", "first"]);
});

test.each(["mpt-qk-norm", "mpt", "neox-sequential", "neox-parallel", "video"])("%s: the reference's order", async (name) => {
  const folder = join(import.meta.dirname, "../reference", name);
  const tensors = await readSafetensors(join(folder, "expected.safetensors"));
  const embed = async (image: string): Promise<Float32Array> =>
    new Float32Array(((await tensors.get(`embedding/${image}`)?.read()) ?? new Uint8Array()).slice().buffer);
  const { rices } = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8")) as {
    rices: { pool: string[]; shots: number; order: Record<string, string[]> };
  };
  const pool = await Promise.all(rices.pool.map(async (id) => ({ id, embedding: await embed(id) })));
  for (const [image, order] of Object.entries(rices.order))
    expect(nearestExamples(await embed(image), pool, rices.shots), image).toEqual(order);
});
