"""Medusa (Cai et al., arXiv 2401.10774): heads on the target's last state that guess several tokens ahead, verified as a tree.

Head k at the state h of a token guesses the token k + 1 places on: `softmax(W2 (h + SiLU(W1 h)))`, W1 starting at 0 and W2 as the
target's output matrix, so that every head begins as the target's own next-token guess. Here W2 is that matrix, frozen, plus a low-rank
part `A B` with A = 0 at the start (rank 0: none), over all tokens or the commonest. The target chose the pending token from h itself;
head 1 guesses what comes behind it. Read next: `models/decoding/tree.py`, `models/decoding/training.py`.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from models.decoding.drafting import Context, Draft
from models.decoding.speculative import Typical
from models.decoding.tree import Path, shape_parents

Unembed = Callable[[Tensor], Tensor]  # states (…, dim) -> logits (…, the drafter's vocabulary)
MAX_WIDTH = 10  # choices of one head that may become nodes, as in the released trees


@dataclass(frozen=True)
class MedusaConfig:
    """Sizes of the heads; `vocab_size` counts the tokens they may guess, `rank` the width of what they change in W2."""

    dim: int
    n_heads: int
    vocab_size: int
    rank: int


class MedusaHeads(nn.Module):
    """All heads at once; `kept` lists the tokens they may guess."""

    def __init__(self, config: MedusaConfig) -> None:
        super().__init__()
        c = self.config = config
        self.residual = nn.ModuleList(nn.Linear(c.dim, c.dim) for _ in range(c.n_heads))
        self.low_in = nn.ModuleList(nn.Linear(c.dim, c.rank, bias=False) for _ in range(c.n_heads if c.rank else 0))
        self.low_out = nn.ModuleList(nn.Linear(c.rank, c.vocab_size, bias=False) for _ in range(c.n_heads if c.rank else 0))
        self.register_buffer("kept", torch.arange(c.vocab_size, dtype=torch.int32))
        for layer in self.residual:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in self.low_out:
            nn.init.zeros_(layer.weight)

    def head(self, k: int, h: Tensor, unembed: Unembed) -> Tensor:
        """States (…, dim) of the target's last layer, normed -> logits (…, vocab_size) of head k + 1."""
        z = h + silu(self.residual[k](h))                                   # (…, dim)
        logits = unembed(z)                                                 # (…, V)
        return logits + self.low_out[k](self.low_in[k](z)) if self.config.rank else logits

    def forward(self, h: Tensor, unembed: Unembed) -> Tensor:
        """All heads: logits (n_heads, …, vocab_size)."""
        if self.config.rank:
            return torch.stack([self.head(k, h, unembed) for k in range(self.config.n_heads)])
        return unembed(torch.stack([h + silu(layer(h)) for layer in self.residual]))  # one product for all


class MedusaDrafter:
    """Proposes the likeliest tree, at most `draft_length` nodes.

    Without `shape` the tree of every round follows the heads' probabilities of that round; with one (`tree.best_shape`) it is always the
    same, as in the paper, and `accuracies` say how likely each choice is.
    """

    name = "medusa"

    def __init__(
        self,
        heads: MedusaHeads,
        unembed: Unembed,
        shape: Sequence[Path] | None = None,
        accuracies: Sequence[Sequence[float]] | None = None,
        typical: Typical | None = None,
    ) -> None:
        if (shape is None) != (accuracies is None):
            raise ValueError("a fixed tree needs both its shape and the accuracies it was made from")
        self.heads, self.unembed, self.shape, self.accuracies, self.typical = heads, unembed, shape, accuracies, typical

    def observe(self, start: int, ids: Sequence[int], hidden: Tensor) -> None:
        pass

    def propose(self, context: Context) -> Draft:
        if context.hidden is None or not context.budget.ahead(1, 1.0):
            return Draft()
        logits = self.heads(context.hidden, self.unembed)                   # (K, V)
        chance, choice = logits.float().softmax(-1).topk(min(MAX_WIDTH, logits.shape[-1]), -1)
        tokens = self.heads.kept[choice].tolist()
        if self.shape is None:
            return likeliest_tree(tokens, chance.tolist(), context)
        return self._fixed_tree(tokens, context)

    def _fixed_tree(self, tokens: list[list[int]], context: Context) -> Draft:
        parents, reach, count = shape_parents(self.shape), [], 0
        for path, parent in zip(self.shape, parents):
            belief = self.accuracies[len(path) - 1][path[-1]]
            chance = (1.0 if parent < 0 else reach[parent]) * context.budget.trust(belief)
            if not context.budget.wants(count + 1, chance):
                break
            reach.append(chance)
            count += 1
        return Draft(
            tokens=tuple(tokens[len(path) - 1][path[-1]] for path in self.shape[:count]),
            parents=tuple(parents[:count]),
            beliefs=tuple(self.accuracies[len(path) - 1][path[-1]] for path in self.shape[:count]),
            computed=max(1, count),
        )


def likeliest_tree(tokens: Sequence[Sequence[int]], chances: Sequence[Sequence[float]], context: Context) -> Draft:
    """Grow a tree by its likeliest next node while the budget wants it; choice j at depth k has probability `chances[k][j]`."""
    budget = context.budget
    nodes: list[tuple[int, int, float]] = []  # token, parent, belief
    queue = [(-budget.trust(chances[0][0]), 1, 0, -1, 1.0)]  # -reach, depth, choice, parent, reach of the parent
    while queue:
        reach, depth, choice, parent, above = heapq.heappop(queue)
        if not budget.wants(len(nodes) + 1, -reach):
            break
        nodes.append((tokens[depth - 1][choice], parent, chances[depth - 1][choice]))
        if choice + 1 < len(chances[depth - 1]):
            heapq.heappush(queue, (-above * budget.trust(chances[depth - 1][choice + 1]), depth, choice + 1, parent, above))
        if depth < len(chances):
            heapq.heappush(queue, (reach * budget.trust(chances[depth][0]), depth + 1, 0, len(nodes) - 1, -reach))
    return Draft(
        tokens=tuple(token for token, _, _ in nodes),
        parents=tuple(parent for _, parent, _ in nodes),
        beliefs=tuple(belief for _, _, belief in nodes),
        computed=max(1, len(nodes)),
    )
