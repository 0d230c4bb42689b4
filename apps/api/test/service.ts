/**
 * The api on a Redis and an S3 server of its own, for its tests: six tenants (other's weight is 3, bounded and keeping have quotas), a model, some buckets. No worker runs:
 * `hand-worker.ts` does a worker's steps one by one, so that a test sees every state in between.
 */
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { request, type IncomingHttpHeaders } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text as textOf } from "node:stream/consumers";
import { createApp, type AppDependencies } from "@flamboyance/api";
import { newTenantKey } from "@flamboyance/contracts";
import { startRedis } from "@flamboyance/dev/redis";
import { startTestServer, type TestServer } from "@flamboyance/dev/s3";
import { openQueue, type Queue } from "@flamboyance/queue";
import { openBuckets, openStorage, type Storage } from "@flamboyance/storage";

export const serviceBucket = "service";
export const imagesBucket = "demo-images";
export const forbiddenBucket = "demo-forbidden";
/** Answers as a bucket of another region does. */
export const elsewhereBucket = "demo-elsewhere";
export const modelKey = `${"a".repeat(64)}-fp32`;
const forever = new AbortController().signal;

export interface Answer {
  readonly status: number;
  // The shape of an answer is what the tests are about.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly body: any;
  readonly text: string;
  readonly headers: Readonly<Record<string, string | string[] | number | undefined>>;
}

