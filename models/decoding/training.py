"""How drafters learn: every loss is taken on text that the target wrote itself, with the target frozen, as a generator of `TrainStep`.

Medusa-1 (arXiv 2401.10774, eq. 2): `sum_k 0.8^k CE_k`, head k against the token k + 1 places on. EAGLE (arXiv 2401.15077, section 4.2):
the law that the target gives at the state estimated, and a smooth L1 to that state; unrolled over several steps on its own estimates, as
the drafter will run (HASS, arXiv 2408.15766; EAGLE-3's training-time test, arXiv 2503.01840). Draft model: the target's law at every
place (Hinton et al., arXiv 1503.02531). Only places whose label the target wrote (`counted`) count. Read next: `models/fitting.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.decoding.eagle import EagleLayer, Embed
from models.decoding.medusa import MedusaHeads, Unembed
from models.decoding.mtp import MtpHeads
from models.fitting import Average, FitConfig, Loss, fit
from models.steps import TrainStep

Read = Callable[[Tensor], Tensor]  # token ids (B, T) -> the target's last states, normed (B, T, dim)
HEAD_DECAY = 0.8


@dataclass(frozen=True)
class TextBatch:
    """Texts as the target saw them."""

    tokens: Tensor  # (B, T)
    counted: Tensor  # (B, T) bool: the target wrote this token
    hidden: Tensor  # (B, T, dim) its states, after the final norm


@dataclass(frozen=True)
class Texts:
    """Rows of token ids with the places that count; `head` stands before every row and never counts."""

    tokens: np.ndarray  # (N, T) of any integer type
    counted: np.ndarray  # (N, T) bool
    head: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.tokens.shape != self.counted.shape or self.tokens.ndim != 2:
            raise ValueError(f"tokens {self.tokens.shape} and counted places {self.counted.shape} must be equal tables")

    def rows(self, chosen: np.ndarray) -> tuple[Tensor, Tensor]:
        """Tokens and counted places (B, head + T) of some rows."""
        head = np.broadcast_to(np.array(self.head, dtype=np.int64), (len(chosen), len(self.head)))
        tokens = np.concatenate([head, self.tokens[chosen].astype(np.int64)], 1)
        counted = np.concatenate([np.zeros(head.shape, dtype=bool), self.counted[chosen]], 1)
        return torch.from_numpy(tokens), torch.from_numpy(counted)


def chosen_rows(count: int, batch_size: int, seed: int, step: int) -> np.ndarray:
    """The rows of batch `step`: every row once an epoch, in an order that depends on the seed and the epoch."""
    places = np.arange(step * batch_size, (step + 1) * batch_size)
    orders = {epoch: np.random.default_rng([seed, int(epoch)]).permutation(count) for epoch in np.unique(places // count)}
    return np.array([orders[place // count][place % count] for place in places])


def text_batches(texts: Texts, read: Read, batch_size: int, seed: int, device: torch.device | str = "cpu") -> Callable[[int], TextBatch]:
    """Batches whose states are computed when they are asked for."""

    def batch(step: int) -> TextBatch:
        tokens, counted = texts.rows(chosen_rows(len(texts.tokens), batch_size, seed, step))
        tokens = tokens.to(device)
        with torch.no_grad():
            return TextBatch(tokens, counted.to(device), read(tokens).float())

    return batch


# --- losses ---


def soft_loss(logits: Tensor, teacher: Tensor) -> Tensor:
    """Cross-entropy (n,) of logits (n, V) against the law of the teacher's logits (n, V)."""
    return -(teacher.float().softmax(-1) * logits.float().log_softmax(-1)).sum(-1)


def agreement(logits: Tensor, teacher: Tensor) -> float:
    """Share of rows with the same likeliest token: what a greedy drafter has accepted."""
    return float((logits.argmax(-1) == teacher.argmax(-1)).float().mean()) if len(logits) else 0.0


def mean(losses: Tensor, like: Tensor) -> Tensor:
    """The mean, or a zero with a gradient if nothing counted in this batch."""
    return losses.mean() if len(losses) else like.sum() * 0.0


def places_of(kept: Tensor, vocab_size: int) -> Tensor:
    """(V,) where a token stands in the list `kept`; -1 if it does not."""
    table = torch.full((vocab_size,), -1, dtype=torch.long, device=kept.device)
    table[kept.long()] = torch.arange(len(kept), device=kept.device)
    return table


