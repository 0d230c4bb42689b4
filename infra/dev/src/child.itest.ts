import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findCommand, startChild } from "./child.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "child-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
};

async function untilGone(pid: number): Promise<void> {
  while (isAlive(pid)) await sleep(10);
}

/** A process that starts a child through `startChild`, prints the child's pid and waits. */
async function startParent(): Promise<{ parent: ReturnType<typeof spawn>; childPid: number }> {
  const source = `
    import { startChild } from ${JSON.stringify(join(import.meta.dirname, "child.ts"))};
    const child = await startChild({ command: "sleep", args: ["600"], logFile: ${JSON.stringify(join(folder, "log"))}, isReady: async () => true });
    console.log(child.pid);
    setInterval(() => {}, 1000);
  `;
  const parent = spawn(process.execPath, ["--conditions=@flamboyance/source", "--input-type=module", "--eval", source], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(createInterface({ input: parent.stdout }), "line")) as [string];
  return { parent, childPid: Number(line) };
}

describe("a child", () => {
  it.each(["SIGINT", "SIGTERM"] as const)("is gone after its parent's %s, and the parent dies of that signal", async (signal) => {
    const { parent, childPid } = await startParent();
    expect(isAlive(childPid)).toBe(true);
    parent.kill(signal);
    expect(await once(parent, "exit")).toEqual([null, signal]);
    await untilGone(childPid);
  });

  it.skipIf(!existsSync("/usr/bin/setpriv"))("is gone after its parent's SIGKILL", async () => {
    const { parent, childPid } = await startParent();
    parent.kill("SIGKILL");
    await once(parent, "exit");
    await untilGone(childPid);
  });

  it("that stops before it is ready is an error with the end of its log", async () => {
    const logFile = join(folder, "logs", "failing.log");
    const starting = startChild({
      command: "sh",
      args: ["-c", "echo no such thing; exit 3"],
      logFile,
      isReady: () => Promise.resolve(false),
    });
    await expect(starting).rejects.toMatchObject({
      code: "configuration_invalid",
      message: expect.stringContaining("no such thing") as string,
    });
    expect(await readFile(logFile, "utf8")).toBe("no such thing\n");
  });

  it("that isn't there is an error", async () => {
    const starting = startChild({
      command: "no-such-command",
      args: [],
      logFile: join(folder, "log"),
      isReady: () => Promise.resolve(false),
    });
    await expect(starting).rejects.toThrow();
  });
});

describe("findCommand", () => {
  it("gives the first command that is there, with its folder", () => {
    expect(findCommand(["no-such-command", "sh"])).toMatch(/\/sh$/);
    expect(findCommand(["no-such-command"])).toBeNull();
    expect(findCommand(["child.ts"], [import.meta.dirname])).toBeNull();
  });
});