export interface Asked {
  readonly method?: "GET" | "POST" | "PUT" | "DELETE";
  /** Default: demo's. Null: none. */
  readonly key?: string | null;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface Service {
  readonly queue: Queue;
  readonly storage: Storage;
  /** The folder of the keys to tenants' own buckets. */
  readonly secrets: string;
  readonly keys: { readonly [name in "demo" | "other" | "everywhere" | "bounded" | "keeping" | "admin"]: string };
  /** Where it listens. */
  readonly address: string;
  /** One more process of the api, as it were, on the same Redis and S3; answers its address. */
  another(changes: Partial<AppDependencies>): Promise<string>;
  ask(url: string, asked?: Asked): Promise<Answer>;
  /** Puts an object. */
  readonly put: (bucket: string, key: string, text: string | Uint8Array) => Promise<void>;
  /** Each object that the api writes from now on waits for this first. */
  beforeWrite(wait: (() => Promise<void>) | null): void;
  /** From now on S3 answers 503 (true) or as it should. */
  breakS3(broken: boolean): void;
  /** Redis goes, and stays away. */
  stopRedis(): Promise<void>;
  close(): Promise<void>;
}

/**
 * `server`: another S3 than our own, which alone can be broken, denies the forbidden bucket and refuses the one elsewhere.
 * `seen`: the queue as the api sees it, for faults between two of its steps.
 */
export async function startService({
  server,
  seen = (queue) => queue,
}: { readonly server?: TestServer; readonly seen?: (queue: Queue) => Queue } = {}): Promise<Service> {
  const folder = await mkdtemp(join(tmpdir(), "flamboyance-api-"));
  const redis = await startRedis({ folder: join(folder, "redis") });
  let broken = false;
  let beforeWrite: (() => Promise<void>) | null = null;
  const s3 = await (server?.start() ??
    startTestServer({
      deny: (bucket) => bucket === forbiddenBucket,
      faults: ({ bucket }) => {
        if (broken) return { kind: "error", code: "SlowDown" };
        return bucket === elsewhereBucket ? { kind: "error", code: "AuthorizationHeaderMalformed" } : null;
      },
    }));
  const { endpoint, region, accessKeyId, secretAccessKey } = s3;
  const opening = { endpoint, region, accessKeyId, secretAccessKey, pathStyle: true, retries: 1, requestTimeoutMs: 5_000 };
  const storage = openStorage(opening);
  const secrets = join(folder, "secrets");
  await mkdir(secrets);
  const buckets = openBuckets({ storage, defaults: opening, secrets, believedMs: 0 });
  const queue = await openQueue({ url: redis.url });
  // As a worker does that finds nothing in S3.
  await (await queue.beginRebuild(10_000))?.believe(1);
  for (const bucket of [serviceBucket, imagesBucket, "demo-results", "other-images"])
    await storage.ensureBucket(bucket, { signal: forever });

  const demo = await newTenantKey({ tenant: "demo", name: "main", buckets: ["demo-*"] });
  const other = await newTenantKey({ tenant: "other", name: "main", buckets: ["other-*"], weight: 3 });
  const everywhere = await newTenantKey({ tenant: "everywhere", name: "main", buckets: ["*"] });
  const quotas = { running_batches: 3, items_queued: 10 };
  const bounded = await newTenantKey({ tenant: "bounded", name: "main", buckets: ["demo-*"], quotas });
  const keeping = await newTenantKey({ tenant: "keeping", name: "main", buckets: ["demo-*"], quotas: { stored_bytes: 10_000 } });
  const admin = await newTenantKey({ tenant: "operators", name: "main", scopes: ["admin"] });
  const dependencies: AppDependencies = {
    queue: seen(queue),
    storage: {
      ...storage,
      write: async (...written) => {
        await beforeWrite?.();
        return storage.write(...written);
      },
    },
    buckets,
    bucket: serviceBucket,
    keys: [demo.entry, other.entry, everywhere.entry, bounded.entry, keeping.entry, admin.entry],
    keySeconds: 3_600,
    catalogueSeconds: 0,
    logLevel: "silent",
  };
  const app = await createApp(dependencies);
  const address = await app.listen({ host: "127.0.0.1", port: 0 });
  const further: { close(): Promise<unknown> }[] = [];
  const put = async (bucket: string, key: string, text: string | Uint8Array) =>
    void (await storage.write({ bucket, key }, text, { contentType: "application/octet-stream", signal: forever }));
  await put(
    serviceBucket,
    "models/demo/flamingo.json",
    JSON.stringify({ name: "demo", contentHash: "a".repeat(64), precision: "fp32", limits: { maxFrames: 4 } }),
  );
  await put(imagesBucket, "manifest.jsonl", '{"custom_id":"a","image":"s3://demo-images/a.png"}\n');

  return {
    queue,
    storage,
    secrets,
    keys: { demo: demo.key, other: other.key, everywhere: everywhere.key, bounded: bounded.key, keeping: keeping.key, admin: admin.key },
    put,
    address,
    another: async (changes) => {
      const second = await createApp({ ...dependencies, ...changes });
      further.push(second);
      return second.listen({ host: "127.0.0.1", port: 0 });
    },
    beforeWrite: (wait) => (beforeWrite = wait),
    breakS3: (value) => (broken = value),
    stopRedis: () => redis.close(),
    async ask(url, { method = "GET", key = demo.key, body, headers = {} } = {}) {
      const answer = await send(
        address,
        url,
        method,
        {
          ...(key === null ? {} : { authorization: `Bearer ${key}` }),
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...headers,
        },
        body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body),
      );
      const isJson = String(answer.headers["content-type"]).includes("json");
      return { ...answer, body: isJson ? JSON.parse(answer.text) : null };
    },
    async close() {
      for (const each of further) await each.close();
      await app.close();
      await queue.close();
      buckets.close();
      storage.close();
      await s3.close();
      await redis.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Over a real connection, which closes where one closes, with the path as it is given. */
function send(
  address: string,
  path: string,
  method: string,
  headers: Record<string, string>,
  payload: string,
): Promise<{ status: number; headers: IncomingHttpHeaders; text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; headers: IncomingHttpHeaders; text: string }>();
  const length = payload === "" ? {} : { "content-length": Buffer.byteLength(payload) };
  const sent = request(address, { path, method, headers: { ...length, ...headers } }, (answer) => {
    textOf(answer).then((read) => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text: read }), reject);
  });
  // A body that is refused before all of it came: the answer is there.
  sent.on("error", reject);
  sent.end(payload);
  return promise;
}
