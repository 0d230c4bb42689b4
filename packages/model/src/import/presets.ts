/**
 * The five released OpenFlamingo models as data: where their pieces lie on the Hugging Face Hub, the architecture they must make, their tokens, and what is odd about them.
 * Owns these facts (docs/presets.md says how each was verified); refuses reading anything: a preset is held against what was read by expectation.ts.
 */
import type { Architecture } from "../architecture.ts";
import type { LanguageModelNames } from "./decoder-family.ts";
import { alibiSlopes, mptFamily } from "./mpt.ts";
import { neoxFamily } from "./neox.ts";
import type { SpecialTokens } from "./tokenizer-file.ts";

/** One piece on the Hub. */
export interface HubPiece {
  /** Owner and name. */
  readonly repository: string;
  /** Branch, tag or commit. */
  readonly revision: string;
  /** The files that the import needs, the weights (or the first of their shards) first. */
  readonly files: readonly [string, ...string[]];
  /** Files that the import reads where they are there. */
  readonly optionalFiles: readonly string[];
}

/** What is odd about a released model, and dealt with; `quirks` says it in words. */
export type Quirk = keyof typeof quirks;

export interface Preset {
  readonly name: string;
  readonly pieces: { readonly vision: HubPiece; readonly languageModel: HubPiece; readonly checkpoint: HubPiece };
  /** What the pieces make together, number by number. */
  readonly architecture: Architecture;
  /** Where the language model keeps what Flamingo touches; the checkpoint has the same names under `lang_encoder.`. */
  readonly names: LanguageModelNames;
  readonly tokenizer: {
    /** Tokens of the language model's own tokenizer; its embeddings have more rows. */
    readonly ownSize: number;
    readonly specialTokens: SpecialTokens;
  };
  readonly quirks: readonly Quirk[];
}

export const quirks = {
  text_tower: "The vision file holds CLIP's text tower too: left out.",
  padded_vocabulary:
    "The language model's embeddings are padded past its tokenizer: the checkpoint's, of the tokenizer's size, replace all their rows.",
  no_pad_token: "The tokenizer has no pad token: <PAD> is added after <|endofchunk|> and <image>.",
  tied_head: "The language model has no output head of its own: the checkpoint's input embeddings serve as both.",
  query_key_norm: "Queries and keys pass a LayerNorm over their whole width before they are split into heads.",
  shards: "The language model's weights lie in several files with an index.",
  attention_buffers:
    "The language model's file holds its attention's buffers (causal masks, rounded rotary frequencies): left out, and computed by the graph.",
  checkpoint_buffers: "The checkpoint holds buffers of the language model's attention as well: left out.",
  older_copies:
    "Older revisions of the checkpoint carry a prefix `module.`, or copies of the language model's own tensors: copies that equal the original are left out, others refused.",
} as const;

const vision: Architecture["vision"] = {
  imageSize: 224,
  patchSize: 14,
  width: 1024,
  layers: 24,
  heads: 16,
  mlpWidth: 4096,
  activation: "quick_gelu",
  embeddingWidth: 768,
};
const resampler: Architecture["resampler"] = { layers: 6, latents: 64, innerWidth: 512, feedForwardWidth: 4096, maxFrames: null };
const visionPiece = hubPiece("openai/clip-vit-large-patch14", ["model.safetensors", "config.json"]);
const checkpointPiece = (name: string): HubPiece => hubPiece(`openflamingo/${name}`, ["checkpoint.pt"]);
const languageModelPiece = (repository: string, weights: HubPiece["files"] = ["pytorch_model.bin"]): HubPiece => ({
  ...hubPiece(repository, [...weights, "config.json", "tokenizer.json"]),
  optionalFiles: ["tokenizer_config.json", "special_tokens_map.json"],
});

/** All five tokenize as GPT-NeoX-20B does: 50,277 tokens, of which `<|endoftext|>` is the first. */
const tokenizer = { ownSize: 50_277, specialTokens: { endOfChunk: 50_277, image: 50_278, pad: 50_279, endOfText: 0 } } as const;
const vocabularySize = tokenizer.ownSize + 3;
const sharedQuirks = ["text_tower", "padded_vocabulary", "no_pad_token"] as const;

