"""Trains the demo model in two stages; stopped at any moment, it goes on from its last checkpoint as if nothing had happened
(every batch follows from the step's number). Stage one: the ViT alone, each patch told what lies on it: shape, colour, size, its place
in the order of telling, and where its centre is. Stage two: everything, while the patches are still told.

    python train.py --state DIR            train (or go on)
    python train.py --state DIR --evaluate MILESTONE   the held-out figures of a milestone, rounded to fp16 as shipped
"""
import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from corpus import EXAMPLE_TASKS, QUESTION_WEIGHT, Scenes, Texts, pack_rows, pack_shards, sample_sequences, train_tokenizer
from flamingo import Flamingo, Layout, Sizes
from optimiser import Optimisers, rate_at

UNLABELLED = 255
SIGHT_BATCH, SIGHT_RATE = 96, 1.5e-3
RATE, VISION_SHARE, CLIP = 1.5e-3, 0.3, 1.0
SIGHT_SHARE = 0.3  # of stage one's loss in stage two
EVALUATE_EVERY, SAVE_EVERY_S = 250, 180


def log(message):
    print(f"{time.strftime('%H:%M:%S')} {message}", flush=True)


class State:
    """What a restart needs: written whole (a temporary name, then a rename)."""

    def __init__(self, path):
        self.path, self.saved_at = Path(path), time.monotonic()

    def load(self):
        return torch.load(self.path, map_location="cpu") if self.path.exists() else None

    def save(self, **what):
        torch.save(what, f"{self.path}.part")
        os.replace(f"{self.path}.part", self.path)
        self.saved_at = time.monotonic()

    def due(self):
        return time.monotonic() - self.saved_at > SAVE_EVERY_S


class Sight(nn.Module):
    """Linear heads on the raw patch tokens: what lies there, in which place it is told, and where its centre is. Only for training."""

    def __init__(self, width, world):
        super().__init__()
        self.classes = [world[of] + 1 for of in ("shapes", "colours", "sizes", "places")]
        self.head = nn.Linear(width, sum(self.classes) + 2)

    def forward(self, patches):  # (M, P, width) -> four of (M*P, classes), and the centre (M*P, 2) in units of 64
        *kinds, centre = self.head(patches).flatten(0, 1).split([*self.classes, 2], -1)
        return kinds, centre

    def loss(self, patches, labels):  # (M, P, width), (M*P, 6)
        kinds, centre = self(patches)
        located = labels[:, 4] != UNLABELLED
        # The world's margins are 5 and 8 units: from two units' error on, it is linear.
        total = 0.5 * F.smooth_l1_loss(centre.float()[located] * 32, labels[located, 4:].float() / 8)
        for i, output in enumerate(kinds):
            # Ground is two thirds of all patches and soon known: it weighs a third.
            weight = torch.ones(output.shape[1])
            weight[-1] = 0.33
            total = total + F.cross_entropy(output.float(), labels[:, i], weight, ignore_index=UNLABELLED)
        return total


def labels_of(scenes, indices):  # (M*P, 6)
    return torch.from_numpy(scenes.labels[indices].astype(np.int64)).flatten(0, 1)


def train_sight(model, sight, scenes, development, folder, steps, autocast):
    both = nn.ModuleDict({"visual": model.visual, "sight": sight})
    optimiser = Optimisers(both.named_parameters(), 1.0)
    state, start = State(folder / "sight.pt"), 0
    if (saved := state.load()) is not None:
        both.load_state_dict(saved["model"]), optimiser.load_state_dict(saved["optimiser"])
        start = saved["step"]
    began = time.monotonic()
    for step in range(start, steps):
        indices = np.random.default_rng([1, step]).integers(len(scenes), size=SIGHT_BATCH)
        with autocast():
            patches = model.visual(scenes.images(indices))
            loss = sight.loss(patches, labels_of(scenes, indices))
        loss.backward()
        nn.utils.clip_grad_norm_(both.parameters(), CLIP)
        optimiser.step(SIGHT_RATE * rate_at(step, steps, 100))
        if (step + 1) % 100 == 0:
            right = sight_accuracy(model, sight, development)
            each = (time.monotonic() - began) / (step + 1 - start)
            log(f"sight {step + 1}/{steps} loss {loss.item():.3f} object patches right {right} {each:.2f} s/step")
        if state.due() or step + 1 == steps:
            state.save(model=both.state_dict(), optimiser=optimiser.state_dict(), step=step + 1)


