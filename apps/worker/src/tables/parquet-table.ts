/**
 * Result lines as a Parquet file, a row group at a time. Owns hyparquet's writer and the size of a group; holds one group, and of each written one its place in the
 * footer. Equal lines make equal bytes: a second writer of the same end writes the same file.
 */
import { zstdCompressSync } from "node:zlib";
import type { ResultLine } from "@flamboyance/contracts";
import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import { resultColumns, type Cell } from "./result-row.ts";

/** Groups grow with the file, so that a large one's footer stays small: hundred million lines are some thousand groups. */
const leastRows = 10_000;
const mostRows = 100_000;
const mostCharacters = 32 * 1024 * 1024;

export class ParquetTable {
  readonly #bytes = new ByteWriter();
  readonly #writer = new ParquetWriter({
    writer: this.#bytes,
    schema: [
      { name: "root", num_children: resultColumns.length },
      ...resultColumns.map(({ name, type }) => ({ name, repetition_type: "OPTIONAL" as const, ...types[type] })),
    ],
    codec: "ZSTD",
    compressors: { ZSTD: (page) => zstdCompressSync(page) },
    statistics: false,
    createdBy: "flamboyance",
  });
  #columns: Cell[][] = resultColumns.map(() => []);
  #characters = 0;
  #rows = 0;
  #written = 0;

  /** The file's next bytes, where this line fills a group. */
  add(line: ResultLine): Uint8Array | null {
    for (const [index, { cell }] of resultColumns.entries()) {
      const value = cell(line);
      this.#columns[index]?.push(value);
      if (typeof value === "string") this.#characters += value.length;
    }
    this.#rows += 1;
    const full = Math.min(mostRows, Math.max(leastRows, Math.ceil(this.#written / 200)));
    return this.#rows < full && this.#characters < mostCharacters ? null : this.#writeGroup();
  }

  /** The last bytes. */
  finish(): Uint8Array {
    const last = this.#rows === 0 ? new Uint8Array(0) : this.#writeGroup();
    void this.#writer.finish();
    return Buffer.concat([last, this.#take()]);
  }

  #writeGroup(): Uint8Array {
    const columnData = resultColumns.map(({ name }, index) => ({ name, data: this.#columns[index] ?? [], offsetIndex: false }));
    // At once: ByteWriter has nothing to wait for.
    void this.#writer.write({ columnData, rowGroupSize: this.#rows });
    this.#written += this.#rows;
    this.#columns = resultColumns.map(() => []);
    this.#characters = 0;
    this.#rows = 0;
    return this.#take();
  }

  /** What was written since; the writer goes on where it is in the file. */
  #take(): Uint8Array {
    const taken = Uint8Array.from(this.#bytes.getBytes());
    this.#bytes.index = 0;
    return taken;
  }
}

const types = {
  text: { type: "BYTE_ARRAY", converted_type: "UTF8" },
  whole: { type: "INT32" },
  number: { type: "DOUBLE" },
} as const;
