/**
 * The five released layouts, imported. At their full size the files are holes with true headers: every name, shape, type and form is accounted for, and their sizes are those published.
 * Reduced in depth and width they hold numbers, and go the whole way: import, folder, a run through both graphs.
 */
import { mkdtemp, readdir, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Architecture } from "../architecture.ts";
import { checkModel } from "../check-model.ts";
import { importModel } from "../import-model.ts";
import { alibiSlopes } from "../import/mpt.ts";
import { readPieces } from "../import/pieces.ts";
import { findPreset, presets, type Preset } from "../import/presets.ts";
import { checkpointLayout, languageModelLayout, visionLayout, type LayoutTensor } from "./layout.ts";
import { seededNumbers } from "./numbers.ts";
import { writeReleasedPieces } from "./write.ts";

// A second or so for each; a machine with other things to do may take many times as long.
vi.setConfig({ testTimeout: 300_000 });

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "flamboyance-released-"));
});
afterEach(() => rm(folder, { recursive: true }));

describe("at full size, without numbers", () => {
  /** In 10⁷ bytes, as the Hub's pages show them in GB with two digits. */
  const published: Record<string, { checkpoint: number; languageModel: number[] }> = {
    "openflamingo-3b-vitl-mpt1b": { checkpoint: 419, languageModel: [525] },
    "openflamingo-3b-vitl-mpt1b-langinstruct": { checkpoint: 419, languageModel: [525] },
    "openflamingo-4b-vitl-rpj3b": { checkpoint: 501, languageModel: [569] },
    "openflamingo-4b-vitl-rpj3b-langinstruct": { checkpoint: 487, languageModel: [569] },
    "openflamingo-9b-vitl-mpt7b": { checkpoint: 554, languageModel: [995, 993, 671] },
  };

  it.each(presets)("$name: every tensor has its place, and the files are as long as the published ones", async (preset) => {
    const pieces = await writeReleasedPieces(preset, folder, { seed: null });
    const { architecture, tensors, specialTokens, notes } = await readPieces(pieces, preset);
    expect(architecture).toEqual(preset.architecture);
    expect(specialTokens).toEqual(preset.tokenizer.specialTokens);
    expect([...tensors.values()].every(({ sizeBytes }) => sizeBytes > 0)).toBe(true);
    expect(notes.some((note) => note.startsWith("vision: left out 200 tensors"))).toBe(true);

    const size = async (path: string): Promise<number> => Math.round((await stat(path)).size / 1e7);
    const weights = (await readdir(pieces.languageModel)).filter((name) => name.endsWith(".bin")).toSorted();
    expect(weights).toEqual(preset.pieces.languageModel.files.filter((name) => name.endsWith(".bin")));
    expect({
      vision: await size(pieces.vision),
      checkpoint: await size(pieces.checkpoint),
      languageModel: await Promise.all(weights.map((name) => size(join(pieces.languageModel, name)))),
    }).toEqual({ vision: 171, ...published[preset.name] });
  });

  it("a preset's neighbour is told apart", async () => {
    const [three, four] = [findPreset("openflamingo-3b-vitl-mpt1b"), findPreset("openflamingo-4b-vitl-rpj3b")];
    if (three === undefined || four === undefined) throw new Error("the presets have changed");
    const pieces = await writeReleasedPieces(four, folder, { seed: null });
    await expect(readPieces(pieces, three)).rejects.toMatchObject({
      code: "preset_mismatch",
      param: "names.layers",
      message: expect.stringContaining("anas-awadalla/mpt-1b-redpajama-200b"),
    });
  });
});

