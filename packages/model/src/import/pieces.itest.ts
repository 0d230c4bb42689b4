/** The five reference models, in their real forms; then the same pieces with one thing wrong. Long, for there are many things that can be wrong. */
import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { CodedError } from "@flamboyance/contracts";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { readPieces, type Pieces } from "./pieces.ts";
import type { StoredTensor, TensorSource } from "./tensor-source.ts";
import { readWeights } from "./weights-file.ts";

const reference = join(import.meta.dirname, "../../reference");

function piecesOf(name: string): Pieces {
  const folder = join(reference, name);
  const { model } = JSON.parse(readFileSync(join(folder, "expected.json"), "utf8")) as {
    model: { vision: string; language_model: string; checkpoint: string };
  };
  return {
    vision: join(folder, model.vision),
    languageModel: join(folder, model.language_model),
    checkpoint: join(folder, model.checkpoint),
  };
}

async function numbers(tensor: TensorSource | undefined): Promise<number[]> {
  if (tensor?.dtype !== "f32") throw new Error("an fp32 tensor was expected");
  return [...new Float32Array((await tensor.read()).slice().buffer)];
}

describe("each reference model is one architecture", () => {
  const vision = {
    imageSize: 32,
    patchSize: 8,
    width: 32,
    layers: 3,
    heads: 2,
    mlpWidth: 128,
    activation: "quick_gelu",
    embeddingWidth: 24,
  };
  const mosaic = {
    width: 40,
    mlpWidth: 160,
    queryKeyNorm: true,
    residual: "sequential",
    tiedHead: true,
    vocabularySize: 390,
    maxPositions: 512,
  };
  test.each([
    ["mpt-qk-norm", vision, 1, null, { ...mosaic, layers: 3, heads: 4 }],
    [
      "mpt",
      { ...vision, imageSize: 48, patchSize: 16 },
      2,
      null,
      { width: 48, layers: 4, heads: 8, queryKeyNorm: false, residual: "sequential", tiedHead: true },
    ],
    [
      "neox-sequential",
      { ...vision, activation: "gelu" },
      2,
      null,
      { residual: "sequential", tiedHead: false, positions: { kind: "rotary", width: 12, base: 10_000 } },
    ],
    ["neox-parallel", vision, 4, null, { residual: "parallel", tiedHead: false, positions: { kind: "rotary", width: 4, base: 10_000 } }],
    ["video", vision, 1, 4, { ...mosaic, layers: 2, heads: 2 }],
  ])("%s", async (name, expectedVision, every, maxFrames, decoder) => {
    const { architecture, tensors, specialTokens, notes } = await readPieces(piecesOf(name));
    expect(architecture.vision).toEqual(expectedVision);
    expect(architecture.resampler).toEqual({ layers: 6, latents: 64, innerWidth: 512, feedForwardWidth: 128, maxFrames });
    expect(architecture.crossAttention).toMatchObject({ every, innerWidth: 512 });
    expect(architecture.decoder).toMatchObject(decoder);
    expect(specialTokens).toEqual({ endOfChunk: 387, image: 388, pad: 389, endOfText: 0 });
    expect(notes.join()).not.toContain(reference);
    for (const tensor of tensors.values()) expect((await tensor.read()).length, tensor.name).toBe(tensor.sizeBytes);
  });
});

test("a fused projection is split as its family fuses it, and comes together again", async () => {
  for (const [name, interleaved] of [["mpt-qk-norm", false] as const, ["neox-parallel", true] as const]) {
    const pieces = piecesOf(name);
    const { architecture, tensors } = await readPieces(pieces);
    const { heads, width } = architecture.decoder;
    const [query = [], key = [], value = []] = await Promise.all(
      ["query", "key", "value"].map((part) => numbers(tensors.get(`decoder.layers.1.attention.${part}.weight`))),
    );
    const headNumbers = (width / heads) * width;
    const fused = interleaved
      ? Array.from({ length: heads }, (_, head) =>
          [query, key, value].flatMap((part) => part.slice(head * headNumbers, (head + 1) * headNumbers)),
        ).flat()
      : [...query, ...key, ...value];
    const file = interleaved ? "model.safetensors" : "pytorch_model.bin";
    const original = (await readWeights(join(pieces.languageModel, file))).tensors.get(
      interleaved ? "gpt_neox.layers.1.attention.query_key_value.weight" : "transformer.blocks.1.attn.Wqkv.weight",
    );
    expect(fused).toEqual([...new Float32Array(((await original?.read()) ?? new Uint8Array()).slice().buffer)]);
  }
});

