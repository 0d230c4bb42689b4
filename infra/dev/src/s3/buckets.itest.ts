/** Tenants' buckets on S3 servers with different keys. It stands here because storage may not import what stands above it. */
import { mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BucketCredentials } from "@flamboyance/contracts";
import { openBuckets, openStorage, type Buckets, type Location, type Storage } from "@flamboyance/storage";
import { afterAll, beforeAll, expect, it } from "vitest";
import { startS3Server, type S3Server } from "./server.ts";
import { startTestServer, type RunningTestServer } from "./test-servers.ts";

const { signal } = new AbortController();
const theirKeys = { accessKeyId: "birds-key", secretAccessKey: "birds-secret-of-theirs" };
const text = { contentType: "text/plain", signal };

let folder: string;
let ours: RunningTestServer;
let theirs: S3Server;
let storage: Storage;
let buckets: Buckets;
let credentials: BucketCredentials[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "flamboyance-buckets-"));
  ours = await startTestServer();
  theirs = await startS3Server({ folder: join(folder, "theirs"), ...theirKeys });
  const defaults = { ...ours, pathStyle: true, retries: 0 };
  storage = openStorage(defaults);
  buckets = openBuckets({ storage, defaults, secrets: folder, believedMs: 0 });
  credentials = [
    { buckets: ["birds-*"], secret: "birds", endpoint: theirs.endpoint },
    { buckets: ["lost-*"], secret: "lost", endpoint: theirs.endpoint },
  ];
  await keep(theirKeys);
});
afterAll(async () => {
  buckets.close();
  storage.close();
  await theirs.close();
  await ours.close();
  await rm(folder, { recursive: true });
});

/** Whole at once, as a mounted secret changes. */
async function keep({ accessKeyId, secretAccessKey }: typeof theirKeys, name = "birds"): Promise<void> {
  const file = { access_key_id: accessKeyId, secret_access_key: secretAccessKey };
  await writeFile(join(folder, "next"), JSON.stringify(file));
  await rename(join(folder, "next"), join(folder, `${name}.json`));
}

it("are each opened with the keys that are named for them, where they are; all others with the service's own", async () => {
  const both = buckets.of(credentials);
  for (const bucket of ["birds-in", "photos"]) {
    await both.ensureBucket(bucket, { signal });
    await both.write({ bucket, key: "a" }, bucket, text);
    await both.writeStream({ bucket, key: "b" }, (async function* () {})(), text);
    await both.probeWrite({ bucket, key: "out/" }, { signal });
  }
  const at: Location = { bucket: "birds-in", key: "a" };
  expect(Buffer.from((await both.read(at, { signal })).bytes).toString()).toBe("birds-in");
  expect(Buffer.from(await both.readRange(at, { signal, offsetBytes: 1, lengthBytes: 2 })).toString()).toBe("ir");
  expect(Buffer.concat(await Array.fromAsync(both.stream(at, { signal }))).toString()).toBe("birds-in");
  expect((await Array.fromAsync(both.list({ bucket: "birds-in", key: "" }, { signal }))).map(({ key }) => key)).toEqual(["a", "b"]);
  await both.remove(
    [
      { bucket: "birds-in", key: "b" },
      { bucket: "photos", key: "b" },
    ],
    { signal },
  );
  expect(await both.describe({ bucket: "photos", key: "b" }, { signal })).toBeNull();
  // Neither server has the other's.
  expect(await storage.describe(at, { signal })).toBeNull();
  expect(await storage.describe({ bucket: "photos", key: "a" }, { signal })).not.toBeNull();
  expect(buckets.of([])).toBe(storage);
});

it("are opened anew with keys that changed", async () => {
  const at = { bucket: "birds-in", key: "a" };
  await keep({ ...theirKeys, secretAccessKey: "an old one" });
  await expect(buckets.of(credentials).read(at, { signal })).rejects.toMatchObject({ code: "storage_unavailable" });
  await keep(theirKeys);
  expect(Buffer.from((await buckets.of(credentials).read(at, { signal })).bytes).toString()).toBe("birds-in");
});

it("whose keys aren't here, or can't be read, are away, and nothing of a file is said", async () => {
  const read = () => buckets.of(credentials).read({ bucket: "lost-and", key: "a" }, { signal });
  await expect(read()).rejects.toMatchObject({ code: "storage_unavailable", message: "the bucket keys lost aren't mounted here" });
  for (const bad of ["not JSON: hunter2", '{"access_key_id":"hunter2"}', '{"access_key_id":"a","secret_access_key":"b","hunter2":1}']) {
    await writeFile(join(folder, "lost.json"), bad);
    const failure: unknown = await read().catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "storage_unavailable" });
    expect(`${String(failure)} ${JSON.stringify(failure)}`).not.toContain("hunter2");
  }
  const without = openBuckets({ storage, defaults: { ...ours, pathStyle: true }, secrets: null });
  await expect(without.of(credentials).read({ bucket: "birds-in", key: "a" }, { signal })).rejects.toMatchObject({
    code: "storage_unavailable",
  });
  without.close();
});
