"""OpenFlamingo's architecture in its own tensor names, for training from nothing: CLIP ViT, Perceiver Resampler, MPT with gated
cross attention before every layer. Owns the forward pass; reads no file and samples no text.

Letters in shapes: M images, P patches, N latents, R rows of packed text, T tokens of a row, S media slots of a row, h heads.
Several sequences may share a row (packed): `sequence` says whose token it is, `slot` which of the row's media it sees (-1: none).
"""
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

HEAD_WIDTH = 64  # of the resampler and of the cross attention, always


@dataclass(frozen=True)
class Sizes:
    image: int = 64
    patch: int = 8
    vision_width: int = 128
    vision_layers: int = 4
    vision_head_width: int = 32
    embedding: int = 64
    resampler_layers: int = 2
    latents: int = 16
    inner: int = 256
    width: int = 160
    layers: int = 4
    heads: int = 4
    vocabulary: int = 512


class BiaslessNorm(nn.Module):
    """LayerNorm without a bias, as MPT has it."""

    def __init__(self, width):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x):
        return F.layer_norm(x, self.weight.shape, self.weight, None, 1e-5)


def split_heads(x, heads):  # (B, T, h*w) -> (B, h, T, w)
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def attend(q, k, v, bias=None):  # (B, h, T, w) -> (B, T, h*w)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2)  # (B, h, T, K)
    if bias is not None:
        scores = scores + bias
    return (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)


class VisionAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)

    def forward(self, x):
        q, k, v = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, -1)
        return self.out_proj(attend(*(split_heads(t, self.heads) for t in (q, k, v))))


class VisionMlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x):
        x = self.c_fc(x)
        return self.c_proj(x * torch.sigmoid(1.702 * x))  # QuickGELU


class VisionBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = VisionAttention(width, heads)
        self.mlp = VisionMlp(width)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class VisionTransformer(nn.Module):
    """open_clip's names, from `visual.` on. Gives the raw patch tokens: no class token, no ln_post, no projection."""

    def __init__(self, sizes):
        super().__init__()
        width = sizes.vision_width
        self.patch = sizes.patch
        self.conv1 = nn.Conv2d(3, width, sizes.patch, sizes.patch, bias=False)
        self.class_embedding = nn.Parameter(torch.randn(width) * 0.1)
        self.positional_embedding = nn.Parameter(torch.randn((sizes.image // sizes.patch) ** 2 + 1, width) * 0.1)
        self.ln_pre, self.ln_post = nn.LayerNorm(width), nn.LayerNorm(width)
        self.proj = nn.Parameter(torch.randn(width, sizes.embedding) * width**-0.5)
        self.transformer = nn.Module()
        heads = width // sizes.vision_head_width
        self.transformer.resblocks = nn.ModuleList(VisionBlock(width, heads) for _ in range(sizes.vision_layers))

    def forward(self, pixels):  # (M, 3, H, W) -> (M, P, width)
        x = F.conv2d(pixels, self.conv1.weight, stride=self.patch).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1), x], 1) + self.positional_embedding
        x = self.ln_pre(x)
        for block in self.transformer.resblocks:
            x = block(x)
        return x[:, 1:]


def feed_forward(width):
    return nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 4 * width, bias=False), nn.GELU(), nn.Linear(4 * width, width, bias=False))


class PerceiverAttention(nn.Module):
    def __init__(self, width, inner):
        super().__init__()
        self.heads = inner // HEAD_WIDTH
        self.norm_media, self.norm_latents = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.Linear(inner, width, bias=False)

    def forward(self, media, latents):  # (M, P, width), (M, N, width) -> (M, N, width)
        media, latents = self.norm_media(media), self.norm_latents(latents)
        k, v = self.to_kv(torch.cat([media, latents], 1)).chunk(2, -1)
        return self.to_out(attend(*(split_heads(t, self.heads) for t in (self.to_q(latents), k, v))))


