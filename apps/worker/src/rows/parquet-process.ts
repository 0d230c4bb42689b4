/**
 * A Parquet file's rows, read in a process of its own: a file can be made to hold its reader up for good, or to take all memory, and a thread that runs out of
 * heap takes its process with it. Asks for ranges, gives rows in pieces, and waits while nobody wants more. Has no environment: it needs no secrets.
 * read-parquet.ts starts it and ends it; within, parquet-watch.ts holds its bounds.
 */
import { Worker } from "node:worker_threads";
import { isCoded, type ErrorCode } from "@flamboyance/contracts";
import { threadFile } from "../thread-file.ts";
import type { ExpectedColumn } from "./columns.ts";
import { parquetRows, sizeOf } from "./parquet-rows.ts";
import type { WatchData } from "./parquet-watch.ts";
import type { Row } from "./row.ts";

export type ToParquet =
  | { readonly kind: "read"; readonly file: ParquetFile }
  | { readonly kind: "bytes"; readonly id: number; readonly bytes: Uint8Array }
  /** One more piece of rows. */
  | { readonly kind: "more" };

export interface ParquetFile {
  readonly sizeBytes: number;
  readonly read: ReadonlySet<string> | null;
  readonly expected: readonly ExpectedColumn[];
  readonly seconds: number;
  readonly memoryBytes: number;
}

export type FromParquet =
  | { readonly kind: "range"; readonly id: number; readonly offsetBytes: number; readonly lengthBytes: number }
  | { readonly kind: "rows"; readonly rows: readonly Row[] }
  | { readonly kind: "ended" }
  | { readonly kind: "failed"; readonly code: ErrorCode; readonly message: string; readonly param: string | null };

/** A piece ends at either: what is on its way is held twice. */
const pieceRows = 2_048;
const pieceCharacters = 2 * 1024 * 1024;

const say = (message: FromParquet): void => void process.send?.(message);

class Reader {
  readonly #asked = new Map<number, (bytes: Uint8Array) => void>();
  #lastId = 0;
  #wanted = 0;
  #wake = (): void => {};
  /** Rows given and bytes read, as the watch sees them. */
  readonly #progress = new Float64Array(new SharedArrayBuffer(2 * Float64Array.BYTES_PER_ELEMENT));

  take(message: ToParquet): void {
    if (message.kind === "read") void this.#run(message.file);
    else if (message.kind === "more") {
      this.#wanted += 1;
      this.#wake();
    } else {
      this.#progress[1] = (this.#progress[1] ?? 0) + message.bytes.length;
      this.#asked.get(message.id)?.(message.bytes);
      this.#asked.delete(message.id);
    }
  }

  async #run({ sizeBytes, seconds, memoryBytes, ...columns }: ParquetFile): Promise<void> {
    const watch: WatchData = { parent: process.ppid, progress: this.#progress, seconds, memoryBytes };
    // Nothing is read unwatched.
    const watching = new Worker(threadFile("rows/parquet-watch"), { workerData: watch });
    watching.on("exit", () => process.exit(1));
    const read = (offsetBytes: number, lengthBytes: number) => this.#read(offsetBytes, lengthBytes);
    try {
      let rows: Row[] = [];
      let characters = 0;
      for await (const row of parquetRows({ sizeBytes, read }, columns)) {
        rows.push(row);
        if (row.kind === "fields") characters += sizeOf(row.fields);
        if (rows.length < pieceRows && characters < pieceCharacters) continue;
        await this.#give(rows);
        rows = [];
        characters = 0;
      }
      if (rows.length > 0) await this.#give(rows);
      say({ kind: "ended" });
    } catch (error) {
      // Whatever is thrown here is about these bytes: what a range's source throws never comes in.
      const message = error instanceof Error ? error.message : String(error);
      const coded = isCoded(error) ? error : null;
      say({ kind: "failed", code: coded?.code ?? "manifest_unreadable", message, param: coded?.param ?? null });
    }
  }

  #read(offsetBytes: number, lengthBytes: number): Promise<Uint8Array> {
    const id = ++this.#lastId;
    return new Promise((resolve) => {
      this.#asked.set(id, resolve);
      say({ kind: "range", id, offsetBytes, lengthBytes });
    });
  }

  async #give(rows: readonly Row[]): Promise<void> {
    while (this.#wanted === 0) await new Promise<void>((resolve) => (this.#wake = resolve));
    this.#wanted -= 1;
    this.#progress[0] = (this.#progress[0] ?? 0) + rows.length;
    say({ kind: "rows", rows });
  }
}

const reader = new Reader();
process.on("disconnect", () => process.exit());
// A terminal's Ctrl-C goes to all; who started this one ends it when it has drained.
process.on("SIGINT", () => {});
process.on("message", (message: ToParquet) => reader.take(message));