def medusa_loss(
    heads: MedusaHeads, batch: TextBatch, unembed: Unembed, soft: bool = False, most: int = 0, rng: torch.Generator | None = None
) -> Loss:
    """Medusa-1. `soft`: the target's law at the guessed place is the label, instead of the token that it drew there.

    All heads guess the same places, so the target's law is computed once; with `most` above 0 only so many places, drawn with `rng`.
    """
    row, at = _guessed(batch.counted, most, rng)
    with torch.no_grad():
        teacher = unembed(batch.hidden[row, at - 1]).float()                # (n, V)
        labels = teacher.softmax(-1) if soft else _labels(heads.kept, batch.tokens, row, at)
    total, metrics = batch.hidden.new_zeros(()), {}
    for k in range(heads.config.n_heads):
        fits = at >= k + 2  # the state at t is that of token t; the target itself guesses t + 1, head k the token k + 2 on
        here = slice(None) if bool(fits.all()) else fits
        logits = heads.head(k, batch.hidden[row[here], at[here] - k - 2], unembed)  # (n, V)
        if soft:
            loss = mean(-(labels[here] * logits.float().log_softmax(-1)).sum(-1), logits)
        else:
            said = labels[here]
            loss = mean(F.cross_entropy(logits.float(), said, ignore_index=-1, reduction="none")[said >= 0], logits)
        total = total + HEAD_DECAY ** (k + 1) * loss
        metrics[f"top1_{k + 1}"] = agreement(logits, teacher[here])
    return total, metrics


