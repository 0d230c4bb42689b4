import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { openEngine, type Engine, type EngineRow } from "./engine.ts";

const thread = new URL("./testing/fake-engine-thread.ts", import.meta.url);
const signal = new AbortController().signal;
const sizes = { device: "cpu", threads: 1, rowBytes: 1, cacheBytes: 1 } as const;
const opened: Engine[] = [];
async function open(folder = "model"): Promise<Engine> {
  const engine = await openEngine({ folder, sizes, thread });
  opened.push(engine);
  return engine;
}
afterEach(async () => {
  for (const engine of opened.splice(0)) await engine.close();
});

const row = (text: string, further: Partial<EngineRow> = {}): EngineRow => ({
  id: text,
  prefix: null,
  text,
  media: [],
  generation: { maxNewTokens: 1 },
  ...further,
});
const prefix = (key: string) => ({ key, passages: [{ text: `<${key}>`, media: [] }] });

it("answers each row with its own answer, and gives the pixels away", async () => {
  const engine = await open();
  const pixels = Float32Array.of(7, 8);
  const answers = await Promise.all([engine.generate(row("one"), signal), engine.generate(row("two", { media: [[pixels]] }), signal)]);
  expect(answers.map(({ text }) => text)).toEqual(["|one||held 0", "|two|7|held 0"]);
  expect(pixels.length).toBe(0);
});

it("ranks beside what it generates, each with its own answer", async () => {
  const engine = await open();
  const pixels = Float32Array.of(7);
  const { generation: _, ...prompt } = row("labels", { media: [[pixels]] });
  const [ranking, answer] = await Promise.all([
    engine.rank({ ...prompt, candidates: ["a", "b"] }, signal),
    engine.generate(row("one"), signal),
  ]);
  expect(ranking.candidates.map(({ sum }) => sum)).toEqual([-0, -1]);
  expect(ranking.promptTokens).toBe(1);
  expect(pixels.length).toBe(0);
  expect(answer.text).toBe("|one||held 0");
});

it("opens a prefix before its first row, and again after it was dropped for others", async () => {
  const engine = await open();
  for (let round = 0; round < 2; round++) {
    for (let number = 0; number < 40; number++) {
      const { text } = await engine.generate(row("row", { prefix: prefix(`p${number}`) }), signal);
      expect(text).toBe(`<p${number}>|row||held 0`);
    }
  }
});

it("says of a row what is wrong with it", async () => {
  const engine = await open();
  await expect(engine.generate(row("too long"), signal)).rejects.toMatchObject({ code: "prompt_too_long" });
});

it("gives a row up with its signal's reason, and tells the thread", async () => {
  const engine = await open();
  const gaveUp = new AbortController();
  const held = engine.generate(row("hold"), gaveUp.signal);
  expect((await engine.generate(row("look"), signal)).text).toBe("|look||held 1");
  gaveUp.abort(new Error("gave up"));
  await expect(held).rejects.toThrow("gave up");
  expect((await engine.generate(row("look"), signal)).text).toBe("|look||held 0");
});

it("fails the rows in flight when its thread dies, and starts another one for the next, prefixes and all", async () => {
  const engine = await open();
  expect((await engine.generate(row("row", { prefix: prefix("p") }), signal)).text).toBe("<p>|row||held 0");
  const held = engine.generate(row("hold"), signal);
  const failures = await Promise.allSettled([held, engine.generate(row("crash"), signal)]);
  expect(failures).toMatchObject([{ reason: { code: "engine_failed" } }, { reason: { code: "engine_failed" } }]);
  expect((await engine.generate(row("row", { prefix: prefix("p") }), signal)).text).toBe("<p>|row||held 0");
});

it("is lost, and says so, when its thread dies and can't be opened again, and not before", async () => {
  const folder = await mkdtemp(join(tmpdir(), "engine-"));
  const engine = await open(folder);
  await expect(engine.generate(row("crash"), signal)).rejects.toMatchObject({ code: "engine_failed" });
  await engine.generate(row("row"), signal);
  expect(engine.lost.aborted).toBe(false);
  await rm(folder, { recursive: true });
  await expect(engine.generate(row("crash"), signal)).rejects.toMatchObject({ code: "engine_failed" });
  await expect(engine.generate(row("row"), signal)).rejects.toMatchObject({ code: "engine_failed" });
  expect(engine.lost.reason).toMatchObject({ code: "model_folder_invalid" });
  await expect(engine.generate(row("row"), signal)).rejects.toMatchObject({ code: "engine_failed" });
});

it("doesn't open a model that can't be opened", async () => {
  await expect(openEngine({ folder: "broken", sizes, thread })).rejects.toMatchObject({ code: "model_folder_invalid" });
});

it("says why a model runs on the CPU although a device was wanted", async () => {
  const told: string[] = [];
  for (const folder of ["slow device", "fast device"]) {
    const engine = await openEngine({ folder, sizes: { ...sizes, device: "auto" }, onFallback: (why) => told.push(why), thread });
    await engine.close();
  }
  expect(told).toEqual(["the device is slow"]);
});

it("says what the thread threw that died, and starts another one", async () => {
  const engine = await open();
  const failures = await Promise.allSettled([engine.generate(row("hold"), signal), engine.generate(row("throw"), signal)]);
  const reason = { code: "engine_failed", cause: { message: "thrown" } };
  expect(failures).toMatchObject([{ reason }, { reason }]);
  expect((await engine.generate(row("row"), signal)).text).toBe("|row||held 0");
});

it("lets a thread that may use a device close its model before it is ended, also one that is only starting", async () => {
  const folder = await mkdtemp(join(tmpdir(), "engine-"));
  const engine = await openEngine({ folder, sizes: { ...sizes, device: "webgpu" }, thread });
  expect(engine.device).toBe("webgpu");
  await expect(engine.generate(row("crash"), signal)).rejects.toMatchObject({ code: "engine_failed" });
  const starting = engine.generate(row("row"), signal);
  await Promise.all([expect(starting).rejects.toMatchObject({ code: "aborted" }), engine.close()]);
  expect(existsSync(join(folder, "closed"))).toBe(true);
  await rm(folder, { recursive: true });
});

it("doesn't wait for ever for a thread that won't close its model", async () => {
  const engine = await openEngine({ folder: "deaf", sizes: { ...sizes, device: "webgpu" }, closePatienceMs: 20, thread });
  await engine.close();
  await expect(engine.generate(row("row"), signal)).rejects.toMatchObject({ code: "aborted" });
});

it("runs nothing after its close", async () => {
  const engine = await open();
  const held = engine.generate(row("hold"), signal);
  await engine.generate(row("look"), signal);
  await Promise.all([expect(held).rejects.toMatchObject({ code: "aborted" }), engine.close()]);
  await expect(engine.generate(row("row"), signal)).rejects.toMatchObject({ code: "aborted" });
});
