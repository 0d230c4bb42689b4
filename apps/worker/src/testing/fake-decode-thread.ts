/** A decode thread for decode.test.ts: its first byte says what it does. */
import { BroadcastChannel, parentPort } from "node:worker_threads";
import type { DecodeAnswer, DecodeGo, DecodeTask } from "../decode-thread.ts";

const answer = (message: DecodeAnswer) => parentPort?.postMessage(message);

const channel = new BroadcastChannel("decoding");
let waiting: (() => void) | null = null;

parentPort?.on("message", (message: DecodeTask | DecodeGo) => {
  if (!("bytes" in message)) return waiting?.();
  const { id, bytes } = message;
  const [first = 0, second = 0] = bytes;
  // Weighs so many bytes; says when it has asked and when it is let in, answers a ping, and ends when it is told to.
  if (first === "w".charCodeAt(0)) {
    const name = String.fromCharCode(second);
    const tell = (word: string) => channel.postMessage(`${word} ${name}`);
    waiting = () => tell("in");
    channel.addEventListener("message", (event) => {
      const heard: unknown = event instanceof MessageEvent ? event.data : null;
      if (heard === `ping ${name}`) tell("pong");
      if (heard === `out ${name}`) answer({ id, kind: "pixels", pixels: [Float32Array.of(second)] });
    });
    answer({ id, kind: "weighs", bytes: Number(name) });
    return tell("asks");
  }
  if (first === "x".charCodeAt(0)) process.exit(1);
  if (first === "h".charCodeAt(0)) return;
  if (first === "?".charCodeAt(0)) answer({ id, kind: "failed", code: "image_unreadable", message: "no image" });
  else answer({ id, kind: "pixels", pixels: [Float32Array.of(first)] });
});
