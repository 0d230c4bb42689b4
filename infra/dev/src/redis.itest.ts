import { mkdtemp, rm } from "node:fs/promises";
import { connect } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { freePort } from "./port.ts";
import { startRedis, useRedis } from "./redis.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "redis-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function ask(url: string, command: string): Promise<string> {
  const socket = connect(Number(new URL(url).port), "127.0.0.1");
  await once(socket, "connect");
  socket.write(`${command}\r\n`);
  const [answer] = await once(socket, "data");
  socket.destroy();
  return String(answer);
}

describe("startRedis", () => {
  it("evicts nothing and keeps an append-only file", async () => {
    const redis = await startRedis({ folder });
    expect(await ask(redis.url, "CONFIG GET maxmemory-policy")).toContain("noeviction");
    expect(await ask(redis.url, "CONFIG GET appendonly")).toContain("yes");
    await redis.close();
  });

  it("takes up what an earlier run left", async () => {
    const first = await startRedis({ folder });
    expect(await ask(first.url, "SET greeting hello")).toBe("+OK\r\n");
    await first.close();
    const second = await startRedis({ folder });
    expect(await ask(second.url, "GET greeting")).toContain("hello");
    await second.close();
  });

  it("listens on the wanted port, and on another where that is taken", async () => {
    const port = await freePort();
    const first = await startRedis({ folder: join(folder, "a"), port });
    const second = await startRedis({ folder: join(folder, "b"), port });
    expect(first.url).toBe(`redis://127.0.0.1:${port}`);
    expect(second.url).not.toBe(first.url);
    await Promise.all([first.close(), second.close()]);
  });

  it("comes back after a kill, at its address and with what it answered", async () => {
    const redis = await startRedis({ folder });
    expect(await redis.ask("SET answered yes")).toBe("+OK\r\n");
    await redis.kill();
    await expect(redis.ask("PING")).rejects.toThrow("ECONNREFUSED");
    await redis.restart();
    expect(await ask(redis.url, "GET answered")).toContain("yes");
    await redis.close();
    await expect(redis.ask("PING")).rejects.toThrow("ECONNREFUSED");
  });

  it("is gone after close", async () => {
    const redis = await startRedis({ folder });
    await redis.close();
    await redis.close();
    await expect(ask(redis.url, "PING")).rejects.toThrow("ECONNREFUSED");
  });
});

describe("useRedis", () => {
  it("gives the Redis of REDIS_URL without starting one", async () => {
    const redis = await useRedis({ folder }, { REDIS_URL: "redis://elsewhere:1" });
    expect(redis.url).toBe("redis://elsewhere:1");
    await redis.close();
  });
});
