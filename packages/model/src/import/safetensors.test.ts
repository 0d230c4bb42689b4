import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isCoded } from "@flamboyance/contracts";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readSafetensors } from "./safetensors.ts";

let path: string;
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "safetensors-"));
  path = join(folder, "weights.safetensors");
});
afterAll(() => rm(folder, { recursive: true }));

async function write(header: unknown, dataBytes: number, claimedHeaderBytes?: number): Promise<void> {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(claimedHeaderBytes ?? text.length));
  await writeFile(path, Buffer.concat([prefix, text, Buffer.from(Uint8Array.from({ length: dataBytes }, (_, index) => index))]));
}

test("tensors lie where the header says, in whatever order it says it", async () => {
  await write(
    {
      b: { dtype: "BF16", shape: [2], data_offsets: [8, 12] },
      a: { dtype: "F32", shape: [1, 2], data_offsets: [0, 8] },
      __metadata__: { format: "pt" },
    },
    12,
  );
  const tensors = await readSafetensors(path);
  expect([...tensors.keys()].toSorted()).toEqual(["a", "b"]);
  expect(tensors.get("a")).toMatchObject({ shape: [1, 2], dtype: "f32", sizeBytes: 8 });
  expect([...((await tensors.get("b")?.read()) ?? [])]).toEqual([8, 9, 10, 11]);
});

const whole = { dtype: "F32", shape: [2], data_offsets: [0, 8] };
test.each([
  ["less data than the header says", { a: whole }, 7, undefined],
  ["more data than the header says", { a: whole }, 9, undefined],
  ["a shape that doesn't fit its bytes", { a: { ...whole, shape: [3] } }, 8, undefined],
  ["two tensors on the same bytes", { a: whole, b: whole }, 8, undefined],
  ["a hole between tensors", { a: whole, b: { ...whole, data_offsets: [12, 20] } }, 20, undefined],
  ["a negative offset", { a: { ...whole, data_offsets: [-8, 0] } }, 8, undefined],
  ["a header longer than the file", { a: whole }, 8, 10_000],
  ["a header beyond all bounds", { a: whole }, 8, 2 ** 53],
  ["a header that isn't JSON", "{nonsense", 8, undefined],
])("%s: corrupt", async (_, header, dataBytes, claimed) => {
  await write(header, dataBytes, claimed);
  await expect(readSafetensors(path)).rejects.toSatisfy((error) => isCoded(error, "model_piece_corrupt"));
});

test("an unknown dtype is unsupported, and named", async () => {
  await write({ a: { dtype: "F8_E4M3", shape: [8], data_offsets: [0, 8] } }, 8);
  await expect(readSafetensors(path)).rejects.toSatisfy((error) => isCoded(error, "model_piece_unsupported") && error.param === "a");
});
