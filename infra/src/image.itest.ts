/** The images' contents work: the Dockerfile's own steps, run here without a container engine, give apps that start from built files and production dependencies. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { startChild } from "@flamboyance/dev/child";
import { freePort } from "@flamboyance/dev/port";
import { startRedis } from "@flamboyance/dev/redis";
import { startTestServer } from "@flamboyance/dev/s3";
import { serviceBucket } from "@flamboyance/dev/system";
import { openStorage } from "@flamboyance/storage";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { makeImageFolder, type ImageFolder } from "./image-folder.ts";
import { runTinyBatch, tinyOutcome, writeTinyDataset } from "./tiny-dataset.ts";

// Seconds on a machine that has nothing else to do: a compiler runs, and copies are made.
const timeout = 300_000;

let parent = "";
const made = new Map<string, Promise<ImageFolder>>();

beforeAll(async () => {
  parent = await mkdtemp(join(tmpdir(), "flamboyance-image-"));
});
afterAll(() => rm(parent, { recursive: true, force: true }));

describe.each(["api", "worker"])("the %s image", (name) => {
  it("starts with --help under plain node", { timeout }, async () => {
    const { folder } = await makeImageFolder(name, parent, made);
    const { stdout } = await promisify(execFile)(process.execPath, [`apps/${name}/dist/main.js`, "--help"], { cwd: folder, env: {} });
    expect(stdout).toContain("REDIS_URL");
  });

  it("names a missing variable in one line and stops", { timeout }, async () => {
    const { folder } = await makeImageFolder(name, parent, made);
    const started = promisify(execFile)(process.execPath, [`apps/${name}/dist/main.js`], { cwd: folder, env: {} });
    await expect(started).rejects.toMatchObject({ code: expect.any(Number), stderr: expect.stringMatching(/FLAMBOYANCE_BUCKET.*\n$/) });
  });
});

describe("the images together", () => {
  const running: { close(): Promise<void> | void }[] = [];
  afterAll(async () => {
    for (const one of running.toReversed()) await one.close();
  });

  it("caption images, with what runs in threads too", { timeout }, async ({ signal }) => {
    const s3 = await startTestServer();
    running.push(s3);
    const redis = await startRedis({ folder: join(parent, "redis") });
    running.push(redis);
    const storage = openStorage({ ...s3, pathStyle: true });
    running.push(storage);
    await writeTinyDataset(storage, join(parent, "model"), signal);
    const apiKey = "a-key-of-this-test";
    const environment = {
      REDIS_URL: redis.url,
      FLAMBOYANCE_BUCKET: serviceBucket,
      FLAMBOYANCE_S3_ENDPOINT: s3.endpoint,
      AWS_ACCESS_KEY_ID: s3.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
      FLAMBOYANCE_MODEL_CACHE: join(parent, "models"),
      FLAMBOYANCE_KEYS: JSON.stringify([
        { tenant: "a", name: "a", sha256: createHash("sha256").update(apiKey).digest("hex"), buckets: ["*"] },
      ]),
    };
    const start = async (name: string, variable: string) => {
      const port = await freePort();
      const { folder } = await makeImageFolder(name, parent, made);
      const child = await startChild({
        command: process.execPath,
        args: [join(folder, `apps/${name}/dist/main.js`)],
        environment: { ...environment, [variable]: String(port) },
        logFile: join(parent, `${name}.log`),
        isReady: async () => (await fetch(`http://127.0.0.1:${port}/ready`, { signal: AbortSignal.timeout(2_000) })).ok,
      });
      running.push(child);
      return `http://127.0.0.1:${port}`;
    };
    await start("worker", "FLAMBOYANCE_METRICS_PORT");
    const apiUrl = await start("api", "FLAMBOYANCE_PORT");
    expect(await runTinyBatch({ apiUrl, apiKey }, signal)).toMatchObject(tinyOutcome);
  });
});
