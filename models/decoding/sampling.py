"""From logits to a token: the filtered law, draws that are counted instead of streamed, and what is worth telling about a law.

Order of the filters as in transformers: repetition penalty (arXiv 1909.05858, section 4.1), temperature, top-k, top-p (arXiv
1904.09751), min-p (arXiv 2407.01082); temperature 0 is greedy. A draw is a function of (seed, place in the text, purpose): the same
place of the same text gets the same draw, whatever was computed before it. Read next: `models/decoding/speculative.py`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Purpose = Literal["draft", "accept", "sample"]
PURPOSES: dict[str, int] = {"draft": 1, "accept": 2, "sample": 3}
PREFIXES = (64, 1024)
_WORD = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 / golden ratio: the increment of splitmix64 (Steele, Lea, Flood 2014)


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How a token is chosen from the logits. Out of bounds is an error that names the number."""

    temperature: float = 0.0  # 0: the likeliest token
    top_k: int = 0  # 0: all
    top_p: float = 1.0
    min_p: float = 0.0  # share of the largest probability
    repetition_penalty: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {
            "temperature": (self.temperature, 0.0, 100.0), "top_k": (self.top_k, 0, 2**31), "top_p": (self.top_p, 0.0, 1.0),
            "min_p": (self.min_p, 0.0, 1.0), "repetition_penalty": (self.repetition_penalty, 0.01, 100.0),
        }  # fmt: skip
        for name, (value, low, high) in limits.items():
            if not (math.isfinite(value) and low <= value <= high):
                raise ValueError(f"{name} is {value}, not between {low} and {high}")

    @property
    def greedy(self) -> bool:
        return self.temperature == 0

    @property
    def filtered(self) -> bool:
        """Whether some tokens are left out."""
        return self.top_k > 0 or self.top_p < 1 or self.min_p > 0


def where_doubles_are(x: Tensor) -> Tensor:
    """The same on a device that has double precision, which draws need: Apple's GPU has none, there the processor steps in."""
    return x.cpu() if x.device.type == "mps" else x


def penalised(logits: Tensor, config: SamplingConfig, seen: Tensor | None) -> Tensor:
    """Logits (…, V) with those of `seen` tokens (…, V) divided by the penalty if positive, else multiplied by it."""
    if seen is None or config.repetition_penalty == 1:
        return logits
    places = seen.expand_as(logits).nonzero(as_tuple=True)  # few among many: far quicker than to compute all
    value = logits[places]
    return logits.index_put(places, torch.where(value > 0, value / config.repetition_penalty, value * config.repetition_penalty))


def law(logits: Tensor, config: SamplingConfig, seen: Tensor | None = None) -> Tensor:
    """The probabilities (…, V) from which the next token is drawn; one-hot if greedy. `seen` (…, V) bool: tokens in the text."""
    logits = penalised(logits.float(), config, seen)
    if config.greedy:
        return torch.zeros_like(logits).scatter_(-1, logits.argmax(-1, keepdim=True), 1.0)
    p = (logits / config.temperature).softmax(-1)
    if not config.filtered:
        return p
    p = torch.where(p >= _floor(p, config), p, 0.0)
    return p / p.sum(-1, keepdim=True)


def _floor(p: Tensor, config: SamplingConfig) -> Tensor:
    """The smallest probability that passes all filters (…, 1); equal tokens pass or fail together."""
    floor, mass = torch.zeros_like(p[..., :1]), 1.0
    if 0 < config.top_k < p.shape[-1]:
        best = p.topk(config.top_k, -1).values                              # (…, k) falling
        floor, mass = best[..., -1:], best.sum(-1, keepdim=True)
    if config.top_p < 1:
        floor = floor.maximum(_nucleus_floor(p, config.top_p * mass))
    if config.min_p > 0:
        floor = floor.maximum(config.min_p * p.amax(-1, keepdim=True))
    return floor


