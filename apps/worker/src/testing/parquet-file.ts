/** A Parquet file of texts, to be read in tests and measurements. */
import { parquetWriteBuffer } from "hyparquet-writer";

/** Every column has as many texts as there are rows. */
export function parquetFile(columns: Readonly<Record<string, readonly string[]>>, rowGroupSize: number): Uint8Array {
  const columnData = Object.entries(columns).map(([name, data]) => ({ name, data: [...data], type: "STRING" as const }));
  return new Uint8Array(parquetWriteBuffer({ columnData, rowGroupSize }));
}
