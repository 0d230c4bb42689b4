/** The worker's log: JSON lines on stdout. Owns what a failure looks like there: its code, its message, where it came from. */
import { isCoded } from "@flamboyance/contracts";
import { pino, type Logger } from "pino";

export type Log = Logger;

export function openLog(options: { readonly level: string; readonly worker: string }): Log {
  return pino({ level: options.level, base: { worker: options.worker } });
}

/** The failure as fields; faults without a code are ours, and show where they came from. */
export function failure(error: unknown): Record<string, unknown> {
  if (isCoded(error)) return { code: error.code, reason: error.message };
  return { reason: error instanceof Error ? error.message : String(error), stack: error instanceof Error ? error.stack : undefined };
}
