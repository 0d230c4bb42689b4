/** One of our apps as a child process: started from its source, waited for until it is ready, ended by SIGTERM and, where that doesn't help, SIGKILL. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createWriteStream } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";

const root = resolve(import.meta.dirname, "../../..");
const readyTimeoutMs = 60_000;
const graceMs = 20_000;

export interface ApplicationOptions {
  readonly name: string;
  /** Its entry, from the repository's root. */
  readonly main: string;
  /** Where it answers /ready. */
  readonly port: number;
  /** Its log goes to `<folder>/logs/<name>.log`. */
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

export interface Application {
  readonly name: string;
  readonly url: string;
  readonly pid: number;
  readonly logFile: string;
  kill(signal: NodeJS.Signals): void;
  /** Resolves with the exit code, or null after a signal. */
  readonly exited: Promise<number | null>;
  close(): Promise<void>;
}

/** Resolves when the application answers /ready; throws with the end of its log where it stops before, or takes longer than a minute. */
export async function startApplication(options: ApplicationOptions): Promise<Application> {
  const logs = join(options.folder, "logs");
  await mkdir(logs, { recursive: true });
  const logFile = join(logs, `${options.name}.log`);
  const log = createWriteStream(logFile, { flags: "a" });
  const child = spawn(process.execPath, ["--conditions=@flamboyance/source", join(root, options.main)], {
    cwd: root,
    env: { PATH: process.env["PATH"], HOME: process.env["HOME"], ...options.environment },
    stdio: ["ignore", "pipe", "pipe"],
  });
  child.stdout.pipe(log, { end: false });
  child.stderr.pipe(log, { end: false });
  const exited = once(child, "close").then(([code]) => {
    log.end();
    return typeof code === "number" ? code : null;
  });
  await once(child, "spawn");
  const application: Application = {
    name: options.name,
    url: `http://127.0.0.1:${options.port}`,
    pid: child.pid ?? 0,
    logFile,
    kill: (signal) => void child.kill(signal),
    exited,
    close: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGTERM");
      const patience = setTimeout(() => child.kill("SIGKILL"), graceMs);
      await exited;
      clearTimeout(patience);
    },
  };
  try {
    await untilReady(application, options.signal);
  } catch (error) {
    await application.close();
    throw error;
  }
  return application;
}

async function untilReady(application: Application, signal: AbortSignal | undefined): Promise<void> {
  const deadline = AbortSignal.timeout(readyTimeoutMs);
  let stopped = false;
  void application.exited.then(() => (stopped = true));
  for (;;) {
    signal?.throwIfAborted();
    if (stopped || deadline.aborted) {
      const tail = (await readFile(application.logFile, "utf8")).trimEnd().split("\n").slice(-15).join("\n");
      const what = stopped ? "stopped before it was ready" : "wasn't ready within a minute";
      throw new Error(`${application.name} ${what}; the end of ${application.logFile}:\n${tail}`);
    }
    const answer = await fetch(`${application.url}/ready`, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer?.ok === true) return;
    await delay(50);
  }
}
