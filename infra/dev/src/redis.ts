/**
 * A Redis of one's own: as the service wants it (append-only file, nothing evicted), on loopback, gone when we are.
 * Owns which server is started and how. Refuses to install one: `ready.sh` does.
 */
import { CodedError } from "@flamboyance/contracts";
import { once } from "node:events";
import { mkdir } from "node:fs/promises";
import { connect } from "node:net";
import { join, resolve } from "node:path";
import { findCommand, startChild, type Child } from "./child.ts";
import { portOrFree } from "./port.ts";

export interface RunningRedis {
  readonly url: string;
  close(): Promise<void>;
}

/** One that a test ends and starts again: its address stays, and what its append-only file holds. */
export interface OwnRedis extends RunningRedis {
  /** The folder of its append-only file. */
  readonly folder: string;
  /** SIGKILL: what it answered stands in the file. Resolves when it is gone. */
  kill(): Promise<void>;
  /** After a kill. Resolves when it answers. */
  restart(): Promise<void>;
  /** One command in Redis's inline protocol, as `CONFIG SET maxmemory 0`; what it answers first. */
  ask(command: string): Promise<string>;
}

export interface RedisOptions {
  /** Its append-only file and log; what an earlier run left there is taken up. */
  readonly folder: string;
  /** 0, none or a taken one: a free port. */
  readonly port?: number;
}

/** The Redis that REDIS_URL names where it is set (its databases and keys are the caller's matter; `close` leaves it alone), else one of our own. */
export async function useRedis(options: RedisOptions, environment: NodeJS.ProcessEnv = process.env): Promise<RunningRedis> {
  const url = environment["REDIS_URL"];
  return url === undefined || url === "" ? startRedis(options) : { url, close: () => Promise.resolve() };
}

/** Starts redis-server or valkey-server from the PATH; `configuration_invalid` where there is neither. */
export async function startRedis(options: RedisOptions): Promise<OwnRedis> {
  const command = findCommand(["redis-server", "valkey-server"]);
  if (command === null)
    throw new CodedError(
      "configuration_invalid",
      "neither redis-server nor valkey-server is on the PATH: run `sh infra/dev/ready.sh redis`",
    );
  const folder = resolve(options.folder);
  await mkdir(folder, { recursive: true });
  const start = (port: number): Promise<Child> =>
    startChild({
      command,
      args: ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--daemonize", "no", "--loglevel", "warning"].concat([
        "--appendonly",
        "yes",
        "--maxmemory-policy",
        "noeviction",
        "--save",
        "",
      ]),
      logFile: join(folder, "redis.log"),
      isReady: () => isServing(port, folder),
    });
  for (let tries = 1; ; tries++) {
    const port = await portOrFree(options.port);
    try {
      let child = await start(port);
      return {
        url: `redis://127.0.0.1:${port}`,
        folder,
        close: () => child.close(),
        kill: async () => {
          child.kill("SIGKILL");
          await child.exited;
        },
        restart: async () => void (child = await start(port)),
        ask: (text) => askInline(port, text),
      };
    } catch (error) {
      // Between our look and its start somebody else may have taken the port.
      if (tries === 3) throw error;
    }
  }
}

/** The folder tells our server from another one that took the port meanwhile; it is told while the server loads, too, when only PING is answered with an error. */
async function isServing(port: number, folder: string): Promise<boolean> {
  return (await askInline(port, "CONFIG GET dir")).includes(`\r\n${folder}\r\n`) && (await askInline(port, "PING")).startsWith("+PONG");
}

/** Asks in Redis's inline protocol and gives what comes first. */
async function askInline(port: number, command: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  try {
    const signal = AbortSignal.timeout(1_000);
    await once(socket, "connect", { signal });
    socket.write(`${command}\r\n`);
    const [answer] = await once(socket, "data", { signal });
    return String(answer);
  } finally {
    socket.destroy();
  }
}
