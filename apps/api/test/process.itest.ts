import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { newTenantKey } from "@flamboyance/contracts";
import { startRedis } from "@flamboyance/dev/redis";
import { startTestServer } from "@flamboyance/dev/s3";
import { expect, it } from "vitest";

const main = resolve(import.meta.dirname, "../src/main.ts");

it("starts, serves, and ends at SIGTERM with code 0, its port free again", async () => {
  const folder = await mkdtemp(join(tmpdir(), "flamboyance-api-"));
  const redis = await startRedis({ folder });
  const s3 = await startTestServer();
  const { entry } = await newTenantKey({ tenant: "demo", name: "main", buckets: ["demo-*"] });
  try {
    const api = start({
      REDIS_URL: redis.url,
      FLAMBOYANCE_S3_ENDPOINT: s3.endpoint,
      AWS_ACCESS_KEY_ID: s3.accessKeyId,
      AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
      FLAMBOYANCE_BUCKET: "service",
      FLAMBOYANCE_KEYS: JSON.stringify([entry]),
      FLAMBOYANCE_PORT: "0",
    });
    const url = await api.url;
    // S3 answers, though the bucket isn't made yet; without a worker's sentinel nothing is believed.
    expect((await fetch(`${url}/ready`)).status).toBe(200);
    expect((await fetch(`${url}/v1/batches`)).status).toBe(401);
    api.child.kill("SIGTERM");
    expect(await api.ended).toMatchObject({ code: 0 });
    await expect(fetch(`${url}/health`)).rejects.toThrow();
  } finally {
    await s3.close();
    await redis.close();
    await rm(folder, { recursive: true, force: true });
  }
});

it("stops with one line where a variable is missing (code 2) or Redis is away (code 1)", async () => {
  const { entry } = await newTenantKey({ tenant: "demo", name: "main", buckets: ["demo-*"] });
  const variables = {
    FLAMBOYANCE_BUCKET: "service",
    FLAMBOYANCE_KEYS: JSON.stringify([entry]),
    AWS_ACCESS_KEY_ID: "a",
    AWS_SECRET_ACCESS_KEY: "b",
  };
  const [missing, away] = await Promise.all([
    start({ ...variables, FLAMBOYANCE_BUCKET: "" }).ended,
    start({ ...variables, REDIS_URL: "redis://127.0.0.1:1" }).ended,
  ]);
  expect(missing).toEqual({ code: 2, out: "", err: "flamboyance api: FLAMBOYANCE_BUCKET is not set (--help lists every variable)\n" });
  expect(away).toEqual({ code: 1, out: "", err: expect.stringMatching(/^flamboyance api: [^\n]*Redis[^\n]*\n$/) });
});

function start(variables: Readonly<Record<string, string>>) {
  const child = spawn(process.execPath, ["--conditions=@flamboyance/source", main], {
    env: { PATH: process.env["PATH"], ...variables },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let out = "";
  let err = "";
  const { promise: url, resolve: found, reject } = Promise.withResolvers<string>();
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
    const address = /"url":"([^"]+)"/.exec(out)?.[1];
    if (address !== undefined) found(address);
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => (err += text));
  const ended = once(child, "close").then(([code]) => {
    reject(new Error(`it ended: ${err}`));
    return { code: code as number | null, out, err };
  });
  // Who doesn't wait for the address isn't told that there is none.
  url.catch(() => undefined);
  return { child, url, ended };
}