class PerceiverResampler(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        width = sizes.vision_width
        self.latents = nn.Parameter(torch.randn(sizes.latents, width) * 0.5)
        self.layers = nn.ModuleList(
            nn.ModuleList([PerceiverAttention(width, sizes.inner), feed_forward(width)]) for _ in range(sizes.resampler_layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, patches):  # (M, P, width) -> (M, N, width)
        latents = self.latents.expand(len(patches), -1, -1)
        for attention, forward in self.layers:
            latents = latents + attention(patches, latents)
            latents = latents + forward(latents)
        return self.norm(latents)


class MaskedCrossAttention(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.heads = sizes.inner // HEAD_WIDTH
        self.norm = nn.LayerNorm(sizes.width)
        self.to_q = nn.Linear(sizes.width, sizes.inner, bias=False)
        self.to_kv = nn.Linear(sizes.vision_width, 2 * sizes.inner, bias=False)
        self.to_out = nn.Linear(sizes.inner, sizes.width, bias=False)

    def forward(self, x, latents, layout):  # (R, T, width), (M, N, vision width)
        # K and V once per image, then handed to every row that shows it.
        kv = self.to_kv(latents)[layout.media].flatten(1, 2)  # (R, S*N, 2*inner)
        k, v = (split_heads(t, self.heads) for t in kv.chunk(2, -1))
        out = attend(split_heads(self.to_q(self.norm(x)), self.heads), k, v, layout.media_bias)
        return self.to_out(out * layout.sees_media)  # before the first image: zero


class GatedCrossAttention(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.attn = MaskedCrossAttention(sizes)
        self.attn_gate = nn.Parameter(torch.tensor([0.5]))
        self.ff = feed_forward(sizes.width)
        self.ff_gate = nn.Parameter(torch.tensor([0.5]))

    def forward(self, x, latents, layout):
        x = x + self.attn_gate.tanh() * self.attn(x, latents, layout)
        return x + self.ff_gate.tanh() * self.ff(x)


class DecoderAttention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.Wqkv = nn.Linear(width, 3 * width, bias=False)
        self.out_proj = nn.Linear(width, width, bias=False)

    def forward(self, x, bias):
        q, k, v = self.Wqkv(x).chunk(3, -1)
        return self.out_proj(attend(*(split_heads(t, self.heads) for t in (q, k, v)), bias))


class DecoderBlock(nn.Module):
    """MPT's block, and before it OpenFlamingo's gated cross attention."""

    def __init__(self, sizes):
        super().__init__()
        width = sizes.width
        self.gated_cross_attn_layer = GatedCrossAttention(sizes)
        self.norm_1, self.norm_2 = BiaslessNorm(width), BiaslessNorm(width)
        self.attn = DecoderAttention(width, sizes.heads)
        self.ffn = nn.Module()
        self.ffn.up_proj = nn.Linear(width, 4 * width, bias=False)
        self.ffn.down_proj = nn.Linear(4 * width, width, bias=False)

    def forward(self, x, latents, layout):
        x = self.gated_cross_attn_layer(x, latents, layout)
        x = x + self.attn(self.norm_1(x), layout.text_bias)
        return x + self.ffn.down_proj(F.gelu(self.ffn.up_proj(self.norm_2(x))))


class Layout:
    """Who sees what in packed rows, as biases that every layer adds to its scores."""

    NEVER = -1e4

    def __init__(self, sizes, sequence, slot, media):  # (R, T), (R, T), (R, S)
        length = sequence.shape[1]
        ago = torch.arange(length)[:, None] - torch.arange(length)[None, :]
        slopes = 2.0 ** (-8.0 * torch.arange(1, sizes.heads + 1) / sizes.heads)
        alibi = -slopes[:, None, None] * ago  # (h, T, T)
        visible = (sequence[:, :, None] == sequence[:, None, :]) & (ago >= 0)
        self.text_bias = torch.where(visible[:, None], alibi[None], torch.tensor(self.NEVER))  # (R, h, T, T)
        of_slot = torch.arange(media.shape[1]).repeat_interleave(sizes.latents)  # (S*N)
        self.media_bias = (slot[:, :, None] != of_slot).float()[:, None] * self.NEVER  # (R, 1, T, S*N)
        self.sees_media = (slot >= 0).float()[:, :, None]  # (R, T, 1)
        self.media = media


class Flamingo(nn.Module):
    def __init__(self, sizes):
        super().__init__()
        self.sizes = sizes
        self.visual = VisionTransformer(sizes)
        self.perceiver = PerceiverResampler(sizes)
        self.transformer = nn.Module()
        self.transformer.wte = nn.Embedding(sizes.vocabulary, sizes.width)
        self.transformer.blocks = nn.ModuleList(DecoderBlock(sizes) for _ in range(sizes.layers))
        self.transformer.norm_f = BiaslessNorm(sizes.width)
        self.apply(self._start)
        nn.init.normal_(self.transformer.wte.weight, std=0.05)
        for block in self.visual.transformer.resblocks:
            nn.init.normal_(block.attn.in_proj_weight, std=sizes.vision_width**-0.5 * 0.8)

    @staticmethod
    def _start(module):
        if isinstance(module, (nn.Linear, nn.Conv2d)):
            fan_in = module.weight[0].numel()
            nn.init.normal_(module.weight, std=0.8 * fan_in**-0.5)
            if module.bias is not None:
                nn.init.zeros_(module.bias)

    def latents_of(self, pixels):  # (M, 3, H, W) -> (M, N, vision width)
        return self.perceiver(self.visual(pixels))

    def decode(self, ids, layout, latents, at=None):
        """Logits at every position (R, T, vocabulary), or only where the boolean `at` (R, T) says so: (picked, vocabulary)."""
        x = self.transformer.wte(ids)
        for block in self.transformer.blocks:
            x = block(x, latents, layout)
        x = self.transformer.norm_f(x)
        return F.linear(x if at is None else x[at], self.transformer.wte.weight)
