/** The engine's thread: one open model. Owns its opening and the thread's end; what rows become is serve-model.ts's. */
import { parentPort, workerData } from "node:worker_threads";
import { openModel, type DeviceClaims } from "@flamboyance/model";
import type { EngineSettings } from "./config.ts";
import { fault, serveModel, type FromEngine } from "./serve-model.ts";

/** What a thread is started with. */
export interface EngineData {
  readonly folder: string;
  readonly sizes: EngineSettings;
  readonly claims: DeviceClaims;
}

const port = parentPort;
if (port === null) throw new Error("engine-thread runs as a worker thread only");
const answer = (message: FromEngine) => port.postMessage(message);

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- engine.ts starts this thread, and nobody else
const { folder, sizes, claims } = workerData as EngineData;
try {
  // The model's own bound holds for images and for prefixes, each by itself.
  const { device, threads, rowBytes, cacheBytes } = sizes;
  const model = await openModel(folder, { device, claims, threads, maxRowBytes: rowBytes, maxCacheBytes: Math.floor(cacheBytes / 2) });
  // The thread's own exit: the process goes on.
  port.on("message", serveModel(model, { answer, end: () => process.exit(1) }));
  answer({ kind: "ready", device: model.device });
} catch (error) {
  answer({ kind: "refused", ...fault(error) });
}
