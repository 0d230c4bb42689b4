/**
 * An object of lines (or of bytes) while it is being written: records go in one by one, pieces go to S3 as they fill.
 * Owns the bounded buffer between a source and several such files fed in one pass. Refuses to leave half an object: it stands whole after `finish`, or not at all.
 */
import { jsonLine, type Location, type Storage } from "@flamboyance/storage";

export interface LineFile {
  /** Lines written so far. */
  readonly lines: number;
  /** Takes a record, or a whole line's text with its end. Waits while S3 is behind; rejects with what made the upload fail. */
  write(record: object | string): Promise<void>;
  /** Takes so many whole lines at once, each with its end. */
  writeLines(text: string, count: number): Promise<void>;
  /** Takes the next bytes of an object that has no lines; `lines` doesn't count them. */
  writeBytes(bytes: Uint8Array): Promise<void>;
  /** Ends the object. */
  finish(): Promise<{ sizeBytes: number; sha256: string; lines: number }>;
  /** Gives the object up; it won't exist. Does nothing after `finish`. */
  abandon(): Promise<void>;
}

const pieceBytes = 256 * 1024;
const piecesHeld = 8;

export function openLineFile(
  storage: Storage,
  location: Location,
  options: { readonly signal: AbortSignal; /** Default: JSON lines. */ readonly contentType?: string },
): LineFile {
  const given = new AbortController();
  const pieces = new PieceQueue();
  const upload = storage.writeStream(location, pieces, {
    contentType: options.contentType ?? "application/jsonl",
    signal: AbortSignal.any([options.signal, given.signal]),
  });
  upload.catch((error: unknown) => pieces.fail(error));

  let held: Buffer[] = [];
  let heldBytes = 0;
  let lines = 0;
  const flush = async () => {
    const piece = Buffer.concat(held, heldBytes);
    held = [];
    heldBytes = 0;
    await pieces.push(piece);
  };
  const hold = async (bytes: Buffer) => {
    held.push(bytes);
    heldBytes += bytes.length;
    if (heldBytes >= pieceBytes) await flush();
  };
  const writeLines = (text: string, count: number) => {
    lines += count;
    return hold(Buffer.from(text));
  };
  return {
    get lines() {
      return lines;
    },
    write: (record) => writeLines(typeof record === "string" ? record : jsonLine(record), 1),
    writeLines,
    writeBytes: (bytes) => hold(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)),
    finish: async () => {
      if (heldBytes > 0) await flush();
      pieces.end();
      const { sizeBytes, sha256 } = await upload;
      return { sizeBytes, sha256, lines };
    },
    abandon: async () => {
      given.abort(new Error("the object was given up"));
      pieces.fail(given.signal.reason);
      await upload.catch(() => {});
    },
  };
}

/** Pieces between one writer and one reader; the writer waits while too many are held. */
class PieceQueue implements AsyncIterable<Uint8Array> {
  readonly #pieces: Uint8Array[] = [];
  #changed = Promise.withResolvers<void>();
  #state: { readonly kind: "open" | "ended" } | { readonly kind: "failed"; readonly error: unknown } = { kind: "open" };

  async push(piece: Uint8Array): Promise<void> {
    while (this.#pieces.length >= piecesHeld && this.#state.kind === "open") await this.#changed.promise;
    if (this.#state.kind === "failed") throw this.#state.error;
    this.#pieces.push(piece);
    this.#notify();
  }

  end(): void {
    if (this.#state.kind === "open") this.#state = { kind: "ended" };
    this.#notify();
  }

  fail(error: unknown): void {
    if (this.#state.kind !== "failed") this.#state = { kind: "failed", error };
    this.#notify();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.#state.kind === "failed") throw this.#state.error;
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        this.#notify();
        yield piece;
      } else if (this.#state.kind === "ended") return;
      else await this.#changed.promise;
    }
  }

  #notify(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}
