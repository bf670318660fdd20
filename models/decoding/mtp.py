"""Multi-token prediction (Gloeckle et al., arXiv 2404.19737): parallel heads, each one decoder layer on the shared trunk's states.

    L = -sum_t sum_i log p(x_{t+i} | h_i(z_t)),   z = trunk(x_{<=t}),   one output matrix for all heads

Head 1 is the language model; heads 2 … n draft for it (self-speculative decoding). The heads may also be added to a finished model,
whose own head is then head 1. Logits of n heads over a large vocabulary are what training would need memory for; `sequential_loss` makes
them one head at a time: forward, backward down to z, add up, free; then one backward through the trunk.
Read next: `models/decoding/training.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.decoding.block import Block, BlockConfig, Memory, cached, causal_mask, forgetful, slots
from models.decoding.draft_model import READ_AT_ONCE
from models.decoding.drafting import Cache, Context, Draft, Guess, as_chain
from models.decoding.medusa import Unembed
from models.nn.kvcache import KVCache
from models.nn.norm import RmsNorm
from models.nn.rope import RotationTable

IGNORED = -100


@dataclass(frozen=True)
class MtpConfig:
    """Sizes; `offsets` says which head guesses what: i for the token i places behind the state. (1, 2, 3, 4) trains from scratch."""

    block: BlockConfig
    offsets: tuple[int, ...]
    vocab_size: int

    def __post_init__(self) -> None:
        if not self.offsets or list(self.offsets) != sorted(set(self.offsets)) or self.offsets[0] < 1:
            raise ValueError(f"offsets {self.offsets} are not rising numbers from 1 on")


class MtpHeads(nn.Module):
    """The heads: a layer and a norm each; logits are made by an output matrix that is handed in."""

    def __init__(self, config: MtpConfig) -> None:
        super().__init__()
        c = config.block
        self.config = config
        self.blocks = nn.ModuleList(Block(c) for _ in config.offsets)
        self.norms = nn.ModuleList(RmsNorm(c.dim, c.norm_eps) for _ in config.offsets)
        self.register_buffer("kept", torch.arange(config.vocab_size, dtype=torch.int32))
        self._rotations = RotationTable(c.head_dim, c.rope_theta, None)

    def head(self, index: int, z: Tensor, turn: Tensor, mask: Tensor | None, memory: Memory = forgetful) -> Tensor:
        """States (B, T, dim) of the trunk -> states (B, T, dim) of one head, normed for the output matrix."""
        return self.norms[index](self.blocks[index](z, turn, mask, memory))

    def turn(self, start: int, count: int, device: torch.device) -> Tensor:
        return self._rotations.rows(start, start + count, device)           # (T, 1, D/2)

    def forward(self, z: Tensor) -> list[Tensor]:
        """All heads on a whole text (B, T, dim): a list of (B, T, dim)."""
        T = z.shape[1]
        turn, mask = self.turn(0, T, z.device), causal_mask(T, T, z.device)
        return [self.head(index, z, turn, mask) for index in range(len(self.blocks))]

    def new_cache(self, max_len: int) -> KVCache:
        c, weight = self.config.block, self.norms[0].weight
        return KVCache(len(self.blocks), c.n_kv_heads, c.head_dim, max_len, dtype=weight.dtype, device=weight.device)


class MtpDrafter:
    """Drafts a chain: the heads of offsets 2, 3, … at the last state, each guessing for itself."""

    name = "mtp"

    def __init__(self, heads: MtpHeads, unembed: Unembed, max_len: int) -> None:
        self.heads, self.unembed = heads, unembed
        self.guessing = [index for index, offset in enumerate(heads.config.offsets) if offset > 1]
        self.kept = heads.kept.long()
        self.cache = heads.new_cache(max_len)
        self.first = 0  # place of the cache's first entry
        self.waiting: list[Tensor] = []  # (n, dim) each: states not yet read
        self.last: Tensor | None = None  # (heads, dim) at the last state read

    def observe(self, start: int, ids: Sequence[int], hidden: Tensor) -> None:
        if start != self.first + self.cache.length + sum(map(len, self.waiting)):
            self.cache.crop(0)
            self.first, self.waiting = start, []
        self.waiting.append(hidden)
        if len(hidden) > READ_AT_ONCE:
            self._read()

    def propose(self, context: Context) -> Draft:
        budget, guesses, reach = context.budget, [], 1.0
        if not budget.ahead(1, 1.0):
            return Draft()
        if self.waiting:
            self._read()
        if self.last is None:
            return Draft()
        logits = self.unembed(self.last).float()                            # (heads, V)
        for row in logits[: budget.depth]:
            guess: Guess = context.guess(row, [g.token for g in guesses], self.kept)
            reach *= budget.trust(guess.belief)
            if not budget.wants(len(guesses) + 1, reach):
                break
            guesses.append(guess)
        return as_chain(guesses, max(1, len(guesses)), self.kept)

    def _read(self) -> None:
        z = torch.cat(self.waiting)[None]                                   # (1, n, dim)
        start, n = self.cache.length, z.shape[1]
        turn, mask = self.heads.turn(self.first + start, n, z.device), causal_mask(n, start + n, z.device)
        places = slots(self.cache, n)
        states = [self.heads.head(index, z, turn, mask, cached(places[index]))[0, -1] for index in self.guessing]
        self.waiting, self.last = [], torch.stack(states)


# --- training ---


def shifted(tokens: Tensor, offset: int, mask: Tensor | None = None) -> Tensor:
    """Labels (B, T) `offset` places ahead of tokens (B, T); where none is left, or `mask` (B, T) is off at the label, IGNORED."""
    labels = torch.full_like(tokens, IGNORED)
    ahead = tokens[:, offset:]
    labels[:, : ahead.shape[1]] = ahead if mask is None else torch.where(mask[:, offset:], ahead, IGNORED)
    return labels


def head_loss(state: Tensor, labels: Tensor, unembed: Unembed) -> Tensor:
    """Mean cross-entropy of states (B, T, dim) over the labels (B, T) that count."""
    counted = labels != IGNORED
    return F.cross_entropy(unembed(state[counted]).float(), labels[counted]) if bool(counted.any()) else state.sum() * 0.0


def naive_loss(heads: MtpHeads, z: Tensor, tokens: Tensor, unembed: Unembed) -> Tensor:
    """Sum of the heads' losses, all logits alive at once."""
    states = heads(z)
    losses = [head_loss(state, shifted(tokens, offset), unembed) for state, offset in zip(states, heads.config.offsets, strict=True)]
    return torch.stack(losses).sum()