const mpt1b: Architecture["decoder"] = {
  width: 2048,
  layers: 24,
  heads: 16,
  mlpWidth: 8192,
  vocabularySize,
  maxPositions: 2048,
  positions: { kind: "alibi", slopes: alibiSlopes(16, 8) },
  queryKeyNorm: true,
  residual: "sequential",
  layerNormEps: 1e-5,
  softmaxScale: 1 / Math.sqrt(128),
  tiedHead: true,
};
const mpt7b: Architecture["decoder"] = {
  ...mpt1b,
  width: 4096,
  layers: 32,
  heads: 32,
  mlpWidth: 16_384,
  positions: { kind: "alibi", slopes: alibiSlopes(32, 8) },
  queryKeyNorm: false,
};
const redPajama3b: Architecture["decoder"] = {
  ...mpt1b,
  width: 2560,
  layers: 32,
  heads: 32,
  mlpWidth: 10_240,
  positions: { kind: "rotary", width: 80, base: 10_000 },
  queryKeyNorm: false,
  softmaxScale: 1 / Math.sqrt(80),
  tiedHead: false,
};

export const presets: readonly Preset[] = [
  {
    name: "openflamingo-3b-vitl-mpt1b",
    pieces: {
      vision: visionPiece,
      languageModel: languageModelPiece("anas-awadalla/mpt-1b-redpajama-200b"),
      checkpoint: checkpointPiece("OpenFlamingo-3B-vitl-mpt1b"),
    },
    architecture: flamingo(mpt1b, 1),
    names: mptFamily.names,
    tokenizer,
    quirks: [...sharedQuirks, "tied_head", "query_key_norm", "older_copies"],
  },
  {
    name: "openflamingo-3b-vitl-mpt1b-langinstruct",
    pieces: {
      vision: visionPiece,
      languageModel: languageModelPiece("anas-awadalla/mpt-1b-redpajama-200b-dolly"),
      checkpoint: checkpointPiece("OpenFlamingo-3B-vitl-mpt1b-langinstruct"),
    },
    architecture: flamingo(mpt1b, 1),
    names: mptFamily.names,
    tokenizer,
    quirks: [...sharedQuirks, "tied_head", "query_key_norm"],
  },
  {
    name: "openflamingo-4b-vitl-rpj3b",
    pieces: {
      vision: visionPiece,
      languageModel: languageModelPiece("togethercomputer/RedPajama-INCITE-Base-3B-v1"),
      checkpoint: checkpointPiece("OpenFlamingo-4B-vitl-rpj3b"),
    },
    architecture: flamingo(redPajama3b, 2),
    names: neoxFamily.names,
    tokenizer,
    quirks: [...sharedQuirks, "attention_buffers", "checkpoint_buffers"],
  },
  {
    name: "openflamingo-4b-vitl-rpj3b-langinstruct",
    pieces: {
      vision: visionPiece,
      languageModel: languageModelPiece("togethercomputer/RedPajama-INCITE-Instruct-3B-v1"),
      checkpoint: checkpointPiece("OpenFlamingo-4B-vitl-rpj3b-langinstruct"),
    },
    architecture: flamingo(redPajama3b, 2),
    names: neoxFamily.names,
    tokenizer,
    quirks: [...sharedQuirks, "attention_buffers", "older_copies"],
  },
  {
    name: "openflamingo-9b-vitl-mpt7b",
    pieces: {
      vision: visionPiece,
      languageModel: languageModelPiece("anas-awadalla/mpt-7b", [
        "pytorch_model-00001-of-00003.bin",
        "pytorch_model-00002-of-00003.bin",
        "pytorch_model-00003-of-00003.bin",
        "pytorch_model.bin.index.json",
      ]),
      checkpoint: checkpointPiece("OpenFlamingo-9B-vitl-mpt7b"),
    },
    architecture: flamingo(mpt7b, 4),
    names: mptFamily.names,
    tokenizer,
    quirks: [...sharedQuirks, "tied_head", "shards"],
  },
];

export function findPreset(name: string): Preset | undefined {
  return presets.find((preset) => preset.name === name);
}

function hubPiece(repository: string, files: HubPiece["files"]): HubPiece {
  return { repository, revision: "main", files, optionalFiles: [] };
}

function flamingo(decoder: Architecture["decoder"], every: number): Architecture {
  return { vision, resampler, crossAttention: { every, innerWidth: 512, feedForwardWidth: 4 * decoder.width }, decoder };
}
