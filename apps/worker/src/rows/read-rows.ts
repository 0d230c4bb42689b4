/** A manifest's rows, whatever its form: bytes, unpacked, as rows. Owns which reader is whose; the form follows from the name (storage's `inputForm`). */
import { CodedError } from "@flamboyance/contracts";
import { formatLocation, type Location, type ManifestForm, type Storage } from "@flamboyance/storage";
import type { ColumnMap } from "./columns.ts";
import { csvRows } from "./csv-rows.ts";
import { jsonRows } from "./json-rows.ts";
import { readParquet } from "./read-parquet.ts";
import type { Row } from "./row.ts";
import { unpack } from "./unpack.ts";

/** In pieces as they come: a turn for each row would take longer than reading it. Throws manifest_unreadable, manifest_too_large and invalid_header where it is the manifest's fault, storage's failures as they are. */
export function readRows(
  storage: Storage,
  location: Location,
  { form, columns, signal }: { readonly form: ManifestForm; readonly columns: ColumnMap; readonly signal: AbortSignal },
): AsyncGenerator<readonly Row[]> {
  if (form.rows === "parquet") return readRanges(storage, location, columns, signal);
  const bytes = storage.stream(location, { signal });
  const pieces = form.compression === null ? bytes : unpack(bytes, form.compression);
  if (form.rows === "jsonl") return jsonRows(pieces);
  return csvRows(pieces, { delimiter: form.rows === "csv" ? "," : "\t", expected: columns.expected });
}

async function* readRanges(storage: Storage, location: Location, columns: ColumnMap, signal: AbortSignal): AsyncGenerator<readonly Row[]> {
  const found = await storage.describe(location, { signal });
  if (found === null) throw new CodedError("storage_not_found", `there is no ${formatLocation(location)}`);
  const { sizeBytes, etag } = found;
  // All ranges of one and the same object: one that is put anew meanwhile fails this reading, and the next try reads that one.
  const same = etag === "" ? {} : { ifMatch: etag };
  const read = (offsetBytes: number, lengthBytes: number) => storage.readRange(location, { offsetBytes, lengthBytes, signal, ...same });
  yield* readParquet({ sizeBytes, read }, columns, { signal });
}
