/**
 * The thread beside a Parquet reader that ends its process: where that takes too much time or memory, or is left behind by who started it (busy as it is, it
 * wouldn't notice). Which bound it was the signal says.
 */
import { workerData } from "node:worker_threads";

export interface WatchData {
  /** The process that started the reader. */
  readonly parent: number;
  /** Rows given, bytes read. */
  readonly progress: Float64Array;
  /** Of the processor's time, before any row. */
  readonly seconds: number;
  /** Of the whole process. */
  readonly memoryBytes: number;
}

const watchMs = 100;
/** What each row and each byte may take besides: ten times what it does. */
const secondsPerRow = 100e-6;
const secondsPerByte = 0.2e-6;

// oxlint-disable-next-line typescript/no-unsafe-type-assertion -- parquet-process.ts starts this thread, and nobody else
const { parent, progress, seconds, memoryBytes } = workerData as WatchData;
setInterval(() => {
  const { user, system } = process.cpuUsage();
  const [rows = 0, bytes = 0] = progress;
  if ((user + system) / 1e6 > seconds + rows * secondsPerRow + bytes * secondsPerByte) process.kill(process.pid, "SIGXCPU");
  if (process.memoryUsage.rss() > memoryBytes || process.ppid !== parent) process.kill(process.pid, "SIGKILL");
}, watchMs);
