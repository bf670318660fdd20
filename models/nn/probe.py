"""A net's inner states, collected on request: the caller hands a `Probe` in, the layers put what is wanted into it.

Nothing is hooked and nothing stays on the model: `model(ids, probe=Probe("resid"))`, then read `probe.resid`.
"""

from __future__ import annotations

from torch import Tensor

KINDS = ("resid", "q", "k")


class Probe:
    """What to collect, and what was collected: one dict per kind, {layer: tensor}.

    "resid": the residual stream after each layer (B, T, dim), layer -1 the embedding. "q", "k": rotated queries
    (B, T, n_heads, head_dim) and keys (B, T, n_kv_heads, head_dim) of the tokens of this call.
    """

    def __init__(self, *kinds: str, layers: frozenset[int] | None = None) -> None:
        if unknown := set(kinds) - set(KINDS):
            raise ValueError(f"a probe collects {', '.join(KINDS)}, not {', '.join(sorted(unknown))}")
        self.kinds, self.layers = frozenset(kinds), layers
        self.resid: dict[int, Tensor] = {}
        self.q: dict[int, Tensor] = {}
        self.k: dict[int, Tensor] = {}

    def note(self, kind: str, layer: int, value: Tensor) -> None:
        """Keep a copy of a value if it is wanted."""
        if kind in self.kinds and (self.layers is None or layer in self.layers):
            getattr(self, kind)[layer] = value.detach().clone()
