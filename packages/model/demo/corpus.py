"""The rendered scenes as tensors and token ids: packs shards, trains the tokenizer, samples sequences, packs them into rows.
Every text comes from the shards' texts.jsonl, written by write-dataset.ts; none is made up here."""
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32) * 255
STD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32) * 255
SIDE = 64
PATCH_LABELS = 6  # shape, colour, size, place in the order of telling, the centre's x and y
EXAMPLE_TASKS = ("colours", "shapes", "count")


def pack_shards(folder, log=print):
    """Resizes each shard's drawn pixels to the model's size with Pillow's bicubic, the very filter of the engine, and drops them."""
    for shard in sorted(Path(folder).glob("shard-????")):
        done, drawn = shard / "pixels.npy", shard / "drawn.u8"
        if not done.exists():
            pixel_sizes = [json.loads(line)["pixelSize"] for line in open(shard / "texts.jsonl")]
            raw = np.memmap(drawn, np.uint8, "r")
            out, offset = np.empty((len(pixel_sizes), SIDE, SIDE, 3), np.uint8), 0
            for i, size in enumerate(pixel_sizes):
                image = Image.fromarray(raw[offset : offset + size * size * 3].reshape(size, size, 3))
                out[i] = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC))
                offset += size * size * 3
            assert offset == len(raw), f"{drawn} doesn't match its texts"
            np.save(f"{done}.part.npy", out)
            os.replace(f"{done}.part.npy", done)
            log(f"packed {shard.name}")
        drawn.unlink(missing_ok=True)


class Scenes:
    """All whole shards of a folder, in memory."""

    def __init__(self, folder):
        shards = sorted(s for s in Path(folder).glob("shard-????") if (s / "pixels.npy").exists())
        self.pixels = np.concatenate([np.load(s / "pixels.npy") for s in shards])
        self.labels = np.concatenate([np.fromfile(s / "labels.u8", np.uint8).reshape(-1, 64, PATCH_LABELS) for s in shards])
        self.texts = [json.loads(line) for s in shards for line in open(s / "texts.jsonl")]
        assert len(self.pixels) == len(self.labels) == len(self.texts)
        weights = np.array([COUNT_WEIGHT[text["count"]] for text in self.texts])
        self.chance = weights / weights.sum()

    def __len__(self):
        return len(self.texts)

    def images(self, indices):  # -> (M, 3, 64, 64), normalised as CLIP's
        x = (self.pixels[indices].astype(np.float32) - MEAN) / STD
        return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def train_tokenizer(texts, world, path):
    """Byte-level BPE in GPT-NeoX's form, trained on the scenes' own texts; Flamingo's tokens are added later, as OpenFlamingo does."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=509,
        min_frequency=2,
        special_tokens=["<|endoftext|>", "<|padding|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    prompt = world["prompt"]

    def lines():
        for text in texts:
            for task in ("caption",) + EXAMPLE_TASKS:
                yield prompt["output"] + text[task]
            for asked in text["questions"]:
                yield prompt["question"] + asked["question"] + prompt["answer"] + asked["answer"]

    tokenizer.train_from_iterator(lines(), trainer)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(path))


@dataclass
class Sequence:
    """One task told over its images: token ids, which of its images each token sees (-1: none), the loss weight of each token."""

    ids: list
    image: list
    weight: list
    scenes: list
    answers: list  # (start, end) of each answer with its end token


class Texts:
    """Turns scenes' texts into sequences."""

    def __init__(self, tokenizer_path, world):
        tokenizer = Tokenizer.from_file(str(tokenizer_path))
        tokenizer.add_special_tokens([AddedToken(world["endOfChunk"], normalized=False), AddedToken(world["image"], normalized=False)])
        self.vocabulary = tokenizer.get_vocab_size() + 1  # <PAD> comes third
        self.pad = self.vocabulary - 1
        self.end = tokenizer.token_to_id(world["endOfChunk"])
        self.image = tokenizer.token_to_id(world["image"])
        self.tokenizer, self.prompt, self.seen = tokenizer, world["prompt"], {}

    def encode(self, text):
        # Pieces can be encoded apart: the pre-tokenizer splits where the prompt's pieces meet.
        ids = self.seen.get(text)
        if ids is None:
            ids = self.tokenizer.encode(text).ids
            if len(self.seen) < 50_000:
                self.seen[text] = ids
        return ids

    def sequence(self, task, scenes, indices, rng, text_only=(), weight=1.0, query_only=False, kind=None):
        """`task` over the scenes `indices`, told first over `text_only` without images. Answers weigh; prompts don't. A task that
        only examples tell can't be known at its first image, so the first answer doesn't weigh there."""
        made = Sequence([], [], [], list(indices), [])
        for place, index in enumerate(list(text_only) + list(indices)):
            number = place - len(text_only)
            text = scenes.texts[index]
            if task == "vqa":
                questions = [asked for asked in text["questions"] if kind in (None, asked["kind"])]
                weights = np.array([1.0 if query_only else QUESTION_WEIGHT[asked["kind"]] for asked in questions])
                asked = questions[rng.choice(len(questions), p=weights / weights.sum())]
                prompt, answer = self.prompt["question"] + asked["question"] + self.prompt["answer"], asked["answer"]
            else:
                prompt, answer = self.prompt["output"], text[task]
            prompt_ids = ([self.image] if number >= 0 else []) + self.encode(prompt)
            answer_ids = self.encode(answer) + [self.end]
            told = number >= 0 and (number > 0 or len(text_only) > 0 or task not in EXAMPLE_TASKS)
            if query_only:
                told = number == len(indices) - 1
            made.ids += prompt_ids + answer_ids
            made.image += [max(number, -1)] * (len(prompt_ids) + len(answer_ids))
            made.weight += [0.0] * len(prompt_ids) + [weight if told else 0.0] * len(answer_ids)
            if told:
                made.answers.append((len(made.ids) - len(answer_ids), len(made.ids)))
        return made


