/** The door of the command line: its program, for another terminal to run. */
export { runProgram } from "./program.ts";
export type { Terminal } from "./terminal.ts";
