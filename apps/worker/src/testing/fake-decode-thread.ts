/** A decode thread for decode.test.ts: its first byte says what it does. */
import { parentPort } from "node:worker_threads";
import type { DecodeAnswer, DecodeTask } from "../decode-thread.ts";

const answer = (message: DecodeAnswer) => parentPort?.postMessage(message);

parentPort?.on("message", ({ id, bytes }: DecodeTask) => {
  const [first = 0] = bytes;
  if (first === "x".charCodeAt(0)) process.exit(1);
  if (first === "h".charCodeAt(0)) return;
  if (first === "?".charCodeAt(0)) answer({ id, kind: "failed", code: "image_unreadable", message: "no image" });
  else answer({ id, kind: "pixels", pixels: [Float32Array.of(first)] });
});