test("transformers' projection is turned round, open_clip's is as it lies", async () => {
  expect((await readPieces(piecesOf("mpt"))).tensors.get("vision.projection")).toMatchObject({
    shape: [32, 24],
    name: "visual_projection.weight",
  });
  expect((await readPieces(piecesOf("video"))).tensors.get("vision.projection")).toMatchObject({ shape: [32, 24], name: "visual.proj" });
});

test("biases are in the model exactly where the family has them", async () => {
  const mpt = await readPieces(piecesOf("mpt"));
  expect([...mpt.tensors.keys()].filter((name) => name.startsWith("decoder.") && name.endsWith(".bias"))).toEqual([]);
  const neox = await readPieces(piecesOf("neox-sequential"));
  expect(neox.tensors.get("decoder.layers.3.attention.key.bias")?.shape).toEqual([48]);
});

describe("one thing wrong is an error that names it", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "pieces-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  type Change = (tensors: Map<string, StoredTensor>) => void | Promise<void>;
  const held = (name: string, like: StoredTensor, bytes: Uint8Array, shape: readonly number[] = like.shape): StoredTensor => ({
    ...like,
    name,
    shape,
    sizeBytes: bytes.length,
    read: () => Promise.resolve(bytes),
  });

  /** A piece's file, changed and written as safetensors under the same name: the form is known by looking. */
  async function changed(path: string, change: Change): Promise<string> {
    const tensors = new Map((await readWeights(path)).tensors);
    await change(tensors);
    const header: Record<string, unknown> = {};
    const parts: Uint8Array[] = [];
    let offset = 0;
    for (const [name, tensor] of tensors) {
      const bytes = await tensor.read();
      header[name] = { dtype: tensor.dtype.toUpperCase(), shape: tensor.shape, data_offsets: [offset, offset + bytes.length] };
      parts.push(bytes);
      offset += bytes.length;
    }
    const text = Buffer.from(JSON.stringify(header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    const target = join(folder, basename(path));
    await writeFile(target, Buffer.concat([length, text, ...parts]));
    return target;
  }

  const withCheckpoint = async (name: string, change: Change): Promise<Pieces> => ({
    ...piecesOf(name),
    checkpoint: await changed(piecesOf(name).checkpoint, change),
  });
  const withVision = async (name: string, change: Change): Promise<Pieces> => ({
    ...piecesOf(name),
    vision: await changed(piecesOf(name).vision, change),
    visionConfig: join(reference, name, "vision/open_clip_config.json"),
  });
  async function withLanguageModel(name: string, weights: string, change: Change, config: Record<string, unknown> = {}): Promise<Pieces> {
    const original = piecesOf(name).languageModel;
    const copy = join(folder, "lm");
    await cp(original, copy, { recursive: true });
    await rm(join(copy, weights));
    await cp(await changed(join(original, weights), change), join(copy, weights));
    await writeFile(
      join(copy, "config.json"),
      JSON.stringify({ ...(JSON.parse(await readFile(join(original, "config.json"), "utf8")) as object), ...config }),
    );
    return { ...piecesOf(name), languageModel: copy };
  }

  async function fault(pieces: Pieces | Promise<Pieces>): Promise<[string, string | null]> {
    const error: unknown = await readPieces(await pieces).catch((reason: unknown) => reason);
    if (!(error instanceof CodedError)) throw new Error("a coded error was expected", { cause: error });
    return [error.code, error.param];
  }

  const remove =
    (name: string): Change =>
    (tensors) => {
      expect(tensors.delete(name)).toBe(true);
    };
  const copyAs =
    (from: string, to: string, alter = false): Change =>
    async (tensors) => {
      const original = tensors.get(from);
      if (original === undefined) throw new Error(from);
      const bytes = (await original.read()).slice();
      if (alter) bytes[1] = (bytes[1] ?? 0) ^ 1;
      tensors.set(to, held(to, original, bytes));
    };
  const halve =
    (name: string): Change =>
    async (tensors) => {
      const original = tensors.get(name);
      if (original === undefined) throw new Error(name);
      const [first = 0, ...rest] = original.shape;
      tensors.set(name, held(name, original, (await original.read()).subarray(0, original.sizeBytes / 2), [first / 2, ...rest]));
    };

  test("an unchanged copy in another form is read the same", async () => {
    const { architecture } = await readPieces(await withCheckpoint("video", () => undefined));
    expect(architecture).toEqual((await readPieces(piecesOf("video"))).architecture);
  });

  test.each([
    ["mpt-qk-norm", "perceiver.latents"],
    ["mpt-qk-norm", "perceiver.layers.5.1.3.weight"],
    ["mpt-qk-norm", "perceiver.norm.bias"],
    ["mpt-qk-norm", "lang_encoder.transformer.blocks.0.gated_cross_attn_layer.attn_gate"],
    ["mpt-qk-norm", "lang_encoder.transformer.wte.weight"],
    ["neox-parallel", "lang_encoder.embed_out.weight"],
  ])("%s: the checkpoint lacks %s", async (name, tensor) => {
    expect(await fault(withCheckpoint(name, remove(tensor)))).toEqual(["tensor_missing", tensor]);
  });

  test.each(["visual.class_embedding", "visual.proj", "visual.ln_post.bias", "visual.transformer.resblocks.1.attn.in_proj_bias"])(
    "the vision file lacks %s",
    async (tensor) => {
      expect(await fault(withVision("video", remove(tensor)))).toEqual(["tensor_missing", tensor]);
    },
  );

  test.each([
    "gpt_neox.layers.0.attention.dense.bias",
    "gpt_neox.final_layer_norm.weight",
    "gpt_neox.layers.3.input_layernorm.bias",
    "gpt_neox.embed_in.weight",
  ])("the language model lacks %s", async (tensor) => {
    expect(await fault(withLanguageModel("neox-sequential", "pytorch_model.bin", remove(tensor)))).toEqual(["tensor_missing", tensor]);
  });

  test("a surplus tensor is named, wherever it lies", async () => {
    expect(await fault(withCheckpoint("video", copyAs("perceiver.norm.bias", "perceiver.media_time_embs")))).toEqual([
      "tensor_surplus",
      "perceiver.media_time_embs",
    ]);
    expect(await fault(withVision("video", copyAs("visual.ln_post.bias", "visual.transformer.resblocks.0.ls_1.gamma")))).toEqual([
      "tensor_surplus",
      "visual.transformer.resblocks.0.ls_1.gamma",
    ]);
    expect(
      await fault(withLanguageModel("video", "pytorch_model.bin", copyAs("transformer.ln_f.weight", "transformer.ln_f.bias"))),
    ).toEqual(["tensor_surplus", "transformer.ln_f.bias"]);
    expect(await fault(withLanguageModel("video", "pytorch_model.bin", () => undefined, { n_layers: 1 }))).toEqual([
      "tensor_surplus",
      "transformer.blocks.1.ln_1.weight",
    ]);
  });

  test("a tensor of another shape is named", async () => {
    const gate = "lang_encoder.transformer.blocks.1.gated_cross_attn_layer.attn.to_kv.weight";
    expect(await fault(withCheckpoint("video", halve(gate)))).toEqual(["tensor_misshapen", gate]);
    expect(await fault(withVision("video", halve("visual.transformer.resblocks.2.mlp.c_fc.bias")))).toEqual([
      "tensor_misshapen",
      "visual.transformer.resblocks.2.mlp.c_fc.bias",
    ]);
    expect(await fault(withLanguageModel("video", "pytorch_model.bin", halve("transformer.blocks.0.attn.Wqkv.weight")))).toEqual([
      "tensor_misshapen",
      "transformer.blocks.0.attn.Wqkv.weight",
    ]);
  });

  test("embeddings that don't fit the tokenizer are misshapen, not cut", async () => {
    expect(await fault(withCheckpoint("video", halve("lang_encoder.transformer.wte.weight")))).toEqual([
      "tensor_misshapen",
      "lang_encoder.transformer.wte.weight",
    ]);
  });

  const integers = (name: string): StoredTensor => ({
    name,
    shape: [1, 2],
    dtype: "i64",
    sizeBytes: 16,
    read: () => Promise.resolve(new Uint8Array(16)),
  });
  test("a text tower and position ids are left out knowingly, integers as weights are refused", async () => {
    const { notes } = await readPieces(
      await withVision("mpt", (tensors) => {
        tensors.set("vision_model.embeddings.position_ids", integers("vision_model.embeddings.position_ids"));
        tensors.set("text_model.embeddings.token_embedding.weight", integers("text_model.embeddings.token_embedding.weight"));
      }),
    );
    expect(notes).toContain("vision: left out 2 tensors of the text tower");
    const change: Change = (tensors) => {
      tensors.set("visual.ln_post.bias", {
        ...integers("visual.ln_post.bias"),
        shape: [32],
        sizeBytes: 256,
        read: () => Promise.resolve(new Uint8Array(256)),
      });
    };
    expect(await fault(withVision("video", change))).toEqual(["model_piece_unsupported", "visual.ln_post.bias"]);
  });

  test("pieces of different models don't go together", async () => {
    expect(await fault({ ...piecesOf("mpt-qk-norm"), checkpoint: piecesOf("mpt").checkpoint })).toEqual([
      "tensor_misshapen",
      expect.stringContaining("lang_encoder."),
    ]);
    expect(await fault({ ...piecesOf("mpt-qk-norm"), checkpoint: piecesOf("neox-parallel").checkpoint })).toEqual([
      "tensor_missing",
      "lang_encoder.transformer.blocks.",
    ]);
  });

  test("the checkpoint's layers and the asked interval agree", async () => {
    const tensors = "lang_encoder.transformer.blocks.1.gated_cross_attn_layer.attn.norm.weight";
    expect((await readPieces({ ...piecesOf("mpt"), crossAttentionEvery: 2 })).architecture.crossAttention.every).toBe(2);
    expect((await fault({ ...piecesOf("mpt"), crossAttentionEvery: 4 }))[0]).toBe("tensor_surplus");
    expect((await fault({ ...piecesOf("mpt"), crossAttentionEvery: 1 }))[0]).toBe("tensor_missing");
    expect(await fault(withCheckpoint("mpt", remove(tensors)))).toEqual(["tensor_missing", tensors]);
  });

  const gated = "lang_encoder.transformer.blocks.0.gated_cross_attn_layer.ff.1.weight";
  const listed = "lang_encoder.gated_cross_attn_layers.0.ff.1.weight";
  test("a copy in the list of cross attention layers is left out where it is equal, and refused where it isn't", async () => {
    const { notes } = await readPieces(await withCheckpoint("video", copyAs(gated, listed)));
    expect(notes).toContain("checkpoint: left out 1 tensors that it holds twice or that equal the language model's");
    expect(await fault(withCheckpoint("video", copyAs(gated, listed, true)))).toEqual(["tensor_surplus", listed]);
  });

  test("a checkpoint that holds the cross attention in the list only is read", async () => {
    const { architecture } = await readPieces(
      await withCheckpoint("video", (tensors) => {
        for (const [name, tensor] of tensors) {
          const match = /^lang_encoder\.transformer\.blocks\.(\d+)\.gated_cross_attn_layer\.(.+)$/.exec(name);
          if (match === null) continue;
          tensors.delete(name);
          tensors.set(`lang_encoder.gated_cross_attn_layers.${match[1]}.${match[2]}`, tensor);
        }
      }),
    );
    expect(architecture.crossAttention.every).toBe(1);
  });

  test.each(["lang_encoder.old_decoder_blocks.1.attn.Wqkv.weight", "lang_encoder.transformer.blocks.1.decoder_layer.attn.Wqkv.weight"])(
    "the language model's own tensor as %s is left out where it is equal, and refused where it isn't",
    async (name) => {
      const original = (await readWeights(join(piecesOf("video").languageModel, "pytorch_model.bin"))).tensors.get(
        "transformer.blocks.1.attn.Wqkv.weight",
      );
      if (original === undefined) throw new Error("the reference has changed");
      const bytes = await original.read();
      const put =
        (copy: Uint8Array): Change =>
        (tensors) => {
          tensors.set(name, held(name, original, copy));
        };
      expect((await readPieces(await withCheckpoint("video", put(bytes)))).notes.join()).toContain("left out 1 tensors");
      const other = bytes.slice();
      other[7] = (other[7] ?? 0) ^ 1;
      expect(await fault(withCheckpoint("video", put(other)))).toEqual(["tensor_surplus", name]);
    },
  );

  test("buffers of the old blocks are left out, whatever they hold", async () => {
    const from = "lang_encoder.gpt_neox.layers.0.decoder_layer.attention.rotary_emb.inv_freq";
    const pieces = await withCheckpoint(
      "neox-parallel",
      copyAs(from, "lang_encoder.old_decoder_blocks.0.attention.rotary_emb.inv_freq", true),
    );
    expect((await readPieces(pieces)).notes).toContain("checkpoint: left out 5 buffers of the language model's attention");
  });

  test("a tied head in the checkpoint must equal the input", async () => {
    const [input, head] = ["lang_encoder.transformer.wte.weight", "lang_encoder.lm_head.weight"];
    expect((await readPieces(await withCheckpoint("video", copyAs(input, head)))).tensors.has("decoder.head")).toBe(false);
    expect(await fault(withCheckpoint("video", copyAs(input, head, true)))).toEqual(["tensor_surplus", head]);
  });

  test.each([
    [{ attn_clip_qkv: 6 }, "attn_clip_qkv"],
    [{ alibi: false }, "alibi"],
    [{ logit_scale: 2 }, "logit_scale"],
    [{ prefix_lm: true }, "prefix_lm"],
    [{ model_type: "llama" }, "model_type"],
  ])("a setting that the decoder doesn't have is refused: %j", async (config, param) => {
    expect(await fault(withLanguageModel("video", "pytorch_model.bin", () => undefined, config))).toEqual([
      "model_piece_unsupported",
      param,
    ]);
  });

  test("MPT's attention settings may be partial or missing", async () => {
    for (const attention of [undefined, { alibi: true }, { qk_ln: false, alibi_bias_max: 8 }]) {
      const copy = join(folder, "mpt-lm");
      await cp(piecesOf("mpt").languageModel, copy, { recursive: true });
      const config = JSON.parse(await readFile(join(copy, "config.json"), "utf8")) as Record<string, unknown>;
      await writeFile(join(copy, "config.json"), JSON.stringify({ ...config, attn_config: attention }));
      expect((await readPieces({ ...piecesOf("mpt"), languageModel: copy })).architecture).toEqual(
        (await readPieces(piecesOf("mpt"))).architecture,
      );
    }
  });

  test("rotary positions are read from where newer libraries write them", async () => {
    const rotary = (config: Record<string, unknown>) =>
      withLanguageModel("neox-parallel", "model.safetensors", () => undefined, { rotary_pct: undefined, ...config });
    const { architecture } = await readPieces(
      await rotary({ rope_parameters: { rope_type: "default", rope_theta: 500, partial_rotary_factor: 0.5 } }),
    );
    expect(architecture.decoder.positions).toEqual({ kind: "rotary", width: 8, base: 500 });
    expect((await fault(rotary({ rope_parameters: { rope_type: "yarn" } })))[0]).toBe("model_piece_unsupported");
    expect((await fault(rotary({ rope_scaling: { type: "linear", factor: 2 } })))[0]).toBe("model_piece_unsupported");
    expect((await fault(rotary({ rotary_pct: 0.2 })))[0]).toBe("model_piece_unsupported");
  });

  test("shards and their index agree", async () => {
    const copy = join(folder, "sharded");
    await cp(piecesOf("mpt").languageModel, copy, { recursive: true });
    const indexPath = join(copy, "pytorch_model.bin.index.json");
    const { weight_map: map } = JSON.parse(await readFile(indexPath, "utf8")) as { weight_map: Record<string, string> };
    const pieces = { ...piecesOf("mpt"), languageModel: copy };
    const name = "transformer.blocks.2.norm_1.weight";
    await writeFile(indexPath, JSON.stringify({ weight_map: Object.fromEntries(Object.entries(map).filter(([key]) => key !== name)) }));
    expect(await fault(pieces)).toEqual(["tensor_surplus", name]);
    await writeFile(indexPath, JSON.stringify({ weight_map: { ...map, "transformer.blocks.9.norm_1.weight": map[name] } }));
    expect(await fault(pieces)).toEqual(["tensor_missing", "transformer.blocks.9.norm_1.weight"]);
    await writeFile(indexPath, JSON.stringify({ weight_map: { ...map, [name]: "../../etc/passwd" } }));
    expect((await fault(pieces))[0]).toBe("model_piece_corrupt");
    await writeFile(indexPath, JSON.stringify({ weight_map: map }));
    await rm(join(copy, map[name] ?? ""));
    expect((await fault(pieces))[0]).toBe("model_piece_missing");
  });

  test("without a configuration the activation of a plain file isn't guessed, and a traced one tells it", async () => {
    const lone = join(folder, "lone");
    await mkdir(lone);
    await cp(piecesOf("video").vision, join(lone, "weights.safetensors"));
    expect((await fault({ ...piecesOf("video"), vision: join(lone, "weights.safetensors") }))[0]).toBe("model_piece_missing");
    await cp(piecesOf("neox-parallel").vision, join(lone, "ViT.pt"));
    // Heads are then 64 wide, which this tower of 32 can't have: named, not rounded.
    expect(await fault({ ...piecesOf("neox-parallel"), vision: join(lone, "ViT.pt") })).toEqual(["model_piece_unsupported", null]);
    const { architecture } = await readPieces({
      ...piecesOf("neox-parallel"),
      vision: join(lone, "ViT.pt"),
      visionConfig: { vision_cfg: { head_width: 16 } },
    });
    expect(architecture.vision).toMatchObject({ heads: 2, activation: "quick_gelu" });
  });

  test("a missing file is named", async () => {
    expect((await fault({ ...piecesOf("video"), checkpoint: join(folder, "none.pt") }))[0]).toBe("model_piece_missing");
    expect((await fault({ ...piecesOf("video"), languageModel: folder }))[0]).toBe("model_piece_missing");
  });
});
