/** A table of result lines while it is being written, in either form. Owns which form is which file, and where it lies. */
import type { ResultFormat, ResultLine } from "@flamboyance/contracts";
import type { FinalKeys, Storage } from "@flamboyance/storage";
import { openLineFile } from "../line-file.ts";
import { csvHeader, csvRow } from "./csv-table.ts";
import { ParquetTable } from "./parquet-table.ts";

export interface WrittenTable {
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly lines: number;
}

export interface TableFile {
  readonly format: ResultFormat;
  readonly key: string;
  add(line: ResultLine): Promise<void>;
  finish(): Promise<WrittenTable>;
  /** Does nothing after `finish`. */
  abandon(): Promise<void>;
}

export const contentTypes: Readonly<Record<ResultFormat, string>> = {
  csv: "text/csv; charset=utf-8",
  parquet: "application/vnd.apache.parquet",
};

export async function openTableFile(
  { storage, bucket }: { readonly storage: Storage; readonly bucket: string },
  format: ResultFormat,
  keys: Pick<FinalKeys, ResultFormat>,
  signal: AbortSignal,
): Promise<TableFile> {
  const key = keys[format];
  const file = openLineFile(storage, { bucket, key }, { signal, contentType: contentTypes[format] });
  if (format === "csv") {
    await file.write(csvHeader);
    return {
      format,
      key,
      add: (line) => file.write(csvRow(line)),
      finish: async () => {
        const { lines, ...facts } = await file.finish();
        return { ...facts, lines: lines - 1 };
      },
      abandon: () => file.abandon(),
    };
  }
  const table = new ParquetTable();
  let lines = 0;
  return {
    format,
    key,
    add: async (line) => {
      lines += 1;
      const bytes = table.add(line);
      if (bytes !== null) await file.writeBytes(bytes);
    },
    finish: async () => {
      await file.writeBytes(table.finish());
      return { ...(await file.finish()), lines };
    },
    abandon: () => file.abandon(),
  };
}
