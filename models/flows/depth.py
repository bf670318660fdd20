"""A flow of pictures seen from inside: one picture layer by layer, what each layer adds to its bits, and which noise matters.

Bits per dimension are a sum, `8 - (log p(z) + log|det of the logit| + sum_k log|det df_k|) / (D ln 2)`, so each layer has its share.
A state inside a multi-scale flow is a pile of channels at several sizes; `as_picture` puts every number back where its pixel stood, by
undoing the squeezes alone. Read first: `tiles.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from models.flows.chain import Chain, Layer, Part
from models.flows.coupling import ActNorm, HalfCoupling, InvertibleConv, Reverse, Split, Squeeze
from models.flows.nice import AdditiveCoupling, Scaling
from models.flows.tiles import MIDDLE, VALUES, TileFlow, to_logit

TITLES: dict[type[Layer], str] = {
    ActNorm: "actnorm", InvertibleConv: "1x1 convolution", Reverse: "reverse", HalfCoupling: "coupling", Squeeze: "squeeze", Split: "split",
    AdditiveCoupling: "additive coupling", Scaling: "scaling",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DepthStep:
    """A batch inside the flow: `x` (N, D) as the layer left it, laid out as `as_picture` reads it with `depth`."""

    i: int
    n: int
    title: str
    level: int  # from 0
    depth: int  # squeezes behind it
    x: Tensor
    bits: Tensor  # (N,) per dimension that this layer alone adds


def descend(model: TileFlow, v: Tensor) -> Iterator[DepthStep]:
    """Pictures (N, C, H, W) on their way to the noise, layer by layer; the first step is what stands before the flow."""
    x = v.flatten(1)
    x, change = to_logit(x) if model.logit else (x - MIDDLE, x.new_zeros(len(x)))
    leaves = list(_leaves(model))
    title, n = ("logit" if model.logit else "data"), len(leaves) + 1
    yield DepthStep(i=0, n=n, title=title, level=0, depth=0, x=x, bits=math.log2(VALUES) - in_bits(model, change))
    depth = 0
    for i, (level, layer, shape) in enumerate(leaves, 1):
        size = math.prod(shape) if shape else model.dims
        part, rest = x[:, :size], x[:, size:]
        y, change = layer(part.unflatten(1, shape) if shape else part)
        depth += isinstance(layer, Squeeze)
        x = torch.cat([y.flatten(1), rest], 1)
        yield DepthStep(i=i, n=n, title=TITLES[type(layer)], level=level, depth=depth, x=x, bits=-in_bits(model, change))


def _leaves(model: TileFlow) -> Iterator[tuple[int, Layer, tuple[int, ...]]]:
    """(level, layer, shape of what it takes) in order; an empty shape: the whole vector."""
    for level, layer in enumerate(model.flow.layers):
        if not isinstance(layer, Part):
            yield 0, layer, ()
            continue
        shape = layer.shape
        for leaf in layer.layer.layers if isinstance(layer.layer, Chain) else [layer.layer]:
            yield level, leaf, shape
            shape = layer.out  # a level squeezes first, and its other layers keep that shape


def as_picture(model: TileFlow, x: Tensor, depth: int) -> Tensor:
    """(N, C, H, W): every number of a state (N, D) at the place of its pixel, `depth` squeezes undone."""
    parts = [layer for layer in model.flow.layers if isinstance(layer, Part)][:depth]
    for part in reversed(parts):
        picture, _ = Squeeze().inverse(x[:, : part.size].unflatten(1, part.out))
        x = torch.cat([picture.flatten(1), x[:, part.size :]], 1)
    return x.unflatten(1, model.shape)


def in_bits(model: TileFlow, nats: Tensor) -> Tensor:
    """Nats of whole pictures as bits per dimension."""
    return nats / (model.dims * math.log(2))


def noise_bits(model: TileFlow, z: Tensor) -> list[Tensor]:
    """-log p(z) of each group of `noise_groups`, (N,) in bits per dimension of the whole picture; they sum to that of z."""
    rows = []
    for group in noise_groups(model):
        rows.append(-in_bits(model, model.flow.log_prior(z[:, group])))
    return rows


def noise_groups(model: TileFlow) -> list[Tensor]:
    """Indices of the noise that each level hands out, finest level first; one group where there are no levels."""
    parts = [layer for layer in model.flow.layers if isinstance(layer, Part)]
    if not parts:
        return [torch.arange(model.dims)]
    starts = [part.size for part in parts[1:]] + [0]
    return [torch.arange(start, part.size) for start, part in zip(starts, parts, strict=True)]


def widths(model: TileFlow) -> Tensor | None:
    """`e^{-a}` of each direction of NICE, (D,): how far a unit of its noise moves the picture; None without a scaling."""
    scalings = [layer for layer in model.flow.layers if isinstance(layer, Scaling)]
    return (-scalings[0].log_scale.detach()).exp() if scalings else None


def importance(model: TileFlow) -> Tensor:
    """All directions of the noise (D,), those that decide most first: by NICE's spectrum, or from the coarsest level to the finest."""
    wide = widths(model)
    return torch.arange(model.dims) if wide is None else wide.argsort(descending=True)


def thinned(model: TileFlow, z: Tensor, share: float) -> Tensor:
    """The noise (N, D) with all but this share of its directions, the most important, set to 0."""
    kept = torch.zeros(model.dims)
    kept[importance(model)[: round(share * model.dims)]] = 1
    return z * kept
