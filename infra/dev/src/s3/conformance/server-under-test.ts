/**
 * What a case of the conformance suite has: a running server, a client, an empty bucket, and `holds`.
 * Owns the rule for exceptions: a case that a server is known not to hold must fail there, so that the table stays exact.
 */
import { CreateBucketCommand, S3Client, type S3ClientConfig } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, it } from "vitest";
import type { RunningTestServer, TestServer } from "../test-servers.ts";

/** Case → why the server can't hold it. */
export type Exceptions = Readonly<Record<string, string>>;

export interface ServerUnderTest {
  readonly running: RunningTestServer;
  readonly client: S3Client;
  /** A client with other settings; closed at the end. */
  clientWith(settings: S3ClientConfig): S3Client;
  readonly bucket: string;
  /** A case: a fact about S3, and how it shows. On a server that is excepted from it, it must not hold. */
  readonly holds: (fact: string, show: () => Promise<void>) => void;
  /** The facts so far. */
  readonly facts: ReadonlySet<string>;
}

export function useServer(server: TestServer, exceptions: Exceptions): ServerUnderTest {
  const facts = new Set<string>();
  const clients: S3Client[] = [];
  let running: RunningTestServer | null = null;
  const started = (): RunningTestServer => {
    if (running === null) throw new Error("the server runs only while cases do");
    return running;
  };
  const clientWith = (settings: S3ClientConfig): S3Client => {
    const { endpoint, region, accessKeyId, secretAccessKey } = started();
    const client = new S3Client({
      endpoint,
      region,
      credentials: { accessKeyId, secretAccessKey },
      forcePathStyle: true,
      maxAttempts: 1,
      ...settings,
    });
    clients.push(client);
    return client;
  };
  const bucket = "conformance";
  beforeAll(async () => {
    running = await server.start();
    await clientWith({}).send(new CreateBucketCommand({ Bucket: bucket }));
  });
  afterAll(async () => {
    for (const client of clients) client.destroy();
    await running?.close();
  });
  return {
    get running() {
      return started();
    },
    get client() {
      return clients[0] ?? clientWith({});
    },
    clientWith,
    bucket,
    facts,
    holds: (fact, show) => {
      facts.add(fact);
      const reason = exceptions[fact];
      if (reason === undefined) it(fact, show);
      else it.fails(`NOT on ${server.name} (${reason}): ${fact}`, show);
    },
  };
}
