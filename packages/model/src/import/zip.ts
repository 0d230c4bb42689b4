/**
 * The directory of a zip archive whose records are stored uncompressed, as PyTorch writes them, zip64 included.
 * Owns finding records; refuses compressed ones, and reads none of them.
 */
import { CodedError } from "@flamboyance/contracts";
import { fileSizeBytes, readRange } from "./piece-file.ts";

export interface ZipRecord {
  readonly sizeBytes: number;
  /** Where the record's bytes begin in the file; asks the file, for only the record's own header knows how long it is. */
  locate(): Promise<number>;
}

/** Every record by name. A file without a whole directory is `model_piece_corrupt`. */
export async function readZip(path: string): Promise<Map<string, ZipRecord>> {
  const archiveBytes = await fileSizeBytes(path);
  const directory = await findDirectory(path, archiveBytes);
  if (directory.offset + directory.sizeBytes > archiveBytes || directory.sizeBytes > directoryLimitBytes) throw corrupt(path);
  const view = viewOf(await readRange(path, directory.offset, directory.sizeBytes));
  const records = new Map<string, ZipRecord>();
  try {
    for (let at = 0; at < view.byteLength;) {
      if (view.getUint32(at, true) !== 0x02014b50) throw corrupt(path);
      const [nameBytes, extraBytes, commentBytes] = [
        view.getUint16(at + 28, true),
        view.getUint16(at + 30, true),
        view.getUint16(at + 32, true),
      ];
      const name = Buffer.from(view.buffer, view.byteOffset + at + 46, nameBytes).toString("utf8");
      const { sizeBytes, compressedBytes, offset } = recordPlace(view, at, at + 46 + nameBytes, extraBytes);
      if (offset + compressedBytes > archiveBytes) throw corrupt(path);
      const method = view.getUint16(at + 10, true);
      records.set(name, { sizeBytes, locate: () => locateRecord(path, name, method, offset, sizeBytes, archiveBytes) });
      at += 46 + nameBytes + extraBytes + commentBytes;
    }
  } catch (error) {
    if (error instanceof RangeError) throw corrupt(path, error);
    throw error;
  }
  return records;
}

const directoryLimitBytes = 256 * 2 ** 20;
/** The end record is 22 bytes and may be followed by a comment of at most 65,535; zip64 puts 20 bytes before it. */
const tailBytes = 22 + 65_535 + 20;

async function findDirectory(path: string, archiveBytes: number): Promise<{ offset: number; sizeBytes: number }> {
  const tailOffset = Math.max(0, archiveBytes - tailBytes);
  const tail = viewOf(await readRange(path, tailOffset, archiveBytes - tailOffset));
  for (let at = tail.byteLength - 22; at >= 0; at -= 1) {
    if (tail.getUint32(at, true) !== 0x06054b50 || at + 22 + tail.getUint16(at + 20, true) !== tail.byteLength) continue;
    const [entries, sizeBytes, offset] = [tail.getUint16(at + 10, true), tail.getUint32(at + 12, true), tail.getUint32(at + 16, true)];
    if (entries !== 0xffff && sizeBytes !== 0xffffffff && offset !== 0xffffffff) return { offset, sizeBytes };
    if (at < 20 || tail.getUint32(at - 20, true) !== 0x07064b50) return { offset, sizeBytes };
    const zip64Offset = Number(tail.getBigUint64(at - 20 + 8, true));
    if (zip64Offset + 56 > archiveBytes) throw corrupt(path);
    const zip64 = viewOf(await readRange(path, zip64Offset, 56));
    if (zip64.getUint32(0, true) !== 0x06064b50) throw corrupt(path);
    return { sizeBytes: Number(zip64.getBigUint64(40, true)), offset: Number(zip64.getBigUint64(48, true)) };
  }
  throw corrupt(path);
}

/** Sizes and offset of a directory entry; those that don't fit 32 bits stand in its zip64 field, in this order. */
function recordPlace(
  view: DataView,
  entryAt: number,
  extraAt: number,
  extraBytes: number,
): { sizeBytes: number; compressedBytes: number; offset: number } {
  const place = {
    compressedBytes: view.getUint32(entryAt + 20, true),
    sizeBytes: view.getUint32(entryAt + 24, true),
    offset: view.getUint32(entryAt + 42, true),
  };
  for (let at = extraAt; at + 4 <= extraAt + extraBytes; at += 4 + view.getUint16(at + 2, true)) {
    if (view.getUint16(at, true) !== 0x0001) continue;
    let next = at + 4;
    for (const key of ["sizeBytes", "compressedBytes", "offset"] as const) {
      if (place[key] !== 0xffffffff) continue;
      place[key] = Number(view.getBigUint64(next, true));
      next += 8;
    }
  }
  return place;
}

async function locateRecord(
  path: string,
  name: string,
  method: number,
  offset: number,
  sizeBytes: number,
  archiveBytes: number,
): Promise<number> {
  if (method !== 0) throw new CodedError("model_piece_unsupported", `${path}: the record ${name} is compressed; PyTorch stores them plain`);
  const header = viewOf(await readRange(path, offset, 30));
  if (header.getUint32(0, true) !== 0x04034b50) throw corrupt(path);
  const begin = offset + 30 + header.getUint16(26, true) + header.getUint16(28, true);
  if (begin + sizeBytes > archiveBytes) throw corrupt(path);
  return begin;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function corrupt(path: string, cause?: unknown): CodedError {
  return new CodedError("model_piece_corrupt", `${path} isn't a whole zip archive: it is cut off or damaged`, { cause });
}
