"""A drafter's way to words: rows of the target's own output matrix, all of them or those of the commonest tokens only.

The output matrix of a small model is a fifth of it, and a drafter uses it once a token, so drafters may keep to a part of the vocabulary
(FR-Spec, arXiv 2502.14856): a token outside is simply never proposed, and the target still says it. The rows are the target's and frozen; a
drafter's file only holds the list. Read next: `models/decoding/medusa.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn


def unembedding(weight: Tensor, kept: Tensor | None) -> nn.Linear:
    """A frozen layer from states to logits over `kept` tokens (over all if None): rows of the target's matrix (V, dim)."""
    rows = weight.detach() if kept is None else weight.detach()[kept.long().to(weight.device)]
    layer = nn.Linear(rows.shape[1], rows.shape[0], bias=False, device="meta")
    layer.weight = nn.Parameter(rows, requires_grad=False)
    return layer


def common_tokens(texts: Sequence[np.ndarray], vocab_size: int, size: int, always: Sequence[int] = ()) -> Tensor:
    """Ids, rising, of the `size` commonest tokens of the texts; `always` are among them, ties go to the smaller id."""
    if not len(always) <= size <= vocab_size:
        raise ValueError(f"{size} tokens cannot be chosen from {vocab_size} with {len(always)} of them given")
    counts = np.zeros(vocab_size, dtype=np.int64)
    for text in texts:
        counts += np.bincount(np.asarray(text, dtype=np.int64).ravel(), minlength=vocab_size)
    counts[list(always)] = counts.max() + 1
    best = np.argsort(-counts, kind="stable")[:size]
    return torch.from_numpy(np.sort(best)).int()
