/**
 * A pool of threads that turn images into pixels, off the main loop. Owns the threads and who works on what.
 * A thread that dies is replaced; what it worked on fails as a passing fault. Refuses to hold more than one image per thread: callers bound what waits.
 */
import { Worker } from "node:worker_threads";
import { CodedError, limits, type PixelMode } from "@flamboyance/contracts";
import type { Media, Preprocessing } from "@flamboyance/model";
import type { DecodeAnswer, DecodeGo, DecodeTask } from "./decode-thread.ts";
import { Gate, type Pass } from "./gate.ts";
import { threadFile } from "./thread-file.ts";

/** What is made of an image. */
export interface Look {
  readonly preprocessing: Preprocessing;
  /** How many frames are taken of an animation; null: its first alone. */
  readonly frames: number | null;
  readonly pixels: PixelMode;
}

export interface Decoder {
  /** The pixels (3, size, size) of each frame. Throws image_unsupported, image_unreadable, image_too_large; engine_failed where the thread died; the signal's reason. */
  decode(bytes: Uint8Array, look: Look, signal: AbortSignal): Promise<Media>;
  close(): Promise<void>;
}

interface Waiting {
  readonly task: DecodeTask;
  readonly resolve: (pixels: Media) => void;
  readonly reject: (error: unknown) => void;
}

interface Thread {
  readonly worker: Worker;
  busy: Waiting | null;
  /** Of a large image: what it holds while it is decoded. */
  pass: Pass | null;
}

export interface DecoderOptions {
  readonly threads: number;
  /**
   * Large images are decoded together only while they hold less than this, by what their headers say; one that alone holds more is decoded alone. So no more is held
   * than this and one image's. Default 512 MiB.
   */
  readonly maxBytes?: number;
  /** Another thread's file, for tests. */
  readonly thread?: URL;
}

export function openDecoder({ threads: count, maxBytes = 2 ** 29, thread: file = threadFile("decode-thread") }: DecoderOptions): Decoder {
  const held = new Gate({ holders: Infinity, weight: maxBytes });
  const ended = new AbortController();
  const waiting = new Set<Waiting>();
  const threads = new Set<Thread>();
  let closed = false;
  let lastId = 0;

  const next = (thread: Thread) => {
    const [first] = waiting;
    if (first === undefined || thread.busy !== null) return;
    waiting.delete(first);
    thread.busy = first;
    // Copied, not transferred: a fetched image may be a view of a pooled buffer.
    thread.worker.postMessage(first.task);
  };
  const letIn = async (thread: Thread, bytes: number) => {
    const pass = await held.enter(ended.signal, bytes).catch(() => null);
    // The thread may have died meanwhile.
    if (pass === null || !threads.has(thread)) return pass?.release();
    thread.pass = pass;
    thread.worker.postMessage({ kind: "go" } satisfies DecodeGo);
  };
  const start = () => {
    const thread: Thread = { worker: new Worker(file), busy: null, pass: null };
    thread.worker.on("message", (answer: DecodeAnswer) => {
      if (answer.kind === "weighs") return void letIn(thread, answer.bytes);
      thread.pass?.release();
      thread.pass = null;
      const done = thread.busy;
      thread.busy = null;
      if (done !== null && answer.kind === "pixels") done.resolve(answer.pixels);
      else if (answer.kind === "failed") done?.reject(new CodedError(answer.code, answer.message));
      next(thread);
    });
    thread.worker.on("error", (error) => thread.busy?.reject(new CodedError("engine_failed", "a decode thread failed", { cause: error })));
    thread.worker.on("exit", () => {
      threads.delete(thread);
      thread.pass?.release();
      thread.busy?.reject(new CodedError("engine_failed", "a decode thread ended"));
      // Only for work: a thread that can't start mustn't be started without end.
      if (!closed && waiting.size > 0) start();
    });
    threads.add(thread);
    next(thread);
  };
  const fill = () => {
    while (threads.size < count) start();
  };
  fill();

  return {
    decode: (bytes, look, signal) => {
      signal.throwIfAborted();
      const { promise, resolve, reject } = Promise.withResolvers<Media>();
      const bounds = { maxPixels: limits.imagePixels, maxAnimationPixels: limits.animationPixels };
      const entry: Waiting = { task: { id: ++lastId, bytes, ...look, ...bounds }, resolve, reject };
      // An image that is being decoded is decoded to its end; nobody waits for it any more.
      const giveUp = () => {
        waiting.delete(entry);
        reject(signal.reason);
      };
      signal.addEventListener("abort", giveUp, { once: true });
      waiting.add(entry);
      fill();
      for (const thread of threads) next(thread);
      return promise.finally(() => signal.removeEventListener("abort", giveUp));
    },
    close: async () => {
      closed = true;
      ended.abort();
      for (const { reject } of waiting) reject(new CodedError("aborted", "the decoder was closed"));
      waiting.clear();
      await Promise.all([...threads].map(({ worker }) => worker.terminate()));
    },
  };
}
