/** The Range header: one range in its three forms. */
import { S3Error } from "./s3-error.ts";

export interface ByteRange {
  readonly start: number;
  /** One past the last byte. */
  readonly end: number;
}

/** The bytes that are asked for; null for all of them, also where the header is of a form that S3 passes over. Throws InvalidRange past the end. */
export function readByteRange(header: string | undefined, sizeBytes: number): ByteRange | null {
  const found = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  const [first, last] = [found?.[1] ?? "", found?.[2] ?? ""];
  if (first === "" && last === "") return null;
  const start = first === "" ? Math.max(0, sizeBytes - Number(last)) : Number(first);
  const end = first === "" || last === "" ? sizeBytes : Math.min(sizeBytes, Number(last) + 1);
  if (first !== "" && last !== "" && Number(last) < Number(first)) return null;
  if (start >= sizeBytes || (first === "" && Number(last) === 0)) {
    throw new S3Error("InvalidRange", "The requested range is not satisfiable", { "content-range": `bytes */${sizeBytes}` });
  }
  return { start, end };
}