def _nucleus_floor(p: Tensor, wanted: Tensor | float) -> Tensor:
    """The smallest member (…, 1) of the shortest list of likeliest tokens that holds the `wanted` mass.

    Sorting 49152 tokens takes milliseconds, and the list is nearly always short: look at the first 64, then at 1024. If that is not enough,
    halve the interval in which the floor lies: positive floats are ordered as their bits are, so 31 halvings find it exactly.
    """
    for count in PREFIXES:
        best = p.topk(min(count, p.shape[-1]), -1).values                   # (…, n) falling
        inside = best.double().cumsum(-1) >= wanted                         # (…, n)
        if bool(inside[..., -1].all()):
            return best.gather(-1, inside.int().argmax(-1, keepdim=True))
    bits = p.contiguous().view(torch.int32)                                 # (…, V)
    low, high = torch.zeros_like(bits[..., :1]), best[..., :1].contiguous().view(torch.int32)  # low holds enough, above high may not
    for _ in range(31):
        middle = low + (high - low + 1) // 2
        enough = torch.where(bits >= middle, p, 0.0).sum(-1, keepdim=True) >= wanted
        low, high = torch.where(enough, middle, low), torch.where(enough, high, middle - 1)
    return low.view(torch.float32)


def likeliest(logits: Tensor) -> list[int]:
    """The likeliest token of every row of logits (n, V); numpy's search is eight times faster than torch's on a CPU."""
    best = logits.numpy() if logits.device.type == "cpu" and not logits.requires_grad else logits
    return best.argmax(-1).tolist()


def greedy_choice(logits: Tensor, config: SamplingConfig, seen: Tensor | None = None) -> int:
    """The likeliest token of one row of logits (V,)."""
    return likeliest(penalised(logits, config, seen)[None])[0]


def uniform(seed: int, place: int, purpose: Purpose, index: int = 0) -> float:
    """A number in [0, 1) that depends on its four arguments and nothing else (splitmix64 over them in turn)."""
    state = 0
    for word in (seed, place, PURPOSES[purpose], index):
        state = _mix((state + (word & _WORD) + _GOLDEN) & _WORD)
    return (state >> 11) * 2.0**-53


def _mix(x: int) -> int:
    x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & _WORD
    x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & _WORD
    return x ^ (x >> 31)


def pick(p: Tensor, u: float | Tensor) -> Tensor:
    """The token (…) at which the running sum of the law p (…, V) passes u in [0, 1); never one of probability 0."""
    total = p.double().cumsum(-1)                                           # (…, V)
    u = torch.as_tensor(u, dtype=torch.float64, device=p.device)
    index = torch.searchsorted(total, (u * total[..., -1]).unsqueeze(-1), right=True)
    last = (total < total[..., -1:]).sum(-1, keepdim=True)  # the last token of positive probability, should rounding pass it
    return index.minimum(last).squeeze(-1)


@dataclass(frozen=True)
class RawFacts:
    """What the raw law (softmax at T = 1) says at some places."""

    p: Tensor  # (n, V)
    top: list[tuple[tuple[int, float], ...]]  # n times the likeliest tokens, likeliest first
    entropy: list[float]  # n, in nats


def raw_facts(logits: Tensor, top: int) -> RawFacts:
    """Probabilities, likeliest tokens and entropy of rows of logits (n, V), passing over them as seldom as possible.

    With Z = sum exp(l): `H = ln Z - sum p l`, and ln Z is the largest logit less the logarithm of its probability.
    """
    p = logits.softmax(-1)                                                  # (n, V)
    best = logits.topk(min(top, p.shape[-1]), -1)                           # (n, top)
    p_best = p.gather(-1, best.indices)                                     # (n, top)
    entropy = best.values[:, 0] - p_best[:, 0].log() - torch.linalg.vecdot(p, logits)  # (n,)
    pairs = [tuple(zip(ids, values)) for ids, values in zip(best.indices.tolist(), p_best.tolist())]
    return RawFacts(p, pairs, entropy.clamp_min(0).tolist())
