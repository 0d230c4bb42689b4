/**
 * A Parquet file as rows, by a process that ends where it goes on too long or takes too much: then the file is at fault, for a whole one is read in far less.
 * Owns the process's life; the ranges are read here, so that whatever S3 has to say never passes for the file's fault.
 */
import { fork, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { CodedError, limits } from "@flamboyance/contracts";
import { threadFile } from "../thread-file.ts";
import type { ColumnMap } from "./columns.ts";
import type { FromParquet, ToParquet } from "./parquet-process.ts";
import type { RangeSource } from "./parquet-rows.ts";
import type { Row } from "./row.ts";

export interface ParquetOptions {
  readonly signal: AbortSignal;
  /** Less than the limits, for tests. */
  readonly seconds?: number;
  readonly memoryBytes?: number;
}

/** Throws as parquetRows does; manifest_unreadable where the reader takes more time than such a file can, manifest_too_large where it takes more memory. */
export async function* readParquet(
  source: RangeSource,
  { read, expected }: Pick<ColumnMap, "read" | "expected">,
  { signal, seconds = limits.parquetSeconds, memoryBytes = limits.parquetMemoryBytes }: ParquetOptions,
): AsyncGenerator<readonly Row[]> {
  signal.throwIfAborted();
  const inbox = new Inbox();
  const child = fork(fileURLToPath(threadFile("rows/parquet-process")), [], {
    serialization: "advanced",
    env: {},
    stdio: ["ignore", "ignore", "ignore", "ipc"],
    execArgv: [...process.execArgv, `--max-old-space-size=${Math.ceil(memoryBytes / 2 ** 20)}`],
  });
  // Where it is at an end already, that is told by `exit`.
  const say = (message: ToParquet): void => void child.send(message, () => {});

  child.on("message", (message: FromParquet) => {
    if (message.kind === "rows") inbox.put(message.rows);
    else if (message.kind === "ended") inbox.end();
    else if (message.kind === "failed") {
      const { code, message: text, param } = message;
      inbox.fail(new CodedError(code, text, param === null ? {} : { param }));
    } else {
      const { id, offsetBytes, lengthBytes } = message;
      source.read(offsetBytes, lengthBytes).then(
        (bytes) => say({ kind: "bytes", id, bytes }),
        (error: unknown) => inbox.fail(error),
      );
    }
  });
  child.on("error", (cause) => inbox.fail(failed(cause)));
  child.on("exit", (_code, ending) => inbox.fail(causeOf(ending, { seconds, memoryBytes })));
  const giveUp = (): void => inbox.fail(signal.reason);
  signal.addEventListener("abort", giveUp, { once: true });
  try {
    say({ kind: "read", file: { sizeBytes: source.sizeBytes, read, expected, seconds, memoryBytes } });
    say({ kind: "more" });
    for (let rows = await inbox.take(); rows !== null; rows = await inbox.take()) {
      // The next piece is decoded while this one is looked at.
      say({ kind: "more" });
      yield rows;
    }
  } finally {
    signal.removeEventListener("abort", giveUp);
    await end(child);
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill("SIGKILL");
  await ended;
}

/** What ended it: its watch, V8 where the heap is full (which of these it takes depends on the build), the kernel where the machine's memory is; else nothing that the file did. */
function causeOf(
  ending: NodeJS.Signals | null,
  { seconds, memoryBytes }: { readonly seconds: number; readonly memoryBytes: number },
): CodedError {
  if (ending === "SIGXCPU")
    return new CodedError("manifest_unreadable", `not a Parquet file that can be read: decoding it takes more than ${seconds} seconds`);
  if (ending !== null && outOfMemory.has(ending))
    return new CodedError("manifest_too_large", `decoding it takes more than ${memoryBytes} bytes of memory`);
  return failed();
}

const outOfMemory: ReadonlySet<NodeJS.Signals> = new Set<NodeJS.Signals>(["SIGKILL", "SIGABRT", "SIGTRAP", "SIGILL", "SIGSEGV"]);
const failed = (cause?: unknown): CodedError => new CodedError("engine_failed", "the process that reads Parquet failed", { cause });

/** Pieces of rows on their way; the first end or failure stands behind them. */
class Inbox {
  readonly #pieces: (readonly Row[])[] = [];
  #state: { readonly kind: "open" | "ended" } | { readonly kind: "failed"; readonly error: unknown } = { kind: "open" };
  #wake = (): void => {};

  put(rows: readonly Row[]): void {
    this.#pieces.push(rows);
    this.#wake();
  }

  end(): void {
    if (this.#state.kind === "open") this.#state = { kind: "ended" };
    this.#wake();
  }

  fail(error: unknown): void {
    if (this.#state.kind === "open") this.#state = { kind: "failed", error };
    this.#wake();
  }

  /** Null at the end. */
  async take(): Promise<readonly Row[] | null> {
    for (;;) {
      const rows = this.#pieces.shift();
      if (rows !== undefined) return rows;
      if (this.#state.kind === "failed") throw this.#state.error;
      if (this.#state.kind === "ended") return null;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
  }
}
