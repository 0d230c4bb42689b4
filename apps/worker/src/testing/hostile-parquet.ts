/** Parquet files that are made for their reader: small ones, whole in their structure, that take hyparquet forever or for all memory. */
import { parquetWriteBuffer } from "hyparquet-writer";

/** A run of a negative number of values that have no bits: its reader counts down from there, and never meets zero. */
export const endless = (): Uint8Array => withRun([0, 0x81, 0x80, 0x80, 0x80, 0x02]);

/** One run of two thousand million values, where the page says it has some hundred. */
export const boundless = (): Uint8Array => withRun([1, 0xfe, 0xff, 0xff, 0xff, 0x0f]);

const rows = 400;

/** The dictionary's indices of a column begin with these bytes: how many bits each has, then runs. */
function withRun(bytes: readonly number[]): Uint8Array {
  const data = Array.from({ length: rows }, (_, at) => ["s3://photos/a", "s3://photos/b"][at % 2]);
  const file = new Uint8Array(
    parquetWriteBuffer({
      columnData: [{ name: "image", data, type: "STRING", nullable: false, encoding: "RLE_DICTIONARY" }],
      codec: "UNCOMPRESSED",
    }),
  );
  // 400 bits, and before them their number of bits and their run's header.
  const start = Buffer.from(file.buffer).indexOf(Buffer.alloc(rows / 8, 0xaa)) - 2;
  if (file[start] !== 1) throw new Error("the column isn't written as it was");
  file.set(bytes, start);
  return file;
}
