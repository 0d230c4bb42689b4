/**
 * The plan's index: one fixed-width record per chunk, so that any chunk's place in items.jsonl is one small range read.
 * Owns the record's bytes (little-endian: offset u64, bytes u32, first item u32, items u32). Refuses an index that isn't whole records.
 */
import { CodedError } from "@flamboyance/contracts";

/** A chunk: a byte range of items.jsonl, whole lines. */
export interface PlannedChunk {
  readonly offsetBytes: number;
  readonly sizeBytes: number;
  /** The number of its first item in the batch, from 0. */
  readonly firstItem: number;
  readonly items: number;
}

/** Bytes per chunk. */
export const planIndexRecordBytes = 20;

/** The index's bytes, in chunk order. Throws RangeError for numbers that the widths can't hold. */
export function encodePlanIndex(chunks: readonly PlannedChunk[]): Uint8Array {
  const bytes = Buffer.alloc(chunks.length * planIndexRecordBytes);
  for (const [chunk, { offsetBytes, sizeBytes, firstItem, items }] of chunks.entries()) {
    const at = chunk * planIndexRecordBytes;
    bytes.writeBigUInt64LE(BigInt(offsetBytes), at);
    bytes.writeUInt32LE(sizeBytes, at + 8);
    bytes.writeUInt32LE(firstItem, at + 12);
    bytes.writeUInt32LE(items, at + 16);
  }
  return bytes;
}

/** Reads records back: the whole index, or the range of some chunks. Throws `storage_invalid_response` where the bytes aren't whole records. */
export function decodePlanIndex(bytes: Uint8Array): PlannedChunk[] {
  if (bytes.length % planIndexRecordBytes !== 0) {
    throw new CodedError(
      "storage_invalid_response",
      `a plan's index of ${bytes.length} bytes isn't whole records of ${planIndexRecordBytes}`,
    );
  }
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Array.from({ length: bytes.length / planIndexRecordBytes }, (_, chunk) => {
    const at = chunk * planIndexRecordBytes;
    return {
      offsetBytes: Number(view.readBigUInt64LE(at)),
      sizeBytes: view.readUInt32LE(at + 8),
      firstItem: view.readUInt32LE(at + 12),
      items: view.readUInt32LE(at + 16),
    };
  });
}

/** Where a chunk's record lies in the index. */
export function planIndexRange(chunk: number): { readonly offsetBytes: number; readonly lengthBytes: number } {
  return { offsetBytes: chunk * planIndexRecordBytes, lengthBytes: planIndexRecordBytes };
}
