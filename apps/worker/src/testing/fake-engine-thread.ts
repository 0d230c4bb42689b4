/** An engine thread without a model, for engine.test.ts: answers with its prefix and pixels, and does on demand what a model's thread may do. */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parentPort, workerData } from "node:worker_threads";
import type { FromEngine, ToEngine } from "../serve-model.ts";

// The folder's name says whether the model can be opened, and what else it does; an absolute one must be there.
const folder = String(workerData.folder);
const answer = (message: FromEngine) => parentPort?.postMessage(message);
const prefixes = new Map<string, string>();
const held: number[] = [];

parentPort?.on("message", (message: ToEngine) => {
  if (message.kind === "prefix") prefixes.set(message.key, message.passages.map(({ text }) => text).join(""));
  else if (message.kind === "drop") prefixes.delete(message.key);
  else if (message.kind === "close") {
    if (folder === "deaf") return;
    if (folder.startsWith("/")) writeFileSync(join(folder, "closed"), "");
    answer({ kind: "closed" });
  } else if (message.kind === "cancel") held.splice(held.indexOf(message.call), 1);
  else if (message.kind === "rank") {
    const { call, row } = message;
    const candidates = row.candidates.map((_, index) => ({ tokens: [index], sum: -index, mean: -index }));
    answer({ kind: "ranked", call, answer: { candidates, promptTokens: row.media.flat().length, cachedTokens: 0 } });
  } else if (message.kind === "generate") {
    const { call, row } = message;
    if (row.text === "crash") process.exit(1);
    if (row.text === "throw") throw new Error("thrown");
    if (row.text === "hold") held.push(call);
    else if (row.text === "too long") answer({ kind: "failed", call, code: "prompt_too_long", message: "too long" });
    else {
      const prefix = row.prefix === null ? "" : (prefixes.get(row.prefix) ?? "a prefix that was never opened");
      const pixels = row.media.flat().map(([first]) => first);
      const text = `${prefix}|${row.text}|${pixels.join()}|held ${held.length}`;
      answer({ kind: "answer", call, answer: { text, promptTokens: 1, cachedTokens: 0, finish: "stop", newTokens: 1 } });
    }
  }
});

answer(
  folder === "broken" || (folder.startsWith("/") && !existsSync(folder))
    ? { kind: "refused", code: "model_folder_invalid", message: "broken" }
    : {
        kind: "ready",
        device: {
          kind: workerData.sizes.device === "webgpu" ? "webgpu" : "cpu",
          fallback: folder === "slow device" ? "the device is slow" : null,
        },
      },
);
