"""What a drafter would have guessed at every place of a finished text, in one pass instead of one a round (`theory.Teacher`).

A guess counts only if all before it were right, and then it was made from the true text: so guesses may be made from the true text
everywhere, and nothing is estimated. Exact for greedy text. Then also the stamp: one pass of the target over a greedy text must choose
every one of its tokens. Read next: `models/decoding/theory.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.decoding.draft_length import FixedBudget
from models.decoding.drafting import Context, Drafter, LanguageNet
from models.decoding.eagle import EagleLayer, Embed
from models.decoding.early_exit import LayeredNet
from models.decoding.lookup_first import LookupFirst
from models.decoding.medusa import MAX_WIDTH, MedusaHeads, Unembed
from models.decoding.mtp import MtpHeads
from models.decoding.prompt_lookup import PromptLookup
from models.decoding.sampling import SamplingConfig, penalised
from models.decoding.theory import Teacher
from models.decoding.training import unroll

CHUNK = 256


@dataclass(frozen=True)
class FinishedText:
    """Prompt and reply with the target's states, hidden (T, dim) at every token."""

    ids: Tensor  # (T,)
    hidden: Tensor
    reply: int  # place of the reply's first token

    @property
    def count(self) -> int:
        """Tokens of the reply."""
        return len(self.ids) - self.reply

    @property
    def first(self) -> int:
        """Place of the newest state when the first token of the reply is drafted: the token between is pending."""
        return max(0, self.reply - 2)

    def enter(self, table: list[list], column: int, values: Sequence) -> None:
        """Write what was found at the states from `first` on into the rows of the reply's tokens."""
        for row, value in enumerate(values, start=self.first + 2 - self.reply):
            table[row][column] = value


@torch.no_grad()
def read_text(net: LanguageNet, ids: Sequence[int], reply: int, device: torch.device | str = "cpu") -> Iterator[FinishedText | None]:
    """Read a finished text in chunks, yielding None after each but the last, then the text with its states."""
    tokens, cache, parts = torch.tensor(ids, device=device), net.new_cache(len(ids)), []
    for part in tokens.split(CHUNK):
        parts.append(net.step(part, cache, last_only=True)[1])
        if cache.length < len(ids):
            yield None
    yield FinishedText(tokens, torch.cat(parts), reply)


def from_hits(hits: Sequence[Sequence[bool]], offered: Sequence[int] | None = None) -> Teacher:
    """A teacher from hits[t][k]: whether guess k + 1 of a draft before reply token t is right."""
    runs = []
    for row in hits:
        run = next((k for k, hit in enumerate(row) if not hit), len(row))
        runs.append(run)
    return Teacher(tuple(runs), tuple(len(row) for row in hits) if offered is None else tuple(offered))


def from_next(right: Sequence[bool], most: int) -> Teacher:
    """A teacher of a drafter that reads its own guesses like text: right[t] says whether it knows reply token t from those before."""
    return from_hits([right[t : t + most] for t in range(len(right))])


@torch.no_grad()
def draft_model_teacher(net: LanguageNet, text: FinishedText, most: int) -> Teacher:
    """A draft model; one pass of it over the text."""
    logits, _ = net.step(text.ids[:-1], net.new_cache(len(text.ids)))
    return from_next((logits.argmax(-1) == text.ids[1:])[text.reply - 1 :].tolist(), most)


@torch.no_grad()
def early_exit_teacher(net: LayeredNet, n_layers: int, text: FinishedText, most: int) -> Teacher:
    """The target's first layers; one shallow pass."""
    states = net(text.ids[None, :-1], None, n_layers=n_layers)[0, text.reply - 1 :]  # (count, dim)
    return from_next((net.head(states).argmax(-1) == text.ids[text.reply :]).tolist(), most)


def looking_teacher(ids: list[int], reply: int, most: int, drafter: Drafter) -> Teacher:
    """A drafter that only looks at the text (prompt lookup, a memory of n-grams): so cheap that it simply runs at every place."""
    hits, offered = [], []
    for place in range(reply, len(ids)):
        draft = drafter.propose(Context(ids[:place], None, None, SamplingConfig(), None, FixedBudget(most)))
        hits.append([token == true for token, true in zip(draft.tokens, ids[place:])])
        offered.append(len(draft))
    return from_hits(hits, offered)


def lookup_first_teacher(ids: list[int], reply: int, most: int, drafter: LookupFirst, other: Teacher) -> Teacher:
    """Prompt lookup behind long matches, elsewhere `other`, the guesses of the second drafter; short matches where it has none."""
    copied = looking_teacher(ids, reply, most, PromptLookup(max(drafter.lookup.sizes)))
    runs, offered = list(other.runs), list(other.offered)
    for row, place in enumerate(range(reply, len(ids))):
        found = drafter.lookup.find(ids[:place])
        if found is not None and (found[1] >= drafter.sure or not offered[row]):
            runs[row], offered[row] = copied.runs[row], copied.offered[row]
    return Teacher(tuple(runs), tuple(offered))


