/**
 * Where in a batch's output.jsonl the answer to a key stands: a hash table in S3, written once at the batch's end and read by ranges. Owns its layout and the memory of
 * both sides. Holds no words: without the batch's output it says nothing.
 *
 * It lies in segments, objects of up to 2²¹ entries, in the order of the output: `starts` (little-endian 32-bit numbers, one more than there are buckets: the first
 * entry of each), then the entries, by bucket. An entry is 32 bytes: the key's first 16, then the line's offset (8), its length (4) and its CRC-32 (4).
 */
import { crc32 } from "node:zlib";
import { setImmediate as breathe } from "node:timers/promises";
import { CodedError } from "@flamboyance/contracts";
import type { Storage } from "@flamboyance/storage";
import { HashedTexts } from "../hashed-texts.ts";

/** 64 MiB, held while a segment is being filled. */
export const segmentEntries = 2 ** 21;

const entryBytes = 32;
const keyBytes = 16;
/** Entries of a bucket, about: as many are gone over for one look, and each bucket costs four bytes. */
const bucketEntries = 16;

/** A line's place in the output. */
export interface AnswerPlace {
  readonly offsetBytes: number;
  readonly lengthBytes: number;
  readonly crc32: number;
}

/** How many entries each segment has, of so many in all. */
export function segmentsOf(entries: number, most = segmentEntries): number[] {
  return Array.from({ length: Math.ceil(entries / most) }, (_, at) => Math.min(most, entries - at * most));
}

export class AnswerIndexFile implements Disposable {
  readonly #storage: Pick<Storage, "writeStream">;
  readonly #bucket: string;
  readonly #keyOf: (segment: number) => string;
  readonly #signal: AbortSignal;
  readonly #most: number;
  #held = Buffer.alloc(1_024 * entryBytes);
  #count = 0;
  #segments = 0;
  /** Of this segment. Items that are alike would all lie in one bucket, which each look would go over. */
  #known: HashedTexts;

  constructor(
    storage: Pick<Storage, "writeStream">,
    /** `keyOf`: the object of each segment. */
    { bucket, keyOf }: { readonly bucket: string; readonly keyOf: (segment: number) => string },
    signal: AbortSignal,
    most = segmentEntries,
  ) {
    this.#storage = storage;
    this.#bucket = bucket;
    this.#keyOf = keyOf;
    this.#signal = signal;
    this.#most = most;
    this.#known = this.#nothingKnown();
  }