@torch.no_grad()
def sight_accuracy(model, sight, scenes):
    indices = np.arange(len(scenes))
    labels, shares = labels_of(scenes, indices), []
    kinds, centre = sight(model.visual(scenes.images(indices)))
    for i, output in enumerate(kinds):
        counted = (labels[:, i] != UNLABELLED) & (labels[:, i] != output.shape[1] - 1)
        shares.append((output.argmax(-1) == labels[:, i])[counted].float().mean().item())
    located = labels[:, 4] != UNLABELLED
    apart = (centre[located] * 64 - labels[located, 4:] / 4).abs().mean()
    return " ".join(f"{name} {share:.3f}" for name, share in zip(("shape", "colour", "size", "place"), shares)) + f", centre {apart:.2f} units off"


def forward(model, rows, scenes):
    """Logits where the next token weighs, those next tokens, their weights and sequences; and the patches. (picked, vocabulary), (picked) × 3"""
    at = torch.zeros_like(rows.weight, dtype=torch.bool)
    at[:, :-1] = rows.weight[:, 1:] > 0
    layout = Layout(model.sizes, rows.sequence, rows.slot, rows.media)
    patches = model.visual(scenes.images(rows.scenes))
    logits = model.decode(rows.ids, layout, model.perceiver(patches), at)
    return logits, rows.ids.roll(-1, 1)[at], rows.weight.roll(-1, 1)[at], rows.sequence[at], patches


@torch.no_grad()
def exact(model, sequences, scenes, pad):
    """The share of sequences whose told answers greedy decoding would give exactly: it does so where, after the true beginning, every
    next token is the most likely one, so one pass tells it."""
    right = np.ones(len(sequences), bool)
    for start in range(0, len(sequences), 100):
        rows = pack_rows(sequences[start : start + 100], pad)
        logits, targets, _, owner, _ = forward(model, rows, scenes)
        right[start + owner[logits.argmax(-1) != targets].unique().numpy()] = False
    return right


def evaluate(model, texts, scenes, count, full=False):
    """Exact answers on held-out scenes; the examples before a query are other held-out scenes."""
    plans = [("caption", 0), ("vqa", 0)] + [(task, 3) for task in EXAMPLE_TASKS]
    if full:
        plans += [("caption", 4), ("caption", 8), ("caption", "text"), ("vqa", 4)] + [(task, n) for task in EXAMPLE_TASKS for n in (0, 1, 8)]
    figures = {}
    for task, shots in plans:
        rng = np.random.default_rng([7, len(figures)])
        sequences = []
        for query in range(count):
            others = rng.choice(np.delete(np.arange(len(scenes)), query), 8, replace=False)
            text_only = others[:2] if shots == "text" else ()
            support = [] if shots == "text" else list(others[:shots])
            sequences.append(texts.sequence(task, scenes, support + [query], rng, text_only, query_only=True))
        right = exact(model, sequences, scenes, texts.pad)
        figures[f"{task}@{shots}"] = round(float(right.mean()), 4)
        if full and task == "caption" and shots == 0:
            amount = np.array([int(scenes.texts[i]["count"]) for i in range(count)])
            for n in range(1, 6):
                figures[f"caption@0, {n} objects"] = round(float(right[amount == n].mean()), 4)
    if full:
        for kind in QUESTION_WEIGHT:
            rng = np.random.default_rng(8)
            asked = [i for i in range(count) if any(question["kind"] == kind for question in scenes.texts[i]["questions"])]
            sequences = [texts.sequence("vqa", scenes, [i], rng, query_only=True, kind=kind) for i in asked]
            figures[f"vqa@0, {kind}"] = round(float(exact(model, sequences, scenes, texts.pad).mean()), 4)
    return figures


