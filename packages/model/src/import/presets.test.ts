import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isCoded } from "@flamboyance/contracts";
import { describe, expect, it } from "vitest";
import { architectureSchema, crossAttentionLayers } from "../architecture.ts";
import { checkExpected, readExpected } from "./expectation.ts";
import { readPieces } from "./pieces.ts";
import { findPreset, presets, quirks, type Preset } from "./presets.ts";

const reference = join(import.meta.dirname, "../../reference/mpt-qk-norm");
const pieces = {
  vision: join(reference, "vision/open_clip_model.safetensors"),
  languageModel: join(reference, "lm-mpt-1b-redpajama-200b"),
  checkpoint: join(reference, "checkpoint.pt"),
};
const preset = (name: string): Preset => {
  const found = findPreset(name);
  if (found === undefined) throw new Error(name);
  return found;
};

describe("the presets", () => {
  it("are the five released models, each a whole architecture under a name of its own", () => {
    expect(new Set(presets.map(({ name }) => name)).size).toBe(5);
    for (const { name, architecture } of presets) expect(architectureSchema.parse(architecture), name).toEqual(architecture);
    expect(presets.map(({ architecture }) => crossAttentionLayers(architecture).length)).toEqual([24, 24, 16, 16, 8]);
    expect(findPreset("openflamingo-1b")).toBeUndefined();
  });

  it("say each quirk in words, and no quirk that none of them has", () => {
    const named = new Set(presets.flatMap((each) => each.quirks));
    expect([...named].toSorted()).toEqual(Object.keys(quirks).toSorted());
  });

  it("stand in docs/presets.md, with every repository and file", () => {
    const path = join(import.meta.dirname, "../../../../docs/presets.md");
    expect(existsSync(path)).toBe(true);
    const document = readFileSync(path, "utf8");
    for (const { name, pieces: parts } of presets) {
      expect(document).toContain(`\`${name}\``);
      for (const { repository, files } of Object.values(parts)) {
        expect(document).toContain(`\`${repository}\``);
        for (const file of files) expect(document, repository).toContain(`\`${file}\``);
      }
    }
    for (const words of Object.values(quirks)) expect(document).toContain(words.replaceAll("|", String.raw`\|`));
  });
});

describe("a piece that isn't the preset's", () => {
  const small = (): Preset => ({
    ...preset("openflamingo-3b-vitl-mpt1b"),
    architecture: {
      vision: { imageSize: 32, patchSize: 8, width: 32, layers: 3, heads: 2, mlpWidth: 128, activation: "quick_gelu", embeddingWidth: 24 },
      resampler: { layers: 6, latents: 64, innerWidth: 512, feedForwardWidth: 128, maxFrames: null },
      crossAttention: { every: 1, innerWidth: 512, feedForwardWidth: 160 },
      decoder: {
        ...preset("openflamingo-3b-vitl-mpt1b").architecture.decoder,
        width: 40,
        layers: 3,
        heads: 4,
        mlpWidth: 160,
        vocabularySize: 390,
        maxPositions: 512,
        positions: { kind: "alibi", slopes: [0.25, 0.0625, 0.015625, 0.00390625] },
        softmaxScale: 1 / Math.sqrt(10),
      },
    },
    tokenizer: { ownSize: 387, specialTokens: { endOfChunk: 387, image: 388, pad: 389, endOfText: 0 } },
  });

  it("isn't said of the preset's own", async () => {
    const { architecture } = await readPieces(pieces, small());
    expect(architecture.decoder.layers).toBe(3);
  });

  it("is named by the first number that differs and the repository that holds the right one", async () => {
    await expect(readPieces(pieces, preset("openflamingo-3b-vitl-mpt1b"))).rejects.toMatchObject({
      code: "preset_mismatch",
      param: "vision.imageSize",
      message: "vision.imageSize is 32 where openflamingo-3b-vitl-mpt1b has 224; the preset's vision file is openai/clip-vit-large-patch14",
    });
    const { architecture } = small();
    await expect(
      readPieces(pieces, { ...small(), architecture: { ...architecture, decoder: { ...architecture.decoder, queryKeyNorm: false } } }),
    ).rejects.toMatchObject({ code: "preset_mismatch", param: "decoder.queryKeyNorm" });
    await expect(readPieces(pieces, { ...small(), names: preset("openflamingo-4b-vitl-rpj3b").names })).rejects.toMatchObject({
      code: "preset_mismatch",
      param: "names.layers",
    });
    await expect(
      readPieces(pieces, { ...small(), architecture: { ...architecture, resampler: { ...architecture.resampler, latents: 32 } } }),
    ).rejects.toMatchObject({ code: "preset_mismatch", param: "checkpoint.resampler.latents" });
    await expect(
      readPieces(pieces, { ...small(), tokenizer: { ownSize: 387, specialTokens: { ...small().tokenizer.specialTokens, pad: 0 } } }),
    ).rejects.toMatchObject({ code: "preset_mismatch", param: "tokenizer.specialTokens.pad" });
  });

  it("is named in the errors of its tensors too", async () => {
    const checkpoint = join(reference, "../mpt/checkpoint.pt");
    const error: unknown = await readPieces({ ...pieces, checkpoint }, small()).catch((reason: unknown) => reason);
    if (!isCoded(error, "tensor_missing")) throw new Error("a missing tensor was expected", { cause: error });
    expect(error.param).toContain("lang_encoder.");
    expect(error.message).toMatch(/; the preset's checkpoint is openflamingo\/OpenFlamingo-3B-vitl-mpt1b$/);
  });

  it("counts numbers as equal within their last bits, and nothing else", async () => {
    const check = (found: unknown, expected: unknown) => () =>
      checkExpected(preset("openflamingo-9b-vitl-mpt7b"), "checkpoint", "x", { found, expected });
    expect(check({ a: [1, 0.1 + 0.2] }, { a: [1, 0.3] })).not.toThrow();
    expect(check({ a: [1, 0.31] }, { a: [1, 0.3] })).toThrow(/x\.a\.1 is 0\.31/);
    expect(check({ a: 1 }, { a: 1, b: null })).toThrow(/x\.b/);
    expect(check({ a: 1, b: 2 }, { a: 1 })).toThrow(/x\.b/);
    const broken = new Error("a cable");
    await expect(readExpected(preset("openflamingo-9b-vitl-mpt7b"), "vision", () => Promise.reject(broken))).rejects.toBe(broken);
  });
});
