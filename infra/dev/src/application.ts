/** One of our apps as a child process, started from its source. Owns its command line and how it says that it is ready. */
import { join, resolve } from "node:path";
import { startChild } from "./child.ts";

const root = resolve(import.meta.dirname, "../../..");

export interface ApplicationOptions {
  readonly name: string;
  /** Its entry, from the repository's root. */
  readonly main: string;
  /** Where it answers /ready. */
  readonly port: number;
  /** Its log goes to `<folder>/logs/<name>.log`. */
  readonly folder: string;
  readonly environment: Readonly<Record<string, string>>;
}

export interface Application {
  readonly name: string;
  readonly url: string;
  readonly pid: number;
  readonly logFile: string;
  /** SIGTERM, and SIGKILL where it doesn't drain in time. Safe to call twice. */
  close(): Promise<void>;
  /** For tests: kill it, stop it, wake it. */
  kill(signal: NodeJS.Signals): void;
  /** Resolves with its exit code, null where a signal ended it. */
  readonly exited: Promise<number | null>;
}

/** Resolves when the application answers /ready; throws with the end of its log where it stops before, or takes too long. */
export async function startApplication(options: ApplicationOptions): Promise<Application> {
  const logFile = join(options.folder, "logs", `${options.name}.log`);
  const url = `http://127.0.0.1:${options.port}`;
  const child = await startChild({
    command: process.execPath,
    args: ["--conditions=@flamboyance/source", join(root, options.main)],
    environment: options.environment,
    logFile,
    isReady: async () => {
      const answer = await fetch(`${url}/ready`, { signal: AbortSignal.timeout(2_000) });
      await answer.body?.cancel();
      return answer.ok;
    },
  });
  return { ...child, name: options.name, url, logFile };
}
