/** How the command line fails: one line that says what and which code, and an exit code that a script can read. */
import { FlamboyanceError } from "@flamboyance/client";
import { isCoded } from "@flamboyance/contracts";

/** Documented in `--help` and docs/command-line.md. */
export const exitCodes = {
  done: 0,
  /** The service refused or failed; its code is in the line. */
  failed: 1,
  /** A flag, file or variable is wrong: nothing was sent. */
  usage: 2,
  /** The batch ended, but not as completed. */
  notCompleted: 3,
  /** Nobody answers at the address. */
  noAnswer: 4,
  /** The batch completed, and some of its items failed. */
  someFailed: 5,
  /** Ctrl-C. */
  detached: 130,
} as const;

export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** Something that the caller of the command got wrong. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Ctrl-C; the message says how to come back. */
export class Detached extends Error {
  override readonly name = "Detached";
}

/** The line and the exit code of whatever was thrown. */
export function describeFailure(error: unknown): { readonly line: string; readonly exitCode: ExitCode } {
  if (error instanceof UsageError) return { line: error.message, exitCode: exitCodes.usage };
  if (error instanceof Detached) return { line: error.message, exitCode: exitCodes.detached };
  if (error instanceof FlamboyanceError) {
    const facts = [
      error.code,
      ...(error.param === null ? [] : [`at ${error.param}`]),
      ...(error.requestId === null ? [] : [error.requestId]),
    ];
    const exitCode =
      error.code === "no_answer" ? exitCodes.noAnswer : error.code === "configuration_invalid" ? exitCodes.usage : exitCodes.failed;
    return { line: `${error.message} (${facts.join(", ")})`, exitCode };
  }
  if (isCoded(error)) return { line: `${error.message} (${error.code})`, exitCode: exitCodes.failed };
  return { line: error instanceof Error ? error.message : String(error), exitCode: exitCodes.failed };
}
