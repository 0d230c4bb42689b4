import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { takeHome } from "./demo-home.ts";

let parent: string;
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), "demo-home-"));
});
afterEach(() => rm(parent, { recursive: true, force: true }));

/** No process has it. */
const dead = 2 ** 22 + 1;

it("is one folder, kept after the end and emptied by the next demo", async () => {
  const first = await takeHome(parent);
  expect(first).toMatchObject({ home: join(parent, "demo"), stays: true });
  await writeFile(join(first.home, "captions.jsonl"), "");
  await first[Symbol.asyncDispose]();
  expect(await readdir(first.home)).toEqual(["captions.jsonl"]);
  const second = await takeHome(parent);
  expect(second.home).toBe(first.home);
  expect(await readdir(second.home)).toEqual(["owner.pid"]);
});

it("is another one beside a demo that is up, and that goes with its end", async () => {
  const first = await takeHome(parent);
  await writeFile(join(first.home, "captions.jsonl"), "");
  const second = await takeHome(parent);
  expect(second).toMatchObject({ home: join(parent, `demo-${process.pid}`), stays: false });
  await writeFile(join(second.home, "captions.jsonl"), "");
  await second[Symbol.asyncDispose]();
  expect(await readdir(parent)).toEqual(["demo"]);
  expect((await readdir(first.home)).toSorted()).toEqual(["captions.jsonl", "owner.pid"]);
});

it("takes away what a killed one left, and nothing of a living one, nor what is none of a demo's", async () => {
  for (const name of [`demo-${dead}`, `demo-${process.pid}`, "demo-model", "redis"]) await mkdir(join(parent, name));
  await takeHome(parent, process.ppid);
  expect((await readdir(parent)).toSorted()).toEqual(["demo", `demo-${process.pid}`, "demo-model", "redis"].toSorted());
  expect(existsSync(join(parent, "demo", "owner.pid"))).toBe(true);
});