  /** Of equal keys the first stands. Waits while a full segment is written. `line`: the very bytes that stand there, its end included. */
  async add(key: Buffer, offsetBytes: number, line: string): Promise<void> {
    // Told by a hash: one that passes for known is an answer that isn't found.
    if (this.#known.find(key.toString("latin1", 0, keyBytes)) !== null) return;
    const at = this.#count * entryBytes;
    if (at === this.#held.length) this.#held = Buffer.concat([this.#held], Math.min(2 * at, this.#most * entryBytes));
    key.copy(this.#held, at, 0, keyBytes);
    this.#held.writeBigUInt64LE(BigInt(offsetBytes), at + 16);
    this.#held.writeUInt32LE(Buffer.byteLength(line), at + 24);
    this.#held.writeUInt32LE(crc32(line), at + 28);
    this.#count += 1;
    if (this.#count === this.#most) await this.#write();
  }

  /** Answers how many entries there are in all. */
  async finish(): Promise<number> {
    const last = this.#count;
    const full = this.#segments * this.#most;
    if (last > 0) await this.#write();
    return full + last;
  }

  /** Nothing can be added any more. */
  [Symbol.dispose](): void {
    this.#known[Symbol.dispose]();
    this.#held = Buffer.alloc(0);
  }

  async #write(): Promise<void> {
    const location = { bucket: this.#bucket, key: this.#keyOf(this.#segments) };
    const pieces = inBuckets(this.#held.subarray(0, this.#count * entryBytes));
    await this.#storage.writeStream(location, pieces, { contentType: "application/octet-stream", signal: this.#signal });
    this.#segments += 1;
    this.#count = 0;
    this.#known[Symbol.dispose]();
    this.#known = this.#nothingKnown();
  }

  #nothingKnown(): HashedTexts {
    return new HashedTexts({ most: this.#most, numbered: false });
  }
}

/** The segment's bytes, from its entries as they came: which stay in that order within a bucket, so that the same entries are the same bytes. */
async function* inBuckets(entries: Buffer): AsyncGenerator<Uint8Array> {
  const count = entries.length / entryBytes;
  const bits = bucketBits(count);
  const starts = Buffer.alloc(startsBytes(count));
  const next = new Uint32Array(2 ** bits + 1);
  for (let entry = 0; entry < count; entry++) {
    const after = bucketOf(entries, entry * entryBytes, bits) + 1;
    next[after] = (next[after] ?? 0) + 1;
  }
  for (let bucket = 0; bucket < 2 ** bits; bucket++) next[bucket + 1] = (next[bucket + 1] ?? 0) + (next[bucket] ?? 0);
  for (const [bucket, start] of next.entries()) starts.writeUInt32LE(start, 4 * bucket);
  yield starts;
  const order = new Uint32Array(count);
  for (let entry = 0; entry < count; entry++) {
    const bucket = bucketOf(entries, entry * entryBytes, bits);
    const place = next[bucket] ?? 0;
    order[place] = entry;
    next[bucket] = place + 1;
    // Others need the loop too.
    if (entry % piecesOf === 0) await breathe();
  }
  for (let first = 0; first < count; first += piecesOf) {
    const piece = Buffer.alloc(Math.min(piecesOf, count - first) * entryBytes);
    for (let at = 0; at < piece.length; at += entryBytes) {
      const from = (order[first + at / entryBytes] ?? 0) * entryBytes;
      entries.copy(piece, at, from, from + entryBytes);
    }
    yield piece;
  }
}

/** Entries of a piece that is written. */
const piecesOf = 8_192;

/** Buckets are told by the first bits of a key, which is a hash. */
function bucketBits(entries: number): number {
  return Math.max(0, Math.ceil(Math.log2(entries / bucketEntries)));
}

function startsBytes(entries: number): number {
  return 4 * (2 ** bucketBits(entries) + 1);
}

function bucketOf(key: Buffer, at: number, bits: number): number {
  return bits === 0 ? 0 : key.readUInt32BE(at) >>> (32 - bits);
}

export function segmentBytes(entries: number): number {
  return startsBytes(entries) + entries * entryBytes;
}

/** The places of this key's lines in a segment of so many entries: most often none or one. Throws internal_error for bytes that are no segment. */
export async function findPlaces(
  key: Buffer,
  entries: number,
  read: (offsetBytes: number, lengthBytes: number) => Promise<Buffer>,
): Promise<AnswerPlace[]> {
  const bucket = bucketOf(key, 0, bucketBits(entries));
  const bounds = await read(4 * bucket, 8);
  const [start, end] = [bounds.readUInt32LE(0), bounds.readUInt32LE(4)];
  if (start > end || end > entries)
    throw new CodedError("internal_error", `bucket ${bucket} of ${entries} entries goes from ${start} to ${end}`);
  if (start === end) return [];
  const found = await read(startsBytes(entries) + start * entryBytes, (end - start) * entryBytes);
  const places: AnswerPlace[] = [];
  for (let at = 0; at < found.length; at += entryBytes) {
    if (key.compare(found, at, at + keyBytes, 0, keyBytes) !== 0) continue;
    const offsetBytes = Number(found.readBigUInt64LE(at + 16));
    places.push({ offsetBytes, lengthBytes: found.readUInt32LE(at + 24), crc32: found.readUInt32LE(at + 28) });
  }
  return places;
}
