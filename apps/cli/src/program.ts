/** The program: its help, its exit codes, and its commands put together (batch-commands.ts, model-commands.ts, tenant-commands.ts). Owns what a failure comes to. */
import { readFileSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { z } from "zod";
import { addBatchCommands } from "./batch-commands.ts";
import { defaultUrl } from "./config.ts";
import { describeFailure, exitCodes, type ExitCode } from "./failure.ts";
import { addModelCommands } from "./model-commands.ts";
import { shellOf } from "./shell.ts";
import { addTenantCommands } from "./tenant-commands.ts";
import { print, type Terminal } from "./terminal.ts";

/** Runs one command line (without node and script); answers the exit code, having written what there was to say. */
export async function runProgram(commandLine: readonly string[], terminal: Terminal): Promise<ExitCode> {
  let exitCode: ExitCode = exitCodes.done;
  const program = createProgram(terminal, (code) => (exitCode = code));
  try {
    await program.parseAsync([...commandLine], { from: "user" });
    return exitCode;
  } catch (error) {
    // Commander has said it already: help, version, or what is wrong with a flag.
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.done : exitCodes.usage;
    const { line, exitCode: failed } = describeFailure(error);
    await print(terminal.err, `flamboyance: ${line}\n`);
    return failed;
  }
}

function ownVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return z.object({ version: z.string() }).parse(JSON.parse(text)).version;
}

function createProgram(terminal: Terminal, finish: (code: ExitCode) => void): Command {
  const { out, err } = terminal;
  const program = new Command("flamboyance")
    .description("Captions and answers for images in S3, by the million.")
    .version(ownVersion(), "--version", "print the version")
    .exitOverride()
    .configureOutput({ writeOut: (text) => void out.write(text), writeErr: (text) => void err.write(text) })
    .configureHelp({ helpWidth: 120 })
    .showHelpAfterError("(--help shows what there is)")
    .addHelpText(
      "after",
      `
Environment:
  FLAMBOYANCE_API_KEY   the key to call with (needed)
  FLAMBOYANCE_URL       where the service is (${defaultUrl})

Exit codes:
  0 done   1 the service refused or failed   2 a flag, file or variable is wrong
  3 the batch ended, but not as completed   4 nobody answers   5 the batch completed, but some items failed   130 Ctrl-C

Examples:
  flamboyance submit --model demo --task caption --input 's3://photos/2024/**/*.jpg' --watch
  flamboyance watch batch_01k…
  flamboyance results batch_01k… --table`,
    );
  const shell = shellOf(program, terminal, finish);
  addBatchCommands(shell);
  addModelCommands(shell);
  addTenantCommands(shell);
  return program;
}