# Which share of the sequences tells which task, and how much an answer's token weighs there (captions have the most tokens already).
TASK_SHARE = {"caption": 0.38, "vqa": 0.46, "colours": 0.04, "shapes": 0.08, "count": 0.04}
TASK_WEIGHT = {"caption": 1.0, "vqa": 2.0, "colours": 1.0, "shapes": 1.0, "count": 1.5}
# Questions that must find an object by its shape, or judge all of them, are learned last: they are asked more often.
QUESTION_WEIGHT = {"exists": 3, "colour": 3, "count-shape": 3, "count-colour": 2, "relation": 1.5, "shape": 0.5, "size": 1.5, "count": 0.3}
# Single objects are soon known; two objects leave open which axis tells them apart, five are the most to keep in order.
COUNT_WEIGHT = {"1": 0.4, "2": 2.5, "3": 1.0, "4": 1.0, "5": 1.4}


def sample_sequences(texts, scenes, rng, count=64, pool_size=112):
    """`count` sequences over one pool of images: vision is computed once per image, however many tasks are told on it."""
    pool = rng.choice(len(scenes), pool_size, replace=False, p=scenes.chance)
    tasks = rng.choice(list(TASK_SHARE), count, p=list(TASK_SHARE.values()))
    sequences = []
    for task in tasks:
        if task in EXAMPLE_TASKS:
            images = 2 + rng.integers(4)
        elif task == "vqa":
            images = rng.choice([1, 2, 3, 4], p=[0.25, 0.15, 0.25, 0.35])
        else:
            images = rng.choice([1, 2, 3, 4], p=[0.35, 0.25, 0.2, 0.2])
        if rng.random() < 0.06:  # some longer ones: eight examples aren't strange later
            images += rng.integers(1, 5)
        # OpenFlamingo's "zero-shot" prompt: two solved examples without their images.
        text_only = rng.choice(len(scenes), 2) if task not in EXAMPLE_TASKS and rng.random() < 0.08 else ()
        chosen = rng.choice(pool, images, replace=False)
        sequences.append(texts.sequence(task, scenes, chosen, rng, text_only, TASK_WEIGHT[task]))
    return sequences


@dataclass
class Rows:
    ids: torch.Tensor  # (R, T)
    sequence: torch.Tensor  # (R, T), -1 on padding
    slot: torch.Tensor  # (R, T)
    weight: torch.Tensor  # (R, T), of the token as a target
    media: torch.Tensor  # (R, S), into `scenes`
    scenes: np.ndarray  # the distinct images


def pack_rows(sequences, pad, row_length=128):
    """First fit by falling length. Sequences beside each other in a row don't see each other (Layout)."""
    rows = []
    for number in sorted(range(len(sequences)), key=lambda i: -len(sequences[i].ids)):
        need = len(sequences[number].ids)
        for row in rows:
            if row["used"] + need <= row_length:
                break
        else:
            row = {"used": 0, "numbers": []}
            rows.append(row)
        row["used"] += need
        row["numbers"].append(number)
    length = max(row["used"] for row in rows)
    slots = max(sum(len(sequences[n].scenes) for n in row["numbers"]) for row in rows)
    scenes, inverse = np.unique(np.concatenate([s.scenes for s in sequences]), return_inverse=True)
    starts = np.cumsum([0] + [len(s.scenes) for s in sequences])
    shape = (len(rows), length)
    ids, owner, slot = np.full(shape, pad), np.full(shape, -1), np.full(shape, -1)
    weight, media = np.zeros(shape, np.float32), np.zeros((len(rows), slots), np.int64)
    for r, row in enumerate(rows):
        at = first_slot = 0
        for n in row["numbers"]:
            made = sequences[n]
            end = at + len(made.ids)
            ids[r, at:end], owner[r, at:end], weight[r, at:end] = made.ids, n, made.weight
            image = np.array(made.image)
            slot[r, at:end] = np.where(image < 0, -1, image + first_slot)
            media[r, first_slot : first_slot + len(made.scenes)] = inverse[starts[n] : starts[n + 1]]
            at, first_slot = end, first_slot + len(made.scenes)
    return Rows(*(torch.from_numpy(np.ascontiguousarray(x)) for x in (ids, owner, slot, weight, media)), scenes)
