/** One decode thread: bytes of an image in, normalised pixels of its frames out. Owns nothing between two images. */
import { parentPort } from "node:worker_threads";
import { isCoded, type ErrorCode, type PixelMode } from "@flamboyance/contracts";
import { decodeFrames, decodePixels, type Media, type Preprocessing } from "@flamboyance/model";

export interface DecodeTask {
  readonly id: number;
  readonly bytes: Uint8Array;
  readonly preprocessing: Preprocessing;
  /** How many are taken of an animation; null: its first alone. */
  readonly frames: number | null;
  readonly pixels: PixelMode;
  readonly maxPixels: number;
  readonly maxAnimationPixels: number;
}

/** May be decoded now: the answer to `weighs`. */
export interface DecodeGo {
  readonly kind: "go";
}

export type DecodeAnswer =
  /** Holds so many bytes while it is decoded, and waits for a `go`. */
  | { readonly id: number; readonly kind: "weighs"; readonly bytes: number }
  | { readonly id: number; readonly kind: "pixels"; readonly pixels: Media }
  | { readonly id: number; readonly kind: "failed"; readonly code: ErrorCode; readonly message: string };

const port = parentPort;
if (port === null) throw new Error("decode-thread runs as a worker thread only");

let go: (() => void) | null = null;

port.on("message", (task: DecodeTask | DecodeGo) => {
  if (!("bytes" in task)) return go?.();
  void answer(task).then((found) => {
    const frames = found.kind === "pixels" ? found.pixels : [];
    const owned = frames.flatMap(({ buffer }) => (buffer instanceof ArrayBuffer ? [buffer] : []));
    port.postMessage(found, owned);
  });
});

/** Small ones are as many as threads, and aren't worth a question. */
const smallBytes = 8 * 1024 * 1024;

async function answer({ id, bytes, preprocessing, frames, ...bounds }: DecodeTask): Promise<DecodeAnswer> {
  const enter = (heldBytes: number): Promise<void> => {
    if (heldBytes <= smallBytes) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    go = resolve;
    port?.postMessage({ id, kind: "weighs", bytes: heldBytes } satisfies DecodeAnswer);
    return promise;
  };
  const options = { ...bounds, enter };
  try {
    const pixels =
      frames === null
        ? [await decodePixels(bytes, preprocessing, options)]
        : await decodeFrames(bytes, preprocessing, { ...options, frames });
    return { id, kind: "pixels", pixels };
  } catch (error) {
    // Whatever a decoder throws is about these bytes.
    const message = error instanceof Error ? error.message : String(error);
    return { id, kind: "failed", code: isCoded(error) ? error.code : "image_unreadable", message };
  }
}
