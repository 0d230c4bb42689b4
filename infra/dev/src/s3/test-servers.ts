/**
 * The S3 servers that tests run against: ours always, versitygw where it is installed.
 * Owns their folders and their ends, so that a test says only `describe.each(testServers())`.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startS3Server, type S3ServerOptions } from "./server.ts";
import { findVersitygw, startVersitygw } from "./versitygw.ts";

export interface TestServer {
  readonly name: "development" | "versitygw";
  /** Starts an empty server in a folder of its own. */
  start(): Promise<RunningTestServer>;
}

export interface RunningTestServer {
  readonly endpoint: string;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Ends it and removes what it held. Safe to call twice. */
  close(): Promise<void>;
}

/** Every server that can be started here. Says in one line where versitygw is missing. */
export function testServers(): readonly TestServer[] {
  const own: TestServer = { name: "development", start: () => startTestServer() };
  if (findVersitygw() === null) {
    console.log("versitygw isn't installed (sh infra/dev/versitygw.sh): S3 tests run against the development server alone");
    return [own];
  }
  return [own, { name: "versitygw", start: () => inFolder((folder) => startVersitygw({ folder, ...credentials })) }];
}

/** Our own server for one test, with faults and denials where they are wanted. */
export function startTestServer(
  options: Pick<S3ServerOptions, "deny" | "faults"> & { readonly keys?: Keys } = {},
): Promise<RunningTestServer> {
  const { keys = credentials, ...rest } = options;
  return inFolder((folder) => startS3Server({ folder, ...credentials, ...keys, ...rest }), keys);
}

type Keys = Pick<S3ServerOptions, "accessKeyId" | "secretAccessKey">;

const credentials = { region: "us-east-1", accessKeyId: "flamboyance-test", secretAccessKey: "not-a-secret-of-anybody" };

async function inFolder(
  start: (folder: string) => Promise<{ readonly endpoint: string; close(): Promise<void> }>,
  keys: Keys = credentials,
): Promise<RunningTestServer> {
  const folder = await mkdtemp(join(tmpdir(), "flamboyance-s3-"));
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true });
  try {
    const server = await start(folder);
    return {
      endpoint: server.endpoint,
      ...credentials,
      ...keys,
      close: async () => {
        await server.close();
        await remove();
      },
    };
  } catch (error) {
    await remove();
    throw error;
  }
}
