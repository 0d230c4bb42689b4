"""Writes a milestone as an OpenFlamingo model in its published pieces: open_clip vision weights, a Hugging Face MPT folder and
checkpoint.pt, all fp16. The project's importer reads them like anyone's.

    python export.py --state DIR --milestone DIR/milestones/007000.pt --pieces FOLDER
"""
import argparse
import json
import os
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from corpus import Texts
from flamingo import Sizes


def write_json(path, value):
    path.write_text(json.dumps(value, indent=1) + "\n")


def vision_config(sizes):
    return {
        "embed_dim": sizes.embedding,
        "quick_gelu": True,
        "vision_cfg": {
            "image_size": sizes.image,
            "layers": sizes.vision_layers,
            "width": sizes.vision_width,
            "head_width": sizes.vision_head_width,
            "patch_size": sizes.patch,
        },
    }


def language_model_config(sizes, padded):
    return {
        "architectures": ["MptForCausalLM"],
        "attn_config": {
            "alibi": True,
            "alibi_bias_max": 8,
            "attn_impl": "torch",
            "attn_pdrop": 0.0,
            "attn_type": "multihead_attention",
            "attn_uses_sequence_id": False,
            "clip_qkv": None,
            "prefix_lm": False,
            "qk_ln": False,
            "softmax_scale": None,
        },
        "d_model": sizes.width,
        "emb_pdrop": 0.0,
        "expansion_ratio": 4,
        "initializer_range": 0.02,
        "layer_norm_epsilon": 1e-05,
        "learned_pos_emb": True,
        "logit_scale": None,
        "max_seq_len": 1024,
        "model_type": "mpt",
        "n_heads": sizes.heads,
        "n_layers": sizes.layers,
        "no_bias": True,
        "norm_type": "low_precision_layernorm",
        "resid_pdrop": 0.0,
        "torch_dtype": "float16",
        "use_cache": False,
        "vocab_size": padded,
    }


def export(state, milestone, pieces):
    world = json.loads((state / "dataset" / "training" / "world.json").read_text())
    texts = Texts(state / "tokenizer.json", world)
    sizes = Sizes(vocabulary=texts.vocabulary)
    weights = {name: tensor.half().contiguous() for name, tensor in torch.load(milestone, map_location="cpu")["model"].items()}
    embedding = weights["transformer.wte.weight"]
    own = texts.tokenizer.get_vocab_size(with_added_tokens=True) - 2  # before Flamingo's tokens
    padded = -(-own // 64) * 64
    whole = torch.zeros(padded, sizes.width, dtype=torch.float16)
    whole[:own] = embedding[:own]

    parts = Path(f"{pieces}.part")
    shutil.rmtree(parts, ignore_errors=True)
    (parts / "vision").mkdir(parents=True)
    (parts / "lm").mkdir()
    save_file({n: t for n, t in weights.items() if n.startswith("visual.")}, str(parts / "vision" / "open_clip_model.safetensors"), {"format": "pt"})
    write_json(parts / "vision" / "open_clip_config.json", vision_config(sizes))

    blocks = {n: t for n, t in weights.items() if n.startswith("transformer.") and "gated_cross_attn_layer" not in n}
    blocks["transformer.wte.weight"] = whole
    save_file(blocks, str(parts / "lm" / "model.safetensors"), {"format": "pt"})
    write_json(parts / "lm" / "config.json", language_model_config(sizes, padded))
    shutil.copy(state / "tokenizer.json", parts / "lm" / "tokenizer.json")
    end = "<|endoftext|>"
    special = {"bos_token": end, "eos_token": end, "unk_token": end}
    write_json(parts / "lm" / "special_tokens_map.json", special)
    write_json(parts / "lm" / "tokenizer_config.json", {**special, "clean_up_tokenization_spaces": False, "tokenizer_class": "PreTrainedTokenizerFast"})

    checkpoint = {n: t for n, t in weights.items() if n.startswith("perceiver.")}
    checkpoint["lang_encoder.transformer.wte.weight"] = embedding
    checkpoint.update({f"lang_encoder.{n}": t for n, t in weights.items() if "gated_cross_attn_layer" in n})
    checkpoint["lang_encoder.lm_head.weight"] = embedding.clone()
    torch.save(checkpoint, parts / "checkpoint.pt")
    write_json(
        parts / "model.json",
        {
            "kind": "mpt",
            "vision": "vision/open_clip_model.safetensors",
            "vision_form": "open_clip_safetensors",
            "vision_config": vision_config(sizes),
            "language_model": "lm",
            "language_model_form": "safetensors",
            "checkpoint": "checkpoint.pt",
            "checkpoint_form": "plain",
            "cross_attn_every_n_layers": 1,
            "dtypes": {"vision": "fp16", "lm": "fp16", "checkpoint": "fp16"},
            "max_frames": None,
        },
    )
    for path in parts.rglob("*.safetensors"):
        path.chmod(0o644)  # safetensors writes them for their owner only
    shutil.rmtree(pieces, ignore_errors=True)
    os.replace(parts, pieces)
    size = sum(path.stat().st_size for path in Path(pieces).rglob("*") if path.is_file())
    print(f"{milestone} -> {pieces}: {size / 1e6:.2f} MB")


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--state", type=Path, required=True)
    options.add_argument("--milestone", type=Path, required=True)
    options.add_argument("--pieces", type=Path, required=True)
    chosen = options.parse_args()
    export(chosen.state, chosen.milestone, chosen.pieces)