def train_all(model, sight, texts, scenes, development, folder, steps, autocast):
    optimiser = Optimisers([*model.named_parameters(), *sight.named_parameters()], VISION_SHARE)
    state, start = State(folder / "state.pt"), 0
    milestones = folder / "milestones"
    milestones.mkdir(exist_ok=True)
    if (saved := state.load()) is not None:
        model.load_state_dict(saved["model"]), sight.load_state_dict(saved["sight"]), optimiser.load_state_dict(saved["optimiser"])
        start = saved["step"]
        log(f"going on from step {start}")
    began, losses = time.monotonic(), []
    for step in range(start, steps):
        sequences = sample_sequences(texts, scenes, np.random.default_rng([2, step]))
        rows = pack_rows(sequences, texts.pad)
        with autocast():
            logits, targets, weight, _, patches = forward(model, rows, scenes)
            seen = sight.loss(patches, labels_of(scenes, rows.scenes))
        told = (F.cross_entropy(logits.float(), targets, reduction="none") * weight).sum() / weight.sum()
        loss = told + SIGHT_SHARE * seen
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimiser.step(RATE * rate_at(step, steps))
        losses.append((told.item(), seen.item()))
        done = step + 1
        if done % 50 == 0:
            each = (time.monotonic() - began) / (done - start)
            told, seen = np.mean(losses[-50:], 0)
            log(f"step {done}/{steps} loss {told:.4f} (patches {seen:.3f}) {each:.2f} s/step, {each * (steps - done) / 60:.0f} min left")
        if done % EVALUATE_EVERY == 0 or done == steps:
            log(f"development {json.dumps(evaluate(model, texts, development, len(development)))}")
        if done % 1000 == 0 or done == steps:
            torch.save({"model": model.state_dict(), "step": done}, milestones / f"{done:06d}.pt")
        if state.due() or done == steps:
            state.save(model=model.state_dict(), sight=sight.state_dict(), optimiser=optimiser.state_dict(), step=done)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--state", type=Path, required=True)
    options.add_argument("--sight-steps", type=int, default=1200)
    options.add_argument("--steps", type=int, default=2000, help="planned end of the cosine")
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--bf16", action="store_true", help="matrix products in bfloat16, where the processor has them")
    options.add_argument("--evaluate", type=Path, help="a milestone: print its held-out figures and stop")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    torch.manual_seed(10)
    dataset = chosen.state / "dataset"
    world = json.loads((dataset / "training" / "world.json").read_text())
    tokenizer = chosen.state / "tokenizer.json"

    if chosen.evaluate:
        pack_shards(dataset / "held-out", log)
        texts, held_out = Texts(tokenizer, world), Scenes(dataset / "held-out")
        model = Flamingo(Sizes(vocabulary=texts.vocabulary)).eval()
        weights = torch.load(chosen.evaluate)["model"]
        model.load_state_dict({name: tensor.half().float() for name, tensor in weights.items()})
        print(json.dumps(evaluate(model, texts, held_out, len(held_out), full=True), indent=1))
        return

    for name in ("development", "training"):
        pack_shards(dataset / name, log)
    scenes, development = Scenes(dataset / "training"), Scenes(dataset / "development")
    if not tokenizer.exists():
        train_tokenizer(scenes.texts[:10_000], world, tokenizer)
    texts = Texts(tokenizer, world)
    model = Flamingo(Sizes(vocabulary=texts.vocabulary))
    log(f"{len(scenes)} scenes, vocabulary {texts.vocabulary}, {sum(p.numel() for p in model.parameters()) / 1e6:.2f}M parameters")

    def autocast():
        return torch.autocast("cpu", torch.bfloat16, enabled=chosen.bf16)

    sight = Sight(model.sizes.vision_width, world)
    train_sight(model, sight, scenes, development, chosen.state, chosen.sight_steps, autocast)
    train_all(model, sight, texts, scenes, development, chosen.state, chosen.steps, autocast)


if __name__ == "__main__":
    main()
