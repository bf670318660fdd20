"""One q, k, v, many attentions: the output, map, error against softmax, cost and time of each, side by side.

The q, k, v come from a head that was trained with softmax. What another attention makes of them says how that head
attends (a head that looks at its neighbours loses nothing in a window), not how good a model trained with it would be:
for that, train one (`small_lm.py`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.attention import measures
from models.attention.cost import Cost, Sizes
from models.attention.meter import Meter
from models.attention.signature import Attended
from models.attention.softmax import softmax
from models.attention.table import Value, attend, cost, kind

Choices = Mapping[str, Mapping[str, Value]]  # names of attentions, each with its knobs


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One attention on the given q, k, v."""

    name: str
    settings: dict[str, Value]
    found: Attended
    error: measures.Error  # against softmax with the same mask and scale
    seconds: float  # the shortest of the repeats, without the map
    peak_bytes: int | None  # most memory held at once besides q, k, v, as measured; None if it was not asked for


def compare(
    q: Tensor, k: Tensor, v: Tensor, choices: Choices, *, causal: bool = True, scale: float | None = None,
    want_map: bool = True, repeats: int = 3, measure_memory: bool = False,
) -> Iterator[Compared]:  # fmt: skip
    """Each choice in turn; those that cannot be causal are left out of a causal comparison (see `possible`)."""
    reference = softmax(q, k, v, causal=causal, scale=scale).out
    for name, knobs in possible(choices, causal).items():
        options = {"causal": causal, "scale": scale, "knobs": knobs}
        found = attend(name, q, k, v, want_map=want_map, **options)
        peak = None
        if measure_memory:
            with Meter() as meter:
                attend(name, q, k, v, **options)
            peak = meter.peak_bytes
        yield Compared(
            name=name, settings=kind(name).settings(knobs), found=found, error=measures.error(found.out, reference),
            seconds=shortest(name, q, k, v, repeats, **options), peak_bytes=peak,
        )  # fmt: skip


def possible(choices: Choices, causal: bool) -> Choices:
    """The choices that exist under this masking."""
    return {name: knobs for name, knobs in choices.items() if not (causal and kind(name).causal == "no")}


def shortest(name: str, q: Tensor, k: Tensor, v: Tensor, repeats: int, **options) -> float:
    """Seconds of the fastest of `repeats` calls of `attend`; the first one may still be warming up."""
    times = []
    for _ in range(max(1, repeats)):
        _settle(q.device)
        start = time.perf_counter()
        attend(name, q, k, v, **options)
        _settle(q.device)
        times.append(time.perf_counter() - start)
    return min(times)


def _settle(device: torch.device) -> None:
    if device.type == "cuda":  # kernels run on after the call returns
        torch.cuda.synchronize(device)


@dataclass(frozen=True, kw_only=True)
class AtLength:
    """One attention at one length of text."""

    name: str
    T: int
    cost: Cost
    seconds: float | None  # None: beyond `measure_up_to`
    error: measures.Error | None  # None: not measured, or the text had to be repeated to be that long


def over_lengths(
    q: Tensor, k: Tensor, v: Tensor, choices: Choices, lengths: Sequence[int], *, causal: bool = True, scale: float | None = None,
    measure_up_to: int = 4096, repeats: int = 2,
) -> Iterator[AtLength]:  # fmt: skip
    """Cost, time and error over the length of the text: its first tokens, or the text repeated where it is too short.

    Formulas are evaluated at every length, calls are made up to `measure_up_to` tokens.
    """
    for T in lengths:
        sizes = Sizes(B=q.shape[0], H=q.shape[1], T=T, S=T, d=q.shape[3], dv=v.shape[3], itemsize=q.element_size())
        measured = measure_up_to >= T
        parts = [_to_length(x, T) for x in (q, k, v)] if measured else []
        reference = softmax(*parts, causal=causal, scale=scale).out if measured and q.shape[2] >= T else None
        for name, knobs in possible(choices, causal).items():
            options, seconds, error = {"causal": causal, "scale": scale, "knobs": knobs}, None, None
            if measured:
                seconds = shortest(name, *parts, repeats, **options)
            if reference is not None:
                error = measures.error(attend(name, *parts, **options).out, reference)
            yield AtLength(name=name, T=T, cost=cost(name, sizes, causal=causal, knobs=knobs), seconds=seconds, error=error)


def _to_length(x: Tensor, T: int) -> Tensor:
    """The first T tokens of x (B, H, t, d), from the start again if there are fewer."""
    times = -(-T // x.shape[2])
    return (x.repeat(1, 1, times, 1) if times > 1 else x)[:, :, :T].contiguous()
