"""OpenFlamingo's own PyTorch code at the 3B shape with random weights: seconds per caption, one JSON line per number of shots.

    python open_flamingo_peer.py --shots 0 4 32 --batches 8 4 1 --beams 3 --new-tokens 20 --shot-tokens 16 --query-tokens 8
"""
import argparse
import json
import time

import open_clip
import torch
from open_flamingo.src.flamingo import Flamingo
from open_flamingo.src.flamingo_lm import FlamingoLMMixin
from open_flamingo.src.utils import extend_instance
from transformers import MptConfig, MptForCausalLM

VOCABULARY = 50_280
END_OF_CHUNK, IMAGE = VOCABULARY - 3, VOCABULARY - 2


def build():
    vision, _, _ = open_clip.create_model_and_transforms("ViT-L-14", pretrained=None)
    vision.visual.output_tokens = True
    # transformers' MPT turns its cache off by itself: without it the peer would be several times slower still.
    config = MptConfig(d_model=2048, n_heads=16, n_layers=24, expansion_ratio=4, max_seq_len=2048, vocab_size=VOCABULARY, use_cache=True)
    language_model = MptForCausalLM(config)
    extend_instance(language_model, FlamingoLMMixin)
    language_model.set_decoder_layers_attr_name("transformer.blocks")
    model = Flamingo(vision, language_model, END_OF_CHUNK, IMAGE, vis_dim=1024, cross_attn_every_n_layers=1)
    return model.eval()


@torch.inference_mode()
def seconds_per_caption(model, shots, batch, options):
    shot = [IMAGE] + [5] * (options.shot_tokens - 2) + [END_OF_CHUNK]
    tokens = torch.tensor([shot * shots + [IMAGE] + [7] * (options.query_tokens - 1)] * batch)
    images = torch.randn(batch, shots + 1, 1, 3, 224, 224)
    started = time.perf_counter()
    made = model.generate(
        vision_x=images,
        lang_x=tokens,
        attention_mask=torch.ones_like(tokens),
        num_beams=options.beams,
        max_new_tokens=options.new_tokens,
        min_new_tokens=options.new_tokens,
        use_cache=True,
    )
    seconds = time.perf_counter() - started
    assert made.shape[1] == tokens.shape[1] + options.new_tokens, made.shape
    return seconds / batch


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--shots", type=int, nargs="+", default=[0, 4, 32])
    arguments.add_argument("--batches", type=int, nargs="+", default=[8, 4, 1])
    arguments.add_argument("--beams", type=int, default=3)
    arguments.add_argument("--new-tokens", type=int, default=20)
    arguments.add_argument("--shot-tokens", type=int, required=True)
    arguments.add_argument("--query-tokens", type=int, required=True)
    arguments.add_argument("--threads", type=int, default=2)
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    model = build()
    for shots, batch in zip(options.shots, options.batches):
        seconds = seconds_per_caption(model, shots, batch, options)
        print(json.dumps({"shots": shots, "batch": batch, "seconds_per_caption": round(seconds, 3)}), flush=True)


if __name__ == "__main__":
    main()