def _guessed(counted: Tensor, most: int, rng: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Row and place (n,) of the tokens that heads are to guess: all that count from the third on, or `most` of them."""
    row, at = counted[:, 2:].nonzero(as_tuple=True)
    if 0 < most < len(at):
        chosen = torch.randperm(len(at), generator=rng)[:most].sort().values.to(at.device)
        row, at = row[chosen], at[chosen]
    return row, at + 2


def _labels(kept: Tensor, tokens: Tensor, row: Tensor, at: Tensor) -> Tensor:
    """Places in `kept` of the tokens guessed; -1 for those that cannot be said."""
    return places_of(kept, int(max(kept.max(), tokens.max())) + 1)[tokens[row, at]]


def unroll(layer: EagleLayer, hidden: Tensor, embedded: Tensor, steps: int, first: int = 0) -> list[Tensor]:
    """The drafts that begin at every place from `first` on, `steps` long, all at once, fed with true tokens and their own estimates.

    hidden and embedded (B, T, dim). Entry s: (B, T - 1 - s - first, dim); row t estimates the state at first + t + 1 + s of a draft that
    knows true states up to first + t. In step s it stands s places on, and looks at the true pairs up to there and at its own earlier
    steps, nobody else's.
    """
    past: list[Tensor] = []

    def remember(new: Tensor) -> tuple[Tensor, Tensor]:
        past.append(new)
        keys, values = torch.cat(past, 2).chunk(2, dim=1)
        return keys, values

    places = torch.arange(hidden.shape[1] - 1, device=hidden.device)
    seen = places <= places[:, None]                                        # (T - 1, T - 1)
    state = layer(hidden[:, :-1], embedded[:, 1:], 0, seen, remember)       # (B, T - 1, dim)
    estimates, seen = [state[:, first:]], seen[first:]
    for step in range(1, steps):
        n = len(places) - first - step
        own = places[:n] == places[:n, None]                                # (n, n)
        seen = torch.cat([seen[:n], own], 1)  # the last row of every earlier step has nothing left to continue
        begin = first + step
        state = layer(estimates[-1][:, :n], embedded[:, begin + 1 :], begin, seen, remember)
        estimates.append(state)                                             # (B, n, dim)
    return estimates


def eagle_loss(layer: EagleLayer, batch: TextBatch, embed: Embed, unembed: Unembed, steps: int = 2, regress: float = 0.1) -> Loss:
    """Soft labels and states over `steps` of a draft, the further ones counting less."""
    with torch.no_grad():
        embedded = embed(batch.tokens).float()                              # (B, T, dim)
    total, metrics = batch.hidden.new_zeros(()), {}
    for step, estimate in enumerate(unroll(layer, batch.hidden, embedded, steps)):
        rows = batch.counted[:, step + 2 :]                                 # (B, T - 2 - s)
        guess, truth = estimate[:, :-1][rows], batch.hidden[:, step + 1 : -1][rows]  # (n, dim)
        logits = unembed(guess)                                             # (n, V)
        with torch.no_grad():
            teacher = unembed(truth)                                        # (n, V)
        distance = F.smooth_l1_loss(guess.float(), truth, reduction="none").mean(-1)
        total = total + HEAD_DECAY**step * mean(soft_loss(logits, teacher) + regress * distance, logits)
        metrics[f"top1_{step + 1}"] = agreement(logits, teacher)
    return total, metrics


def draft_loss(student: nn.Module, batch: TextBatch, unembed: Unembed) -> Loss:
    """A small language model against the target's law, `unembed` being the target's output matrix over the whole vocabulary."""
    rows = batch.counted[:, 1:]
    logits = student.head(student(batch.tokens)[:, :-1][rows])              # (n, V)
    with torch.no_grad():
        teacher = unembed(batch.hidden[:, :-1][rows])                       # (n, V)
    return mean(soft_loss(logits, teacher), logits), {"top1_1": agreement(logits, teacher)}


def mtp_loss(heads: MtpHeads, batch: TextBatch, unembed: Unembed) -> Loss:
    """Heads added to a finished model: each against the target's law at the place before the token it guesses."""
    total, metrics = batch.hidden.new_zeros(()), {}
    for offset, state in zip(heads.config.offsets, heads(batch.hidden), strict=True):
        rows = batch.counted[:, offset:]
        logits = unembed(state[:, :-offset][rows])                          # (n, V)
        with torch.no_grad():
            teacher = unembed(batch.hidden[:, offset - 1 : -1][rows])       # (n, V)
        total = total + mean(soft_loss(logits, teacher), logits)
        metrics[f"top1_{offset}"] = agreement(logits, teacher)
    return total, metrics


# --- generators ---


def train_medusa(
    heads: MedusaHeads, batches: Callable[[int], TextBatch], unembed: Unembed, config: FitConfig,
    average: Average | None = None, soft: bool = False, most: int = 0,
) -> Iterator[TrainStep]:  # fmt: skip
    """Train all heads at once, on at most `most` places of a batch (0: all)."""
    return fit(heads, lambda batch, rng: medusa_loss(heads, batch, unembed, soft, most, rng), batches, config, average)


def train_eagle(
    layer: EagleLayer, batches: Callable[[int], TextBatch], embed: Embed, unembed: Unembed, config: FitConfig,
    average: Average | None = None, steps: int = 2, regress: float = 0.1,
) -> Iterator[TrainStep]:  # fmt: skip
    """Train the layer over `steps` of its own drafts."""
    return fit(layer, lambda batch, _: eagle_loss(layer, batch, embed, unembed, steps, regress), batches, config, average)


def train_draft(
    student: nn.Module, batches: Callable[[int], TextBatch], unembed: Unembed, config: FitConfig, average: Average | None = None
) -> Iterator[TrainStep]:
    """Distil the target into a small language model."""
    return fit(student, lambda batch, _: draft_loss(student, batch, unembed), batches, config, average)


def train_mtp(
    heads: MtpHeads, batches: Callable[[int], TextBatch], unembed: Unembed, config: FitConfig, average: Average | None = None
) -> Iterator[TrainStep]:
    """Train heads on a frozen model's states."""
    return fit(heads, lambda batch, _: mtp_loss(heads, batch, unembed), batches, config, average)


# --- beginnings ---


def spread_layers(n_layers: int, wanted: int) -> list[int]:
    """`wanted` of the layers 0 … n_layers - 1, evenly spread, the first and the last among them."""
    if not 1 <= wanted <= n_layers:
        raise ValueError(f"{wanted} layers cannot be chosen from {n_layers}")
    return [0] if wanted == 1 else [round(i * (n_layers - 1) / (wanted - 1)) for i in range(wanted)]


def shallow_copy(net: nn.Module, layers: list[int]) -> nn.Module:
    """A language model with some of the layers of `net` (its `blocks`), everything else copied: where a draft model begins."""
    small = type(net)(replace(net.config, n_layers=len(layers)))
    names = {f"blocks.{layer}.": f"blocks.{place}." for place, layer in enumerate(layers)}
    state = {}
    for name, value in net.state_dict().items():
        old = ".".join(name.split(".")[:2]) + "."
        if not name.startswith("blocks."):
            state[name] = value
        elif old in names:
            state[names[old] + name.removeprefix(old)] = value
    small.load_state_dict(state)
    return small
