"""The Diffusion Transformer in PyTorch, beside which the engine's is measured."""

import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

# Depth, width, heads.
SIZES = {
    "DiT-Mini": (4, 128, 4),
    "DiT-S": (12, 384, 6),
    "DiT-B": (12, 768, 12),
    "DiT-XL": (28, 1152, 16),
    "tiny": (1, 32, 2),
}


def attention(q, k, v):
    if hasattr(F, "scaled_dot_product_attention"):
        return F.scaled_dot_product_attention(q, k, v)
    return (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(-1) @ v


def modulate(x, shift, scale):
    return x * (1 + scale.unsqueeze(1)) + shift.unsqueeze(1)


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.ada = nn.Linear(width, 6 * width)

    def forward(self, x, c):
        n, t, d = x.shape
        shift1, scale1, gate1, shift2, scale2, gate2 = self.ada(F.silu(c)).chunk(6, dim=1)
        qkv = self.qkv(modulate(self.norm1(x), shift1, scale1))
        q, k, v = qkv.reshape(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        mixed = attention(q, k, v).transpose(1, 2).reshape(n, t, d)
        x = x + gate1.unsqueeze(1) * self.proj(mixed)
        hidden = F.gelu(self.fc1(modulate(self.norm2(x), shift2, scale2)), approximate="tanh")
        return x + gate2.unsqueeze(1) * self.fc2(hidden)


class DiT(nn.Module):
    def __init__(self, size, patch, side=32, channels=4, classes=1000, learn_sigma=True):
        super().__init__()
        depth, width, heads = SIZES[size]
        self.out_channels = 2 * channels if learn_sigma else channels
        tokens = (side // patch) ** 2
        self.patch, self.checkpointing = patch, False
        self.embed = nn.Linear(channels * patch**2, width)
        self.pos = nn.Parameter(torch.randn(1, tokens, width) * 0.02, requires_grad=False)
        self.time = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(classes + 1, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False, eps=1e-6)
        self.ada = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, patch**2 * self.out_channels)
        frequencies = torch.exp(-math.log(10000) * torch.arange(128) / 128)
        self.register_buffer("frequencies", frequencies)

    def forward(self, x, t, y):
        n, c, side, _ = x.shape
        p, across = self.patch, side // self.patch
        x = x.reshape(n, c, across, p, across, p).permute(0, 2, 4, 1, 3, 5)
        x = self.embed(x.reshape(n, across**2, c * p * p)) + self.pos
        angles = t[:, None].float() * self.frequencies
        cond = self.time(torch.cat([angles.cos(), angles.sin()], 1)) + self.label(y)
        for block in self.blocks:
            if self.checkpointing and self.training:
                x = checkpoint(block, x, cond, use_reentrant=False)
            else:
                x = block(x, cond)
        shift, scale = self.ada(F.silu(cond)).chunk(2, dim=1)
        x = self.out(modulate(self.norm(x), shift, scale))
        x = x.reshape(n, across, across, p, p, self.out_channels).permute(0, 5, 1, 3, 2, 4)
        return x.reshape(n, self.out_channels, side, side)
