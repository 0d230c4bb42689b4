/** The process of the command line. Only it exits; Ctrl-C is a signal to whatever runs, and a second one ends at once. */
import { processEnvironment } from "./config.ts";
import { exitCodes } from "./failure.ts";
import { runProgram } from "./program.ts";

const stop = new AbortController();
process.on("SIGINT", () => {
  if (stop.signal.aborted) process.exit(exitCodes.detached);
  stop.abort();
});
// The reader of a pipe (head, less) went away: nobody is left to tell anything.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? exitCodes.done : exitCodes.failed));

const terminal = { out: process.stdout, err: process.stderr, environment: processEnvironment(), signal: stop.signal };
process.exit(await runProgram(process.argv.slice(2), terminal));
