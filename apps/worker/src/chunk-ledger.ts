/**
 * Where each chunk of a plan begins: built while items.jsonl is written, before the number of items is known.
 * Owns the size of a chunk: items = clamp(items of the batch / 64, 4, 128). Holds single items only as long as smaller chunks are possible (8,192), then eight bytes per chunk.
 */
import { encodePlanIndex, type PlannedChunk } from "@flamboyance/storage";

const chunksWanted = 64;
const fewestItems = 4;
const mostItems = 128;

export function itemsPerChunk(items: number): number {
  return Math.min(mostItems, Math.max(fewestItems, Math.ceil(items / chunksWanted)));
}

export class ChunkLedger {
  /** Bytes of each single item, while the batch may yet be small. */
  #itemBytes: number[] | null = [];
  /** Bytes of each full chunk of `mostItems`, once it isn't; the last one is open. */
  readonly #chunkBytes: number[] = [];
  #openItems = 0;
  #items = 0;

  get items(): number {
    return this.#items;
  }

  /** The next item's line, its end included. */
  add(lineBytes: number): void {
    this.#items += 1;
    if (this.#itemBytes === null) {
      this.#addToChunk(lineBytes);
      return;
    }
    this.#itemBytes.push(lineBytes);
    if (itemsPerChunk(this.#items) < mostItems) return;
    const single = this.#itemBytes;
    this.#itemBytes = null;
    for (const bytes of single) this.#addToChunk(bytes);
  }

  /** How many chunks there are, and their index in pieces. */
  index(): { readonly chunks: number; readonly pieces: Iterable<Uint8Array> } {
    const size = itemsPerChunk(this.#items);
    const chunkBytes = this.#itemBytes === null ? this.#chunkBytes : sums(this.#itemBytes, size);
    return { chunks: chunkBytes.length, pieces: indexPieces(chunkBytes, size, this.#items) };
  }

  #addToChunk(lineBytes: number): void {
    if (this.#openItems === 0) this.#chunkBytes.push(0);
    const last = this.#chunkBytes.length - 1;
    this.#chunkBytes[last] = (this.#chunkBytes[last] ?? 0) + lineBytes;
    this.#openItems = (this.#openItems + 1) % mostItems;
  }
}

function sums(itemBytes: readonly number[], size: number): number[] {
  const chunks: number[] = [];
  for (let first = 0; first < itemBytes.length; first += size) {
    chunks.push(itemBytes.slice(first, first + size).reduce((sum, bytes) => sum + bytes, 0));
  }
  return chunks;
}

const pieceChunks = 4_096;

function* indexPieces(chunkBytes: readonly number[], size: number, items: number): Generator<Uint8Array> {
  let offsetBytes = 0;
  let piece: PlannedChunk[] = [];
  for (const [chunk, sizeBytes] of chunkBytes.entries()) {
    const firstItem = chunk * size;
    piece.push({ offsetBytes, sizeBytes, firstItem, items: Math.min(size, items - firstItem) });
    offsetBytes += sizeBytes;
    if (piece.length < pieceChunks) continue;
    yield encodePlanIndex(piece);
    piece = [];
  }
  if (piece.length > 0) yield encodePlanIndex(piece);
}
