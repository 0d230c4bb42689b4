/**
 * The demo model on WebGPU answers as on the CPU. Runs on whatever Vulkan driver the machine has: Mesa's in software serves (infra/install-tools.sh
 * installs it); without one it is skipped. The first run on a machine waits half a minute for kernels, which the
 * driver then keeps.
 */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isCoded } from "@flamboyance/contracts";
import {
  decodePixels,
  importModel,
  openModel,
  type Media,
  type Model,
  type Passage,
  type RankResult,
  type RowRequest,
  type RowResult,
} from "@flamboyance/model";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { measuredScenes } from "./dataset.ts";
import { demoPieces } from "./pieces.ts";

// Mesa's driver in software compiles kernels with barriers twice as fast for four lanes as for eight. It reads this when it is loaded.
process.env["LP_NATIVE_VECTOR_WIDTH"] ??= "128";

const parent = await mkdtemp(join(tmpdir(), "flamboyance-webgpu-"));
const folder = join(parent, "demo");
const imported = await importModel(demoPieces(), folder);
if (imported.files["vision.device.onnx"] === undefined) throw new Error("the import wrote no vision graph for a device");
const opened = await openModel(folder, { device: "webgpu", maxRows: 8 }).catch((error: unknown) => {
  // A device that is there and fails is no reason to skip, nor is one that is refused: only where none is found does the refusal have a cause.
  if (!isCoded(error, "device_unavailable") || !isCoded(error.cause, "device_unavailable") || !isCoded(error.cause.cause, "engine_failed"))
    throw error;
  process.stderr.write(`the demo model on WebGPU is skipped (infra/install-tools.sh installs a driver): ${error.message}\n`);
  return null;
});
afterAll(() => rm(parent, { recursive: true }));

/** Without a GPU's node the driver can but be one in software; with one it may be all the same. */
const isInSoftware = ["/dev/dri", "/dev/nvidiactl", "/dev/kfd", "/dev/dxg"].every((node) => !existsSync(node));
const compilingMs = 240_000;
/** Of sums of log-probabilities; the kernels' last bits differ. */
const near = 1e-3;

describe.skipIf(opened === null)("the demo model on WebGPU", () => {
  let cpu: Model;
  let gpu: Model;
  let images: Media[];

  beforeAll(async () => {
    if (opened === null) throw new Error("the tests of a device run without one");
    gpu = opened;
    cpu = await openModel(folder, { threads: 1 });
    images = [];
    for await (const { bytes } of measuredScenes(4))
      images.push([await decodePixels(bytes, cpu.description.preprocessing, { maxPixels: 1e6 })]);
  });
  afterAll(() => Promise.all([cpu.close(), gpu.close()]));

  const passage = (index: number, text = "<image>Output:"): Passage => ({ text, media: images.slice(index, index + 1) });

  /** Greedy rows and beams, with and without a prefix, long and short ones: rows join and leave while others run. */
  async function answers(model: Model): Promise<{ readonly rows: readonly RowResult[]; readonly ranked: RankResult }> {
    const prefix = model.openPrefix([passage(3, "<image>Output:small red circle<|endofchunk|>")]);
    const rows = [
      { ...passage(0), generation: { maxNewTokens: 3 } },
      { ...passage(1), generation: { maxNewTokens: 12, numBeams: 3 } },
      { ...passage(2), generation: { maxNewTokens: 9 }, prefix },
      { ...passage(0), generation: { maxNewTokens: 8, numBeams: 3 }, prefix },
      { ...passage(1), generation: { maxNewTokens: 2, numBeams: 3, numReturnSequences: 2 }, prefix },
      { ...passage(2), generation: { maxNewTokens: 7 } },
      // Two media in one row, and none.
      { text: "<image>Output:large blue star<|endofchunk|><image>Output:", media: images.slice(0, 2), generation: { maxNewTokens: 5 } },
      { text: "Output:", media: [], generation: { maxNewTokens: 2 } },
    ].map((row, index): RowRequest => ({ ...row, id: `row-${index}` }));
    const candidates = ["small red circle", "large green ring", "square"];
    const [ranked, ...found] = await Promise.all([
      model.rank({ id: "ranking", ...passage(0), prefix, candidates }),
      ...rows.map((row) => model.generate(row)),
    ]);
    return { rows: found, ranked };
  }

  it(
    "gives the CPU's tokens: greedy and with three beams, behind a prefix and without, in company, ranked",
    async () => {
      const [expected, found] = [await answers(cpu), await answers(gpu)];
      const tokens = ({ rows }: typeof found) => rows.map((row) => [row.tokens, ...(row.alternatives ?? []).map((each) => each.tokens)]);
      expect(tokens(found)).toEqual(tokens(expected));
      found.rows.forEach(({ score }, index) => {
        if (score !== undefined) expect(Math.abs(score - (expected.rows[index]?.score ?? Infinity))).toBeLessThan(near);
      });
      found.ranked.candidates.forEach(({ sum }, index) => {
        expect(Math.abs(sum - (expected.ranked.candidates[index]?.sum ?? Infinity))).toBeLessThan(near);
      });
    },
    compilingMs,
  );

  it("brings logits to the host, and nothing else", async () => {
    const before = gpu.stats().device?.bytesToHost ?? Infinity;
    const { tokens } = await gpu.generate({ id: "row", ...passage(0), generation: { maxNewTokens: 6, minNewTokens: 6 } });
    const logitBytes = tokens.length * gpu.description.architecture.decoder.vocabularySize * Float32Array.BYTES_PER_ELEMENT;
    expect((gpu.stats().device?.bytesToHost ?? Infinity) - before).toBe(logitBytes);
  });

  it("gives back all of the device's memory when it closes, also in the middle of rows", async () => {
    const running = gpu.generate({ id: "row", ...passage(1), generation: { maxNewTokens: 40, minNewTokens: 40 } });
    const steps = gpu.stats().steps;
    while (gpu.stats().steps < steps + 2) await new Promise((resolve) => setImmediate(resolve));
    expect(gpu.stats().device?.tensors).toBeGreaterThan(0);
    await Promise.all([gpu.close(), expect(running).rejects.toMatchObject({ code: "aborted" })]);
    expect(gpu.stats().device?.tensors).toBe(0);
  });

  it("is refused in a precision that WebGPU has no kernels for, and left to the CPU by auto", async () => {
    const rounded = join(parent, "int8");
    await importModel(demoPieces(), rounded, { precision: "int8" });
    await expect(openModel(rounded, { device: "webgpu" })).rejects.toMatchObject({ code: "device_unavailable" });
    const model = await openModel(rounded, { device: "auto", threads: 1 });
    expect(model.device).toEqual({ kind: "cpu", fallback: expect.stringContaining("8-bit") });
    await model.close();
  });

  it("is left to the CPU by auto where the device is a driver in software", async () => {
    const model = await openModel(folder, { device: "auto", threads: 1 });
    const { kind, fallback } = model.device;
    await model.close();
    if (isInSoftware) expect(kind).toBe("cpu");
    if (kind === "cpu") expect(fallback).toContain("isn't faster than the CPU");
    else expect(fallback).toBe(null);
  });
});
