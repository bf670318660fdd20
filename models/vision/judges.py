"""Two small convolutional judges of Playworld pictures, trained on renders only and used to measure what the generators draw.

`FactClassifier` answers a fixed table of questions (which sky, is there a house, which colour has it ...). Every kind of thing has a
learned query that looks for it on the feature map (attention pooling, arXiv 1706.03762 eq. 1 with one query and four heads); the
answers about colour, place and distance come from heads that all kinds share, so a colour learned on cars is known on houses too.
`JointRegressor` finds the 18 OpenPose joints of up to two people, left to right, as expectations over heat maps
(integral regression, arXiv 1711.08229). Read next: `models/vision/training.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn


@dataclass(frozen=True)
class HeadSpec:
    """One question of the classifier: `slot` is the query that answers, `head` the shared answer layer, `classes` its answers."""

    name: str
    slot: str
    head: str
    classes: int


@dataclass(frozen=True)
class FactConfig:
    widths: tuple[int, ...]
    heads: tuple[HeadSpec, ...]
    n_heads: int = 4  # of the attention, for each slot


@dataclass(frozen=True)
class JointConfig:
    widths: tuple[int, ...]
    people: int = 2
    joints: int = 18


class Residual(nn.Module):
    """Two 3x3 convolutions with group norm around a shortcut."""

    def __init__(self, dim_in: int, dim: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(dim_in, dim, 3, stride, 1)
        self.norm1 = nn.GroupNorm(8, dim)
        self.conv2 = nn.Conv2d(dim, dim, 3, 1, 1)
        self.norm2 = nn.GroupNorm(8, dim)
        self.shortcut = nn.Conv2d(dim_in, dim, 1, stride) if stride != 1 or dim_in != dim else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        u = F.silu(self.norm1(self.conv1(x)))
        return F.silu(self.norm2(self.conv2(u)) + self.shortcut(x))


class Trunk(nn.Module):
    """(B, 3, H, W) in [-1, 1] -> features at half, quarter, ... of the size, one level a width."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 5, 2, 2)
        pairs = zip(widths[:-1], widths[1:], strict=True)
        self.levels = nn.ModuleList(nn.Sequential(Residual(a, b, 2), Residual(b, b)) for a, b in pairs)

    def forward(self, x: Tensor) -> list[Tensor]:
        out = [F.silu(self.stem(x))]
        for level in self.levels:
            out.append(level(out[-1]))
        return out


def grid(height: int, width: int, like: Tensor) -> Tensor:
    """Cell centres in [0, 1]: (2, H, W), x first."""
    y = (torch.arange(height, device=like.device, dtype=torch.float32) + 0.5) / height
    x = (torch.arange(width, device=like.device, dtype=torch.float32) + 0.5) / width
    return torch.stack([x.expand(height, width), y[:, None].expand(height, width)])


def expectation(law: Tensor, places: Tensor) -> Tensor:
    """Mean place under `law` (..., h w): (..., 2). By products and sums, which autocast leaves in fp32."""
    flat = places.flatten(1)
    return torch.stack([(law * flat[0]).sum(-1), (law * flat[1]).sum(-1)], -1)


class FactClassifier(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1] -> logits of every question, `{name: (B, classes)}`."""

    def __init__(self, config: FactConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config.widths)
        dim, n_heads = config.widths[-1], config.n_heads
        self.slots = tuple(dict.fromkeys(head.slot for head in config.heads))
        self.query = nn.Parameter(torch.randn(len(self.slots), dim))
        self.key = nn.Conv2d(dim + 2, dim, 1)
        self.value = nn.Conv2d(dim + 2, dim, 1)
        self.mix = nn.Sequential(nn.Linear(2 * dim + 2 * n_heads, 2 * dim), nn.SiLU(), nn.Linear(2 * dim, 2 * dim), nn.SiLU())
        shared = {head.head: head.classes for head in config.heads}
        self.heads = nn.ModuleDict({name: nn.Linear(2 * dim, classes) for name, classes in shared.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return self.look(x)[0]

    def look(self, x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The answers, and where each slot's heads looked for them: (B, S, H, h, w), every map summing to 1."""
        features = self.trunk(x)[-1]  # (B, D, h, w)
        height, width = features.shape[2:]
        places = grid(height, width, features)  # (2, h, w)
        features = torch.cat([features, places.expand(len(x), -1, -1, -1).to(features.dtype)], 1)
        keys, values = (self._split(f(features)) for f in (self.key, self.value))  # (B, H, h w, d)
        query = rearrange(self.query, "s (n d) -> n s d", n=self.config.n_heads).to(keys.dtype)
        weights = (query @ keys.transpose(-1, -2) * keys.shape[-1] ** -0.5).float().softmax(-1)  # (B, H, S, h w)
        seen = rearrange(weights.to(values.dtype) @ values, "b n s d -> b s (n d)")  # (B, S, D)
        where = rearrange(expectation(weights, places), "b n s c -> b s (n c)")  # (B, S, 2 H)
        query = self.query.to(seen.dtype).expand(len(x), -1, -1)
        slots = self.mix(torch.cat([seen, query, where.to(seen.dtype)], -1))  # (B, S, 2 D)
        index = {name: k for k, name in enumerate(self.slots)}
        answers = {head.name: self.heads[head.head](slots[:, index[head.slot]]).float() for head in self.config.heads}
        return answers, rearrange(weights, "b n s (h w) -> b s n h w", h=height)

    def _split(self, x: Tensor) -> Tensor:
        return rearrange(x, "b (n d) h w -> b n (h w) d", n=self.config.n_heads)


class JointRegressor(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1] -> joints (B, people, 18, 3): x and y in 0-1 of the picture, confidence in 0-1."""

    def __init__(self, config: JointConfig) -> None:
        super().__init__()
        self.config = config
        self.trunk = Trunk(config.widths)
        maps = config.people * config.joints
        dim = config.widths[-3]
        self.lift = nn.ModuleList(nn.Conv2d(width, dim, 1) for width in config.widths[-3:])
        self.join = nn.ModuleList(Residual(dim, dim) for _ in range(2))
        self.refine = nn.Sequential(Residual(dim + 2, dim), nn.Conv2d(dim, maps, 1))
        self.there = nn.Sequential(nn.Linear(config.widths[-1] + maps, 2 * dim), nn.SiLU(), nn.Linear(2 * dim, maps))

    def forward(self, x: Tensor) -> Tensor:
        levels = self.trunk(x)[-3:]
        u = self.lift[2](levels[2])
        for lift, join, level in ((self.lift[1], self.join[0], levels[1]), (self.lift[0], self.join[1], levels[0])):
            u = join(F.interpolate(u, size=level.shape[2:], mode="nearest") + lift(level))
        places = grid(*u.shape[2:], u)
        heat = self.refine(torch.cat([u, places.expand(len(x), -1, -1, -1).to(u.dtype)], 1)).float()  # (B, P J, h, w)
        law = heat.flatten(2).softmax(-1)
        xy = expectation(law, places)  # (B, P J, 2)
        peak = heat.flatten(2).amax(-1)
        confidence = self.there(torch.cat([levels[2].mean((2, 3)).float(), peak], 1)).float().sigmoid()
        out = torch.cat([xy, confidence[..., None]], -1)
        return rearrange(out, "b (p j) c -> b p j c", p=self.config.people)