@torch.no_grad()
def medusa_ranks(heads: MedusaHeads, unembed: Unembed, text: FinishedText) -> list[list[int]]:
    """[t][k]: the place of reply token t + k among the choices of head k + 1 before reply token t; MAX_WIDTH if beyond.

    There token t - 1 is pending, and the newest state is that of token t - 2.
    """
    ranks = [[MAX_WIDTH] * heads.config.n_heads for _ in range(text.count)]
    for k in range(heads.config.n_heads):
        states = text.hidden[text.first : len(text.ids) - 2 - k]            # (n, dim)
        choice = heads.kept[heads.head(k, states, unembed).topk(min(MAX_WIDTH, len(heads.kept)), -1).indices]  # (n, width)
        found = choice == text.ids[text.first + 2 + k :, None]              # (n, width)
        text.enter(ranks, k, torch.where(found.any(-1), found.int().argmax(-1), MAX_WIDTH).tolist())
    return ranks


def ranks_teacher(ranks: Sequence[Sequence[int]], most: int) -> Teacher:
    """The chain of first choices."""
    return from_hits([[rank == 0 for rank in row[:most]] for row in ranks])


@torch.no_grad()
def mtp_teacher(heads: MtpHeads, unembed: Unembed, text: FinishedText, most: int) -> Teacher:
    """The parallel heads of offsets 2, 3, …"""
    states = heads(text.hidden[None])
    guessing = [(offset, state[0]) for offset, state in zip(heads.config.offsets, states, strict=True) if offset > 1][:most]
    hits = [[False] * len(guessing) for _ in range(text.count)]
    for k, (offset, state) in enumerate(guessing):
        guess = heads.kept[unembed(state[text.first : -offset]).argmax(-1)]  # (n,)
        text.enter(hits, k, (guess == text.ids[text.first + offset :]).tolist())
    return from_hits(hits)


@torch.no_grad()
def eagle_teacher(layer: EagleLayer, embed: Embed, unembed: Unembed, text: FinishedText, most: int) -> Teacher:
    """The EAGLE layer on its own estimates, from every place at once."""
    steps = max(1, min(most, len(text.ids) - 2 - text.first))
    hits = [[False] * most for _ in range(text.count)]
    for step, estimate in enumerate(unroll(layer, text.hidden[None], embed(text.ids)[None].float(), steps, text.first)):
        guess = layer.kept[unembed(estimate[0, :-1]).argmax(-1)]            # (n,); row t guesses token first + t + 2 + step
        text.enter(hits, step, (guess == text.ids[text.first + 2 + step :]).tolist())
    return from_hits(hits)


# --- the stamp ---


@dataclass(frozen=True)
class Mismatch:
    """A place where the target would have chosen otherwise, and by how much its choice leads."""

    place: int
    token: int
    best: int
    gap: float


@torch.no_grad()
def check_greedy(
    net: LanguageNet, ids: Sequence[int], reply: int, sampling: SamplingConfig | None = None, device: torch.device | str = "cpu"
) -> Iterator[tuple[int, list[Mismatch]]]:
    """One pass over a greedy text, in chunks: (reply tokens checked so far, mismatches of this chunk).

    A gap of a hundredth is rounding (passes over different numbers of rows add in another order), a gap of 1 an error.
    """
    tokens, cache, sampling = torch.tensor(ids, device=device), net.new_cache(len(ids)), sampling or SamplingConfig()
    for part in tokens[: reply - 1].split(CHUNK):
        if len(part):
            net.step(part, cache, last_only=True)
            yield 0, []
    for part in tokens[reply - 1 : -1].split(CHUNK):
        start = cache.length
        logits = net.step(part, cache)[0]                                   # (n, V)
        if sampling.repetition_penalty != 1:
            logits = penalised(logits, sampling, _seen(tokens, start, *logits.shape))
        true = tokens[start + 1 : start + 1 + len(part)]
        best = logits.max(-1)
        gap = best.values - logits.gather(-1, true[:, None]).squeeze(-1)
        wrong = (best.indices != true).nonzero().squeeze(-1).tolist()
        yield start + 1 + len(part) - reply, [
            Mismatch(start + 1 + row, int(true[row]), int(best.indices[row]), float(gap[row])) for row in wrong
        ]


def _seen(tokens: Tensor, start: int, count: int, vocab_size: int) -> Tensor:
    """(count, V) bool: the tokens of the text up to each of the places start, start + 1, …"""
    seen = torch.zeros(count, vocab_size, dtype=torch.bool, device=tokens.device)
    seen[:, tokens[:start]] = True
    for row in range(count):
        seen[row:, tokens[start + row]] = True
    return seen
