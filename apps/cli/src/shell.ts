/** What every command has to hand: how it is declared, how it reaches the service, and how it says what it found. Owns the flags that all have. */
import type { Client } from "@flamboyance/client";
import type { Command } from "commander";
import { connect, defaultUrl } from "./config.ts";
import type { ExitCode } from "./failure.ts";
import { print, type Terminal } from "./terminal.ts";

export interface CommonFlags {
  readonly url?: string;
  readonly json?: boolean;
}

export interface Shell {
  readonly program: Command;
  readonly terminal: Terminal;
  /** Sets the exit code of a command that has done its work. */
  readonly finish: (code: ExitCode) => void;
  /** A command below `parent`, with help; examples are lines. */
  readonly command: (parent: Command, name: string, description: string, examples: string) => Command;
  /** One that calls the service. */
  readonly remote: (parent: Command, name: string, description: string, examples: string) => Command;
  readonly clientOf: (flags: CommonFlags) => Client;
  /** Of the screen; undefined where there is none. */
  readonly columns: () => number | undefined;
  readonly say: (text: string) => Promise<void>;
  /** One value as a line of JSON. */
  readonly line: (value: unknown) => Promise<void>;
}

export function shellOf(program: Command, terminal: Terminal, finish: (code: ExitCode) => void): Shell {
  const { out, environment } = terminal;
  const say = (text: string) => print(out, text);
  const command: Shell["command"] = (parent, name, description, examples) =>
    parent
      .command(name)
      .description(description)
      .option("--json", "machine-readable: one JSON value per line")
      .addHelpText("after", `\nExamples:\n${examples.replaceAll(/^/gm, "  ")}`);
  return {
    program,
    terminal,
    finish,
    command,
    remote: (...declared) => command(...declared).option("--url <url>", `where the service is (FLAMBOYANCE_URL, ${defaultUrl})`),
    clientOf: (flags) => connect(environment, flags.url),
    columns: () => (out.isTTY === true ? out.columns : undefined),
    say,
    line: (value) => say(`${JSON.stringify(value)}\n`),
  };
}
