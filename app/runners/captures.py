"""Queries and keys of what models looked at last, so that the next look at the same source need not run the model again.

A job names its source whole, and its result does not depend on what lies here: the store only saves time. It holds a few sources within
a bound of bytes, nothing while memory is short, and what belongs to a model goes when the model goes.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Generator, Hashable, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from app.protocol.attention import Looked
from app.protocol.events import Event, Progress
from app.runners.memory import free_bytes
from app.worker.context import Ctx
from models.attention.softmax import seen_rows, some_rows
from models.nn.kvcache import KVCache
from models.nn.probe import Probe

MOST_SOURCES = 6
MOST_BYTES = 512 * 2**20
"""Of all sources together; the queries and keys of 5,800 tokens of SmolLM2 in fp32."""
KEEP_FREE = 1024 * 2**20
"""With less main memory than this left, nothing is kept."""
SHARE_OF_FREE = 4
"""One source takes at most this part of the free memory; what is larger is captured a few layers at a time."""


class Watched(Probe):
    """A probe that asks at every layer whether the run is to end."""

    def __init__(self, ctx: Ctx, *kinds: str, layers: frozenset[int] | None = None) -> None:
        super().__init__(*kinds, layers=layers)
        self._ctx = ctx

    def note(self, kind: str, layer: int, value: Tensor) -> None:
        self._ctx.check()
        super().note(kind, layer, value)


@dataclass(frozen=True, eq=False, kw_only=True)
class Heads:
    """One layer: queries (H, T, D) and keys (H_kv, S, D), as the model had them; `ready` heads give the rows of their maps."""

    q: Tensor
    k: Tensor
    causal: bool
    softmax: bool = True
    """False: vectors of length 1 whose products, cosines, are the map."""

    @property
    def bytes(self) -> int:
        return self.q.nbytes + self.k.nbytes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Heads, queries, keys."""
        return self.q.shape[0], self.q.shape[1], self.k.shape[1]

    @property
    def kind(self) -> str:
        """What a value of the maps is."""
        return f"softmax of q·k / √{self.q.shape[-1]}" if self.softmax else "cosine similarity"

    @property
    def scale(self) -> float | None:
        """What the products are multiplied with."""
        return self.q.shape[-1] ** -0.5 if self.softmax else 1.0

    @property
    def like(self) -> Tensor:
        """A tensor of the device and the number format in which maps are computed."""
        return self.q

    def ready(self, chosen: Sequence[int] = ()) -> Heads:
        """The named heads (none: all) in fp32, a key head for each, so that many rows can be computed of them."""
        heads = list(chosen) or list(range(self.q.shape[0]))
        group = self.q.shape[0] // self.k.shape[0]
        return replace(self, q=self.q[heads].float(), k=self.k[[head // group for head in heads]].float())

    def rows(self, start: int, count: int) -> Tensor:
        """Rows of the maps of all heads, which must be `ready`: (H, rows, S)."""
        if not self.softmax:
            return self.q[:, start : start + count] @ self.k.mT
        return some_rows(self.q[None], self.k[None], start, count, causal=self.causal)[0]

    def seen(self, start: int, count: int) -> Tensor:
        """The same without the keys that none of these rows sees, (H, rows, keys)."""
        return seen_rows(self.q[None], self.k[None], start, count, causal=self.causal)[0] if self.softmax else self.rows(start, count)


@dataclass(frozen=True, eq=False, kw_only=True)
class Weights:
    """One layer of a model whose maps are small enough to be taken whole, (H, T, S) in fp32; with the face of `Heads`."""

    weights: Tensor
    kind: str
    causal: bool
    softmax: bool
    """Each row is a law: no weight below 0, the sum is 1."""
    scale: float | None = None

    @property
    def bytes(self) -> int:
        return self.weights.nbytes

    @property
    def shape(self) -> tuple[int, int, int]:
        """Heads, queries, keys."""
        return tuple(self.weights.shape)

    @property
    def like(self) -> Tensor:
        """A tensor of the device and the number format of the maps."""
        return self.weights

    def ready(self, chosen: Sequence[int] = ()) -> Weights:
        """The named heads (none: all)."""
        return replace(self, weights=self.weights[list(chosen)]) if chosen else self

    def rows(self, start: int, count: int) -> Tensor:
        """Rows of the maps of all heads, (H, rows, S)."""
        return self.weights[:, start : start + count]

    def seen(self, start: int, count: int) -> Tensor:
        """The same: nothing is saved by leaving keys out."""
        return self.rows(start, count)


Part = tuple[str, int, int]
"""Source, step (0 where there are none), layer."""


@dataclass(eq=False, kw_only=True)
class Capture:
    """One run of a model: what it looked at, by source, and the heads of its layers. A diffusion run holds two sources and many steps."""

    looked: dict[str, Looked] = field(default_factory=dict)
    parts: dict[Part, Heads | Weights] = field(default_factory=dict)
    ids: Tensor | None = None
    """Tokens of a text that is looked at by itself, (1, T)."""
    cache: KVCache | None = None
    """Of a text that grows: what the model needs to read on."""
    reading: bool = False
    """A run is at it: others wait for it rather than read the same."""

    @property
    def bytes(self) -> int:
        return sum(part.bytes for part in self.parts.values()) + (self.cache.bytes if self.cache is not None else 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Sight:
    """What one job looks at: a source and a step of a capture; `read(layer)` brings layers that are not there."""

    capture: Capture
    source: str
    step: int = 0
    read: Callable[[int], Generator[Event, None, None]] | None = None

    @property
    def looked(self) -> Looked:
        return self.capture.looked[self.source]

    @property
    def ids(self) -> Tensor | None:
        return self.capture.ids

    def heads(self, layer: int) -> Generator[Event, None, Heads | Weights]:
        """A layer's queries and keys; the model runs if they are not at hand."""
        part = (self.source, self.step, layer)
        while self.capture.reading and part not in self.capture.parts:
            yield Progress(done=0, note="reading the text")
        if part not in self.capture.parts:
            yield from self.read(layer)
        return self.capture.parts[part]


@dataclass(frozen=True, eq=False)
class _Entry:
    model: weakref.ref[nn.Module]
    key: Hashable
    capture: Capture


class Store:
    """The last few captures, the newest last."""

    def __init__(self, most_bytes: int = MOST_BYTES, most_sources: int = MOST_SOURCES) -> None:
        self.most_bytes, self.most_sources = most_bytes, most_sources
        self._entries: list[_Entry] = []

    def find(self, model: nn.Module, key: Hashable) -> Capture | None:
        """The capture of that source by that model, if it is still here."""
        found = next((entry for entry in self._entries if entry.model() is model and entry.key == key), None)
        if found is None:
            return None
        self._entries = [entry for entry in self._entries if entry is not found] + [found]
        return found.capture

    def beginning(self, model: nn.Module, ids: Sequence[int], device: torch.device, layers: range) -> Capture | None:
        """The longest capture of a text that grows, with all these layers, which `ids` go on from."""
        own = [entry.capture for entry in self._entries if entry.model() is model and entry.capture.cache is not None]
        deep = [one for one in own if one.ids.device == device and all(("text", 0, layer) in one.parts for layer in layers)]
        begun = [one for one in deep if one.ids[0].tolist() == list(ids[: one.ids.shape[1]])]
        return max(begun, key=lambda one: one.ids.shape[1], default=None)

    def keep(self, model: nn.Module, key: Hashable, capture: Capture, device: torch.device) -> None:
        """Remember a capture; older ones go if there are too many, and all if memory is short."""
        others = [entry for entry in self._entries if not (entry.model() is model and entry.key == key)]
        self._entries = [*others, _Entry(weakref.ref(model, self._forget), key, capture)]
        while len(self._entries) > self.most_sources or self.bytes > self.most_bytes:
            self._entries = self._entries[1:]
        free = free_bytes(device)
        if free is not None and free < KEEP_FREE:
            self._entries = []

    def room(self, device: torch.device) -> int:
        """Bytes that one source may take."""
        free = free_bytes(device)
        return self.most_bytes if free is None else min(self.most_bytes, free // SHARE_OF_FREE)

    def clear(self) -> None:
        """Forget everything."""
        self._entries = []

    @property
    def bytes(self) -> int:
        return sum(entry.capture.bytes for entry in self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def _forget(self, _model: weakref.ref[nn.Module]) -> None:
        self._entries = [entry for entry in self._entries if entry.model() is not None]


STORE = Store()
"""Of the worker."""
