/**
 * versitygw, a real S3 server over a folder, as a child process: the second opinion on everything that our own server says.
 * Owns where it is found and how it is started. Refuses to build it: `versitygw.sh` does.
 */
import { mkdir } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { CodedError } from "@flamboyance/contracts";
import { findCommand, startChild } from "../child.ts";
import { portOrFree } from "../port.ts";

export interface RunningVersitygw {
  readonly endpoint: string;
  close(): Promise<void>;
}

export interface VersitygwOptions {
  /** Buckets are its folders, objects its files: it needs extended attributes (ext4, xfs, tmpfs). */
  readonly folder: string;
  /** 0, none or a taken one: a free port. */
  readonly port?: number;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** Where versitygw lies, or null: on the PATH, or where `go install` puts it. */
export function findVersitygw(environment: NodeJS.ProcessEnv = process.env): string | null {
  const gopath = environment["GOPATH"] ?? join(homedir(), "go");
  return findCommand(["versitygw"], [join(gopath, "bin")]);
}

/** Starts it. Throws `configuration_invalid` where it isn't installed. */
export async function startVersitygw(options: VersitygwOptions): Promise<RunningVersitygw> {
  const command = findVersitygw();
  if (command === null) throw new CodedError("configuration_invalid", "versitygw isn't installed: run `sh infra/dev/versitygw.sh`");
  const folder = resolve(options.folder, "objects");
  await mkdir(folder, { recursive: true });
  for (let tries = 1; ; tries++) {
    const port = await portOrFree(options.port);
    const endpoint = `http://127.0.0.1:${port}`;
    try {
      const child = await startChild({
        command,
        // Without --keep-alive: after a streamed upload with a trailer it now and then can't parse the next request on the same connection (1.8.0).
        args: ["--port", `127.0.0.1:${port}`, "--quiet", "posix", folder],
        environment: { ROOT_ACCESS_KEY: options.accessKeyId, ROOT_SECRET_KEY: options.secretAccessKey },
        logFile: resolve(options.folder, "versitygw.log"),
        isReady: async () => {
          const answer = await fetch(endpoint, { signal: AbortSignal.timeout(1_000) });
          await answer.body?.cancel();
          return answer.status === 403;
        },
      });
      return { endpoint, close: () => child.close() };
    } catch (error) {
      // Between our look and its start somebody else may have taken the port.
      if (tries === 3) throw error;
    }
  }
}
