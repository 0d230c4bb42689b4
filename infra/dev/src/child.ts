/**
 * A server (Redis, versitygw, one of our apps) as a child process that never outlives us.
 * Owns its start, the wait until it answers, and its end. It runs in a process group of its own, so that a Ctrl-C at the terminal reaches us first and we end
 * it in order; if we are killed outright, Linux ends it for us.
 */
import { CodedError } from "@flamboyance/contracts";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants, createWriteStream, existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

export interface ChildOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** What it prints goes here, and the end of it into the error where it doesn't start. */
  readonly logFile: string;
  /** True once it answers; asked until then, while the child lives. */
  readonly isReady: () => Promise<boolean>;
}

export interface Child {
  readonly pid: number;
  /** SIGTERM, and SIGKILL where that takes longer than ten seconds. Resolves when the process is gone. Safe to call twice. */
  close(): Promise<void>;
  /** Sends a signal to the process and its children; nothing where it is gone. */
  kill(signal: NodeJS.Signals): void;
  /** Resolves with its exit code, null where a signal ended it. */
  readonly exited: Promise<number | null>;
}

const readyTimeoutMs = 60_000;
const graceMs = 10_000;

/** Starts the command and resolves when it is ready; throws `configuration_invalid` with the end of its log where it stops before, or takes too long. */
export async function startChild(options: ChildOptions): Promise<Child> {
  await mkdir(dirname(options.logFile), { recursive: true });
  const log = createWriteStream(options.logFile, { flags: "a" });
  await once(log, "open");
  // The kernel sends the signal when this process dies, however it dies (Linux only; elsewhere the listeners below must do).
  const bound = existsSync("/usr/bin/setpriv") ? ["/usr/bin/setpriv", "--pdeathsig", "KILL", options.command] : [options.command];
  const child = spawn(bound[0] ?? options.command, [...bound.slice(1), ...options.args], {
    detached: true,
    env: { ...process.env, ...options.environment },
    stdio: ["ignore", log, log],
  });
  const exited = once(child, "exit").then(([code]: unknown[]) => (typeof code === "number" ? code : null));
  const end = (signal: NodeJS.Signals): void => {
    if (child.pid !== undefined && child.exitCode === null && child.signalCode === null) process.kill(-child.pid, signal);
  };
  const stopWatching = endWithUs(() => end("SIGKILL"));
  void exited.then(() => {
    stopWatching();
    log.end();
  });
  await once(child, "spawn");
  const close = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    end("SIGTERM");
    const patience = setTimeout(() => end("SIGKILL"), graceMs);
    await exited;
    clearTimeout(patience);
  };
  const deadline = AbortSignal.timeout(readyTimeoutMs);
  while (!(await options.isReady().catch(() => false))) {
    if (child.exitCode === null && child.signalCode === null && !deadline.aborted) {
      await sleep(20);
      continue;
    }
    await close();
    const tail = (await readFile(options.logFile, "utf8")).trimEnd().split("\n").slice(-10).join("\n");
    throw new CodedError("configuration_invalid", `${options.command} ${options.args.join(" ")} didn't start:\n${tail}`);
  }
  return { pid: child.pid ?? 0, close, kill: end, exited };
}

/** The first of these commands that the PATH (or one of the further folders) holds, as a whole path; null where none does. */
export function findCommand(names: readonly string[], furtherFolders: readonly string[] = []): string | null {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), ...furtherFolders].filter((folder) => folder !== "");
  for (const name of names) {
    const found = folders.map((folder) => join(folder, name)).find(isExecutable);
    if (found !== undefined) return found;
  }
  return null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** Calls `end` when this process exits or is told to; where nobody else handles the signal, it keeps its meaning. Gives the way to stop that. */
function endWithUs(end: () => void): () => void {
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  const onSignal = Object.assign(
    (signal: NodeJS.Signals): void => {
      if (process.listeners(signal).some((listener) => !(mark in listener))) return; // its owner closes us in order
      end();
      process.removeListener(signal, onSignal);
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
    },
    { [mark]: true },
  );
  process.on("exit", end);
  for (const signal of signals) process.on(signal, onSignal);
  return () => {
    process.removeListener("exit", end);
    for (const signal of signals) process.removeListener(signal, onSignal);
  };
}

/** Of the signal listeners of this file: they don't count as somebody who handles the signal. */
const mark = Symbol("ends a child with us");
