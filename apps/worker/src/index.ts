/** The door of the worker, for tests and benchmarks that run one in their own process. */
export { readConfig, type Config } from "./config.ts";
export { startWorker, type RunningWorker } from "./worker.ts";
