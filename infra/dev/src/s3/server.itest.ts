/** What only our own server does: buckets as hosts, denials, and serving again what an earlier run left. */
import { Agent } from "node:http";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { GetObjectCommand, ListObjectsV2Command, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { openStorage } from "@flamboyance/storage";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { startS3Server, type S3Server, type S3ServerOptions } from "./server.ts";

const credentials = { accessKeyId: "key", secretAccessKey: "secret" };
const { signal } = new AbortController();
let folder: string;
let running: S3Server[];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "s3-"));
  running = [];
});
afterEach(async () => {
  for (const server of running) await server.close();
  await rm(folder, { recursive: true, force: true });
});

async function start(options: Partial<S3ServerOptions> = {}): Promise<S3Server> {
  const server = await startS3Server({ folder, ...credentials, ...options });
  running.push(server);
  return server;
}

const open = (server: S3Server) =>
  openStorage({ endpoint: server.endpoint, region: "us-east-1", ...credentials, pathStyle: true, retries: 0 });

describe("the development server", () => {
  it("takes a bucket from the host's name", async () => {
    const server = await start();
    await open(server).ensureBucket("hosted-bucket", { signal });
    const { port } = new URL(server.endpoint);
    // Not every resolver knows that *.localhost is this machine.
    const httpAgent = new Agent({
      lookup: (_, { all }, found) => (all === true ? found(null, [{ address: "127.0.0.1", family: 4 }]) : found(null, "127.0.0.1", 4)),
    });
    const client = new S3Client({ endpoint: `http://localhost:${port}`, region: "us-east-1", credentials, requestHandler: { httpAgent } });
    const Bucket = "hosted-bucket";
    await client.send(new PutObjectCommand({ Bucket, Key: "a/é b.txt", Body: "hosted" }));
    const got = await client.send(new GetObjectCommand({ Bucket, Key: "a/é b.txt" }));
    expect(await got.Body?.transformToString()).toBe("hosted");
    expect((await client.send(new ListObjectsV2Command({ Bucket }))).Contents?.map(({ Key }) => Key)).toEqual(["a/é b.txt"]);
    expect((await open(server).describe({ bucket: Bucket, key: "a/é b.txt" }, { signal }))?.sizeBytes).toBe(6);
    client.destroy();
  });

  it("serves what an earlier one left, and clears what it never finished", async () => {
    const first = await start();
    const storage = open(first);
    await storage.ensureBucket("kept-bucket", { signal });
    const written = await storage.write({ bucket: "kept-bucket", key: "x/y" }, "kept", { contentType: "text/plain", signal });
    await storage.write({ bucket: "kept-bucket", key: "x" }, "too", { contentType: "text/plain", signal });
    await first.close();
    await writeFile(join(folder, "incoming", "half"), "half an obj");
    const again = open(await start());
    expect(await again.describe({ bucket: "kept-bucket", key: "x/y" }, { signal })).toMatchObject({
      etag: written.etag,
      contentType: "text/plain",
    });
    expect((await Array.fromAsync(again.list({ bucket: "kept-bucket", key: "" }, { signal }))).map(({ key }) => key)).toEqual(["x", "x/y"]);
    expect(await readdir(join(folder, "incoming"))).toEqual([]);
  });

  it("leaves nothing of an upload whose client went away", async () => {
    const server = await start();
    const storage = open(server);
    await storage.ensureBucket("left-bucket", { signal });
    const given = new AbortController();
    async function* slowly(): AsyncGenerator<Uint8Array> {
      for (let index = 0; index < 4; index++) yield Buffer.alloc(9_000_000);
      given.abort();
      yield Buffer.alloc(1);
    }
    const writing = storage.writeStream({ bucket: "left-bucket", key: "x" }, slowly(), { contentType: "text/plain", signal: given.signal });
    await expect(writing).rejects.toMatchObject({ code: "aborted" });
    expect(await readdir(join(folder, "buckets", "left-bucket", "uploads"))).toEqual([]);
    await expect.poll(() => readdir(join(folder, "incoming"))).toEqual([]);
  });

  it("denies what it is told to", async () => {
    const server = await start({ deny: (bucket, key) => bucket === "closed-bucket" || key.startsWith("private/") });
    const storage = open(server);
    await storage.ensureBucket("open-bucket", { signal });
    await expect(storage.ensureBucket("closed-bucket", { signal })).rejects.toMatchObject({ code: "storage_forbidden" });
    await storage.write({ bucket: "open-bucket", key: "public/a" }, "a", { contentType: "text/plain", signal });
    await expect(storage.read({ bucket: "open-bucket", key: "private/a" }, { signal })).rejects.toMatchObject({
      code: "storage_forbidden",
    });
  });

  it("refuses a taken port", async () => {
    const server = await start();
    await expect(start({ port: Number(new URL(server.endpoint).port) })).rejects.toMatchObject({ code: "EADDRINUSE" });
  });
});
