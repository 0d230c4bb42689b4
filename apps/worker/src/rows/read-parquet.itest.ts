/** Parquet in a process of its own: the same rows, and an end to files that are made to have none. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { CodedError } from "@flamboyance/contracts";
import { parquetWriteBuffer } from "hyparquet-writer";
import { describe, expect, it } from "vitest";
import { boundless, endless } from "../testing/hostile-parquet.ts";
import { mapColumns } from "./columns.ts";
import { parquetRows, type RangeSource } from "./parquet-rows.ts";
import { readParquet, type ParquetOptions } from "./read-parquet.ts";
import type { Row } from "./row.ts";

const sourceOf = (bytes: Uint8Array): RangeSource => ({
  sizeBytes: bytes.length,
  read: (offsetBytes, lengthBytes) => Promise.resolve(bytes.subarray(offsetBytes, offsetBytes + lengthBytes)),
});
const { signal } = new AbortController();
const rowsOf = async (source: RangeSource, options: Partial<ParquetOptions> = {}): Promise<Row[]> =>
  (await Array.fromAsync(readParquet(source, { read: null, expected: [] }, { signal, ...options }))).flat();
const table = (count: number): Uint8Array =>
  new Uint8Array(
    parquetWriteBuffer({
      columnData: [
        {
          name: "custom_id",
          data: Array.from({ length: count }, (_, at) => (at === 3 ? null : `item-${at}`)),
          type: "STRING",
          nullable: true,
        },
        { name: "weight", data: Array.from({ length: count }, (_, at) => BigInt(at)), type: "INT64" },
      ],
      rowGroupSize: 2_000,
    }),
  );

describe("a Parquet file in a process", () => {
  it("gives the rows that it gives without, in order, over pieces", async () => {
    const bytes = table(5_000);
    expect(await rowsOf(sourceOf(bytes))).toEqual(await Array.fromAsync(parquetRows(sourceOf(bytes), { read: null, expected: [] })));
  });

  it("is refused with the code and the field that it is refused with without", async () => {
    const columns = mapColumns({ image: "url" });
    await expect(Array.fromAsync(readParquet(sourceOf(table(3)), columns, { signal }))).rejects.toMatchObject({
      code: "invalid_header",
      param: "columns.image",
    });
    await expect(rowsOf(sourceOf(table(3).subarray(0, -9)))).rejects.toMatchObject({ code: "manifest_unreadable" });
  });

  it("is ended where it would go on for good, and the file is at fault", async () => {
    await expect(rowsOf(sourceOf(endless()), { seconds: 0.5 })).rejects.toMatchObject({ code: "manifest_unreadable" });
  });

  it("is ended where it would take all memory, and the file is at fault", async () => {
    const memoryBytes = 256 * 2 ** 20;
    await expect(rowsOf(sourceOf(boundless()), { memoryBytes })).rejects.toMatchObject({ code: "manifest_too_large" });
  });

  it("passes on what its source throws, as it is", async () => {
    const failure = new CodedError("storage_unavailable", "away");
    await expect(rowsOf({ ...sourceOf(table(3)), read: () => Promise.reject(failure) })).rejects.toBe(failure);
  });

  it("ends with its signal's reason, also while it is busy", async () => {
    const stop = new AbortController();
    const reason = new Error("enough");
    const source = sourceOf(endless());
    let reads = 0;
    const read: RangeSource["read"] = (...range) => {
      // The footer twice, then the column: from there on it never asks again.
      if (++reads === 3) setTimeout(() => stop.abort(reason), 50);
      return source.read(...range);
    };
    await expect(rowsOf({ ...source, read }, { signal: stop.signal })).rejects.toBe(reason);
  });

  it("needs no end: who stops listening ends the process", async () => {
    for await (const [row] of readParquet(sourceOf(table(5_000)), { read: null, expected: [] }, { signal })) {
      expect(row?.line).toBe(1);
      break;
    }
  });

  it.skipIf(process.platform !== "linux")("ends with who started it, also while it is busy", async () => {
    const parent = fork(fileURLToPath(new URL("../testing/endless-reader.ts", import.meta.url)));
    await once(parent, "message");
    const child = Number(await readFile(`/proc/${parent.pid}/task/${parent.pid}/children`, "utf8"));
    expect(isAlive(child)).toBe(true);
    parent.kill("SIGKILL");
    await expect.poll(() => isAlive(child), { timeout: 20_000 }).toBe(false);
  });
});

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}