describe("reduced, with numbers", () => {
  const seed = 7;
  const small = { seed, embeddingRows: 448, textTower: { width: 16, layers: 1, vocabulary: 32 }, maxShardBytes: 640_000 };

  it.each(presets)("$name is imported whole, and runs", async (released) => {
    const preset = reduced(released);
    const pieces = await writeReleasedPieces(preset, join(folder, "pieces"), small);
    const description = await importModel(pieces, join(folder, "model"), { preset });
    expect(description.architecture).toEqual(preset.architecture);
    expect(description.specialTokens).toEqual(preset.tokenizer.specialTokens);
    const check = await checkModel(join(folder, "model"));
    expect(check).toMatchObject({ kind: "passed", promptTokens: expect.any(Number), meanLogProbability: expect.any(Number) });

    const { tensors } = await readPieces(pieces, preset);
    const layouts = [
      ...visionLayout(preset, small.textTower),
      ...languageModelLayout(preset, small.embeddingRows),
      ...checkpointLayout(preset),
    ];
    const written = (name: string): Buffer => {
      const tensor = layouts.find((each: LayoutTensor) => each.name === name);
      if (tensor === undefined) throw new Error(`the layout lacks ${name}`);
      return Buffer.concat([...seededNumbers(seed)(tensor)]);
    };
    const { layers, inputEmbedding } = preset.names;
    const last = preset.architecture.decoder.layers - 1;
    const places: Record<string, string> = {
      "vision.layers.1.attention.query.weight": "vision_model.encoder.layers.1.self_attn.q_proj.weight",
      "vision.pre_norm.bias": "vision_model.pre_layrnorm.bias",
      "resampler.layers.1.feed_forward.down.weight": "perceiver.layers.1.1.3.weight",
      "decoder.embedding": `lang_encoder.${inputEmbedding}`,
      [`cross.${last}.attention.output.weight`]: `lang_encoder.${layers}.${last}.gated_cross_attn_layer.attn.to_out.weight`,
      [`cross.${last}.feed_forward.gate`]: `lang_encoder.${layers}.${last}.gated_cross_attn_layer.ff_gate`,
      ...(preset.quirks.includes("attention_buffers")
        ? {
            "decoder.layers.1.mlp.down.weight": "gpt_neox.layers.1.mlp.dense_4h_to_h.weight",
            "decoder.head": "lang_encoder.embed_out.weight",
          }
        : preset.quirks.includes("query_key_norm")
          ? { "decoder.layers.1.attention.key_norm.weight": "transformer.blocks.1.attn.k_ln.weight" }
          : { "decoder.layers.1.mlp.up.weight": "transformer.blocks.1.ffn.up_proj.weight" }),
    };
    for (const [canonical, name] of Object.entries(places)) {
      const tensor = tensors.get(canonical);
      expect(Buffer.compare((await tensor?.read()) ?? Buffer.alloc(0), written(name)), canonical).toBe(0);
    }
  });
});

/** Two cross-attending layers, and widths of a few heads; all else as released. */
function reduced(preset: Preset): Preset {
  const { crossAttention, decoder } = preset.architecture;
  const [width, heads] = [64, 4];
  const architecture: Architecture = {
    vision: { ...preset.architecture.vision, imageSize: 28, width: 64, layers: 2, heads: 1, mlpWidth: 256, embeddingWidth: 48 },
    resampler: { layers: 2, latents: 8, innerWidth: 64, feedForwardWidth: 256, maxFrames: null },
    crossAttention: { every: crossAttention.every, innerWidth: 64, feedForwardWidth: 4 * width },
    decoder: {
      ...decoder,
      width,
      heads,
      layers: 2 * crossAttention.every,
      mlpWidth: 4 * width,
      vocabularySize: 390,
      maxPositions: 64,
      positions:
        decoder.positions.kind === "alibi"
          ? { kind: "alibi", slopes: alibiSlopes(heads, 8) }
          : { ...decoder.positions, width: width / heads },
      softmaxScale: 1 / Math.sqrt(width / heads),
    },
  };
  return { ...preset, architecture, tokenizer: { ownSize: 387, specialTokens: { endOfChunk: 387, image: 388, pad: 389, endOfText: 0 } } };
}
