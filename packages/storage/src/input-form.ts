/**
 * What an input is, told by its name alone: a manifest in one of the forms, or a prefix of images.
 * Owns the endings. Refuses a name that tells nothing: guessing from bytes would make a form of whatever lies there.
 */
import { CodedError } from "@flamboyance/contracts";

export interface ManifestForm {
  readonly kind: "manifest";
  readonly rows: "jsonl" | "csv" | "tsv" | "parquet";
  readonly compression: "gzip" | "zstd" | null;
}

export type InputForm = ManifestForm | { readonly kind: "prefix" };

/**
 * Case doesn't count. A location with a wildcard, or that ends in `/` or names only a bucket, is a prefix. Throws `storage_invalid_location`.
 *
 *     inputForm("s3://photos/2024.csv.gz") // → { kind: "manifest", rows: "csv", compression: "gzip" }
 */
export function inputForm(text: string): InputForm {
  if (/[*?{]/.test(text) || text.endsWith("/") || /^s3:\/\/[^/]*$/.test(text)) return { kind: "prefix" };
  const [, ending = "", packing = ""] = /\.(jsonl|ndjson|csv|tsv|parquet)(\.gz|\.zst)?$/i.exec(text) ?? [];
  const rows = forms[ending.toLowerCase()];
  if (rows === undefined) {
    throw new CodedError(
      "storage_invalid_location",
      `${text} names one object that is no manifest by its name: those end in .jsonl, .ndjson, .csv, .tsv (each also .gz, .zst) or .parquet; a prefix ends in "/", or holds a wildcard`,
    );
  }
  if (rows === "parquet" && packing !== "") {
    throw new CodedError(
      "storage_invalid_location",
      `${text}: a Parquet file is read in ranges, so it can't be packed as a whole; it packs its own pages`,
    );
  }
  return { kind: "manifest", rows, compression: packings[packing.toLowerCase()] ?? null };
}

const forms: Readonly<Record<string, ManifestForm["rows"]>> = {
  jsonl: "jsonl",
  ndjson: "jsonl",
  csv: "csv",
  tsv: "tsv",
  parquet: "parquet",
};
const packings: Readonly<Record<string, "gzip" | "zstd">> = { ".gz": "gzip", ".zst": "zstd" };
