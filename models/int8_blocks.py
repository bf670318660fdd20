"""Weights in one byte each: blocks of 32 values that share an fp16 scale, the arithmetic of llama.cpp's Q8_0.

    d = max|w| / 127        q = round(w / d)        w' = q d

A block's largest error is half a step, so about 0.4 % of its largest value; per value 8.5 bits instead of 16. In a
safetensors file the tensor keeps its name and shape as int8, and its scales stand beside it as `NAME.int8_scale`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

BLOCK = 32
SCALE = ".int8_scale"
SMALLEST = 16_384
"""Tensors of fewer values (norms, biases, gates) are not worth their error; nor are those of one dimension."""


def worthwhile(tensor: Tensor) -> bool:
    """Whether a tensor is large enough to be stored so."""
    return tensor.is_floating_point() and tensor.dim() >= 2 and tensor.numel() >= SMALLEST


def quantise(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Any floating tensor of N values -> int8 of the same shape, and the fp16 scales (ceil(N / 32),) of its blocks."""
    flat = tensor.detach().to("cpu", torch.float32).contiguous().flatten()                 # (N,)
    blocks = pad(flat, (0, -len(flat) % BLOCK)).view(-1, BLOCK)                            # (B, 32)
    scale = (blocks.abs().amax(1) / 127).half()                                            # (B,)
    steps = blocks / scale.float().clamp(min=torch.finfo(torch.float32).tiny)[:, None]     # (B, 32)
    q = steps.round().clamp(-127, 127).to(torch.int8)
    return q.flatten()[: len(flat)].view(tensor.shape).clone(), scale


def dequantise(q: Tensor, scale: Tensor) -> Tensor:
    """The fp16 tensor of q's shape; ValueError if the number of scales is not that of the blocks."""
    if scale.shape != (-(-q.numel() // BLOCK),):
        raise ValueError(f"{q.numel()} values need {-(-q.numel() // BLOCK)} scales, not {tuple(scale.shape)}")
    each = scale.float().repeat_interleave(BLOCK)[: q.numel()].view(q.shape)
    return (q.float() * each).half()
