/** One decode thread: bytes of an image in, normalised pixels out. Owns nothing between two images. */
import { parentPort } from "node:worker_threads";
import { isCoded, type ErrorCode } from "@flamboyance/contracts";
import { decodePixels, type Preprocessing } from "@flamboyance/model";

export interface DecodeTask {
  readonly id: number;
  readonly bytes: Uint8Array;
  readonly preprocessing: Preprocessing;
  readonly maxPixels: number;
}

export type DecodeAnswer =
  | { readonly id: number; readonly kind: "pixels"; readonly pixels: Float32Array }
  | { readonly id: number; readonly kind: "failed"; readonly code: ErrorCode; readonly message: string };

const port = parentPort;
if (port === null) throw new Error("decode-thread runs as a worker thread only");

port.on("message", (task: DecodeTask) => {
  void answer(task).then((found) => {
    const owned = found.kind === "pixels" && found.pixels.buffer instanceof ArrayBuffer ? [found.pixels.buffer] : [];
    port.postMessage(found, owned);
  });
});

async function answer({ id, bytes, preprocessing, maxPixels }: DecodeTask): Promise<DecodeAnswer> {
  try {
    return { id, kind: "pixels", pixels: await decodePixels(bytes, preprocessing, { maxPixels }) };
  } catch (error) {
    // Whatever a decoder throws is about these bytes.
    const message = error instanceof Error ? error.message : String(error);
    return { id, kind: "failed", code: isCoded(error) ? error.code : "image_unreadable", message };
  }
}
