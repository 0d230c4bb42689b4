/**
 * Two threads of one process that use its device in turn: the second starts when the first has ended. Prints a line for each turn; exits with 3 where there
 * is no device. Argument: `closed` if a thread releases its session before it ends, `open` if it ends with a tensor in the device's memory.
 */
import { once } from "node:events";
import { isMainThread, Worker, workerData } from "node:worker_threads";
import { buildArrangementGraph } from "../graph/arrangement.ts";
import { encodeModel } from "../onnx/model-file.ts";
import { dispose } from "../session.ts";
import { webGpuDevice } from "../device/webgpu-device.ts";

const noDevice = 3;
if (isMainThread) {
  for (const turn of ["first", "second"]) {
    const [code] = await once(new Worker(new URL(import.meta.url), { workerData: process.argv[2] }), "exit");
    if (code === noDevice) process.exit(noDevice);
    process.stdout.write(`${turn} turn: ${code}\n`);
  }
} else {
  const graph = encodeModel(buildArrangementGraph({ count: 1, heads: 1, headWidth: 4 }), "");
  const session = await webGpuDevice()
    .openSession(graph, "all")
    .catch(() => process.exit(noDevice));
  const none = { type: "float32", data: new Float32Array(0), shape: [0, 1, 0, 4] } as const;
  const index = { type: "int32", data: Int32Array.of(0), shape: [1, 1, 1] } as const;
  const shape = { type: "int64", data: BigInt64Array.of(1n, 4n), shape: [2] } as const;
  const kept = await session.run({ start: index, step: index, shape, "kept.0": none, "added.0": none }, [], ["arranged.0"]);
  if (workerData === "open") process.exit(0);
  dispose(Object.values(kept));
  await session.release();
}
