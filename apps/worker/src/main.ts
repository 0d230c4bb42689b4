#!/usr/bin/env node
/** The worker's process: reads the environment, starts, and ends on a signal. The only place that exits. */
import { isCoded } from "@flamboyance/contracts";
import { configurationTable, readProcessConfig } from "./config.ts";
import { startWorker } from "./worker.ts";

function help(): string {
  const rows = configurationTable().map(({ name, fallback, meaning }) => `  ${name} (${fallback})\n      ${meaning}`);
  return [
    "flamboyance worker: plans, runs and finalizes batches.",
    "",
    "Environment:",
    ...rows,
    "",
    "SIGTERM: finish what runs, hand back the rest, exit 0. Twice: exit at once.",
    "",
  ].join("\n");
}

async function main(): Promise<void> {
  if (process.argv.includes("--help")) {
    process.stdout.write(help());
    return;
  }
  // From the first moment on: a signal during the start ends the process at once.
  let stop: () => void = () => process.exit(143);
  for (const name of ["SIGTERM", "SIGINT"] as const) process.on(name, () => stop());
  const worker = await startWorker(readProcessConfig());
  stop = () => {
    stop = () => process.exit(1);
    worker.close().then(
      () => process.exit(0),
      (error: unknown) => {
        worker.log.fatal({ reason: String(error) }, "closing failed");
        process.exit(1);
      },
    );
  };
}

try {
  await main();
} catch (error) {
  process.stderr.write(
    `${isCoded(error) ? `${error.code}: ${error.message}` : error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
  );
  process.exit(isCoded(error, "configuration_invalid") ? 2 : 1);
}
