import { expect, it } from "vitest";
import { inputForm } from "./input-form.ts";

it.each([
  ["a.jsonl", "jsonl", null],
  ["a.ndjson", "jsonl", null],
  ["a.jsonl.gz", "jsonl", "gzip"],
  ["a.b/c.csv.zst", "csv", "zstd"],
  ["A.CSV.GZ", "csv", "gzip"],
  ["a.tsv", "tsv", null],
  ["part-0.snappy.parquet", "parquet", null],
])("takes %s for a manifest of %s, packed %s", (key, rows, compression) => {
  expect(inputForm(`s3://photos/${key}`)).toEqual({ kind: "manifest", rows, compression });
});

it.each(["s3://photos", "s3://photos/", "s3://photos/2024/", "s3://photos/*.csv", "s3://photos/{a,b}.jsonl", "s3://photos/a.jsonl/"])(
  "takes %s for a prefix",
  (text) => {
    expect(inputForm(text)).toEqual({ kind: "prefix" });
  },
);

it.each(["s3://photos/a", "s3://photos/a.jpg", "s3://photos/a.gz", "s3://photos/a.csv.bz2", "s3://photos/csv", "s3://photos/a.parquet.gz"])(
  "refuses %s",
  (text) => {
    expect(() => inputForm(text)).toThrow(expect.objectContaining({ code: "storage_invalid_location" }) as Error);
  },
);
