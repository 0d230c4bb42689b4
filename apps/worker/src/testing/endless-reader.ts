/** A process that reads a Parquet file without an end, for read-parquet.itest.ts: says so once the reader has all it asks for. */
import { readParquet } from "../rows/read-parquet.ts";
import { endless } from "./hostile-parquet.ts";

const bytes = endless();
let reads = 0;
const read = (offsetBytes: number, lengthBytes: number): Promise<Uint8Array> => {
  if (++reads === 3) process.send?.("reading");
  return Promise.resolve(bytes.subarray(offsetBytes, offsetBytes + lengthBytes));
};
const { signal } = new AbortController();
await Array.fromAsync(readParquet({ sizeBytes: bytes.length, read }, { read: null, expected: [] }, { signal }));
