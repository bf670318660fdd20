"""A net's inner states, collected on request: the caller hands a `Probe` in, the layers put what is wanted into it.

Nothing is hooked and nothing stays on the model: `model(ids, probe=Probe("resid"))`, then read `probe.resid`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from torch import Tensor

KINDS = ("resid", "q", "k", "v", "cross_q", "cross_k")
Note = Callable[[str, Tensor], None]
"""What a layer is handed: `note(kind, value)`."""


class Probe:
    """What to collect, and what was collected: one dict per kind, {layer: tensor}.

    "resid": the residual stream after each layer (B, T, dim), layer -1 the embedding. "q", "k", "v": rotated queries
    (B, T, n_heads, head_dim), keys and values (B, T, n_kv_heads, head_dim) of the tokens of this call. "cross_q",
    "cross_k": of cross-attention, the keys being those of the context (B, S, n_heads, head_dim).
    """

    def __init__(self, *kinds: str, layers: frozenset[int] | None = None) -> None:
        if unknown := set(kinds) - set(KINDS):
            raise ValueError(f"a probe collects {', '.join(KINDS)}, not {', '.join(sorted(unknown))}")
        self.kinds, self.layers = frozenset(kinds), layers
        self.resid: dict[int, Tensor] = {}
        self.q: dict[int, Tensor] = {}
        self.k: dict[int, Tensor] = {}
        self.v: dict[int, Tensor] = {}
        self.cross_q: dict[int, Tensor] = {}
        self.cross_k: dict[int, Tensor] = {}

    def note(self, kind: str, layer: int, value: Tensor) -> None:
        """Keep a copy of a value if it is wanted."""
        if kind in self.kinds and (self.layers is None or layer in self.layers):
            getattr(self, kind)[layer] = value.detach().clone()

    def at(self, layer: int) -> Note:
        """What to hand to a layer of that number."""
        return lambda kind, value: self.note(kind, layer, value)

    def in_turn(self) -> Note:
        """What to hand down through a network that does not number its layers: each kind is counted as it comes, from 0."""
        seen: Counter[str] = Counter()

        def note(kind: str, value: Tensor) -> None:
            self.note(kind, seen[kind], value)
            seen[kind] += 1

        return note