class _OneAtATime(torch.autograd.Function):
    """The sum of losses of z, of which only one is alive at a time: gradients are made in the forward and handed on in the backward."""

    @staticmethod
    def forward(ctx, z: Tensor, losses: Sequence[Callable[[Tensor], Tensor]], *parameters: Tensor) -> Tensor:
        total, gradients = 0.0, [torch.zeros_like(value) for value in (z, *parameters)]
        for loss in losses:
            with torch.enable_grad():
                start = z.detach().requires_grad_()
                value = loss(start)
            found = torch.autograd.grad(value, (start, *parameters), allow_unused=True)
            for kept, new in zip(gradients, found, strict=True):
                if new is not None:
                    kept += new
            total = value.detach() + total
        ctx.gradients = gradients
        return total

    @staticmethod
    def backward(ctx, upstream: Tensor) -> tuple:
        dz, *rest = (upstream * gradient for gradient in ctx.gradients)
        return dz, None, *rest


def sequential_loss(heads: MtpHeads, z: Tensor, tokens: Tensor, unembed: nn.Linear) -> Tensor:
    """`naive_loss` with the logits of one head alive at a time: peak memory O(V + dim) instead of O(n V + dim)."""
    T = z.shape[1]
    turn, mask = heads.turn(0, T, z.device), causal_mask(T, T, z.device)

    def loss_of(index: int, offset: int) -> Callable[[Tensor], Tensor]:
        return lambda start: head_loss(heads.head(index, start, turn, mask), shifted(tokens, offset), unembed)

    losses = [loss_of(index, offset) for index, offset in enumerate(heads.config.offsets)]
    parameters = [value for value in (*heads.parameters(), *unembed.parameters()) if value.requires_grad]
    return _OneAtATime.apply(z, losses, *parameters)


# --- a model trained this way ---


class PairCache:
    """The caches of trunk and head 1, kept in step."""

    def __init__(self, trunk: Cache, head: KVCache) -> None:
        self.trunk, self.head = trunk, head

    @property
    def length(self) -> int:
        return self.trunk.length

    def crop(self, n: int) -> None:
        self.trunk.crop(n)
        self.head.crop(n)

    def keep(self, start: int, rows: Sequence[int]) -> None:
        self.trunk.keep(start, rows)
        self.head.keep(start, rows)


class MultiTokenNet(nn.Module):
    """Trunk, heads and output matrix as one language model that speaks with head 1; its hidden states are the trunk's."""

    def __init__(self, trunk: nn.Module, heads: MtpHeads, unembed: nn.Linear) -> None:
        super().__init__()
        if heads.config.offsets[0] != 1:
            raise ValueError(f"the first head guesses {heads.config.offsets[0]} tokens ahead, so nothing guesses the next one")
        self.trunk, self.heads, self.unembed = trunk, heads, unembed

    def forward(self, ids: Tensor) -> list[Tensor]:
        """Logits (B, T, V) of every head on texts (B, T)."""
        return [self.unembed(state) for state in self.heads(self.trunk(ids))]

    def new_cache(self, max_len: int) -> PairCache:
        return PairCache(self.trunk.new_cache(max_len), self.heads.new_cache(max_len))

    def step(
        self, ids: Tensor, cache: PairCache, *, positions: Tensor | None = None, mask: Tensor | None = None, last_only: bool = False
    ) -> tuple[Tensor, Tensor]:
        """`LanguageNet.step`: logits of head 1, states of the trunk."""
        if positions is not None or mask is not None:
            raise ValueError("this net verifies chains only")
        start, n = cache.length, len(ids)
        z = self.trunk(ids[None], cache.trunk)                              # (1, T, dim)
        turn, seen = self.heads.turn(start, n, z.device), causal_mask(n, start + n, z.device)
        state = self.heads.head(0, z, turn, seen, cached(slots(cache.head, n)[0]))[0]
        return self.unembed(state[-1:] if last_only else state).float(), z[0]
