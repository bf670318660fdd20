"""Early exit: the target's own first layers as drafter (self-speculative decoding, arXiv 2309.08168; LayerSkip, arXiv 2404.16710).

The state after n layers goes through the final norm and the head as if it were the last. No second network and no second cache: the keys of
the first n layers are the target's own, so the drafter writes behind them and crops. A model that was not trained for it says little in its
middle (SmolLM2: 17 % of the guesses after 20 of 30 layers are right, at two thirds of a step); it is here to show why.
Read next: `models/decoding/medusa.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from models.decoding.drafting import Cache, Context, Draft, chain


class LayeredNet(Protocol):
    """A language model that can stop after some of its layers (`models/language/llama.py`)."""

    def __call__(self, ids: Tensor, cache: Cache, *, n_layers: int) -> Tensor:
        """ids (B, T) -> states (B, T, dim) after n_layers and the final norm; new keys are appended to `cache`."""

    def head(self, hidden: Tensor) -> Tensor:
        """States (…, dim) -> logits (…, V)."""


class EarlyExit:
    """Drafts with the first `n_layers` layers of the target itself."""

    name = "early-exit"

    def __init__(self, net: LayeredNet, n_layers: int, device: torch.device | str = "cpu") -> None:
        if n_layers < 1:
            raise ValueError(f"an exit after {n_layers} layers leaves no network")
        self.net, self.n_layers, self.device = net, n_layers, device

    def observe(self, start: int, ids: Sequence[int], hidden: Tensor) -> None:
        pass

    def propose(self, context: Context) -> Draft:
        base = context.cache.length

        def read(token: int) -> Tensor:
            ids = torch.tensor([[token]], device=self.device)
            hidden = self.net(ids, context.cache, n_layers=self.n_layers)   # (1, 1, dim)
            return self.net.head(hidden[0, -1])                             # (V,)

        draft = chain(context, lambda: read(context.ids[-1]), read)
        context.cache.crop(base)
        return draft
