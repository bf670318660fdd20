"""What speculative decoding asks of a model, and what a drafter is.

One round (Leviathan et al., arXiv 2211.17192): a drafter proposes tokens that may follow the last committed one, the target looks at all of
them in one pass, and the longest acceptable path becomes text. Between rounds this holds: `ids` is the text, its last token is *pending*
(committed, but not yet read by the target), and the target's cache holds all tokens before it.
Drafters are cheap objects that live as long as one text; networks, theirs and the target's, keep no state and are shared.
Read next: `models/decoding/generate.py`, `models/decoding/prompt_lookup.py` (the simplest drafter).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from models.decoding.sampling import SamplingConfig, greedy_choice, law, pick, uniform, where_doubles_are


class Cache(Protocol):
    """Keys and values of the tokens read so far (`models/nn/kvcache.py`)."""

    length: int

    def crop(self, n: int) -> None:
        """Forget all but the first n tokens."""

    def keep(self, start: int, rows: Sequence[int]) -> None:
        """Of the tokens from place `start` on keep only those at `start + row`, in that order."""


class LanguageNet(Protocol):
    """A causal language model, batch of one."""

    def step(
        self, ids: Tensor, cache: Cache, *, positions: Tensor | None = None, mask: Tensor | None = None, last_only: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Read ids (T,) behind what `cache` holds and append to it: logits (T, V) in fp32, hidden (T, dim).

        Without `positions` (T,) the tokens stand one after the other. `mask` (T, S), S = cache length + T, is True where a row may
        attend; without it the order is causal. `last_only` computes the logits of the last row only, (1, V).
        """

    def new_cache(self, max_len: int) -> Cache: ...


class Budget(Protocol):
    """How much to draft this round (`models/decoding/draft_length.py`)."""

    depth: int  # no path may be longer

    def trust(self, belief: float) -> float:
        """How often a token of this belief is accepted, its parent being accepted."""

    def wants(self, count: int, reach: float) -> bool:
        """Whether to add a `count`-th token that is at hand and survives with probability `reach`."""

    def ahead(self, count: int, reach: float) -> bool:
        """Whether to compute a `count`-th token behind one that survives with probability `reach`."""


@dataclass(frozen=True)
class Guess:
    """One token of a draft, with the law it was drawn from."""

    token: int
    law: Tensor | None  # (V,), or over the drafter's own vocabulary; None: chosen, not drawn
    q: float
    belief: float  # the drafter's estimate, made before the draw, that the target will keep it


@dataclass(frozen=True)
class Draft:
    """Proposed tokens as a tree, parents before children; -1 is the pending token.

    If `laws` is None the tokens were chosen (a one-hot law); else token i was drawn from `laws[i]`, and the draft is a chain.
    """

    tokens: tuple[int, ...] = ()
    parents: tuple[int, ...] = ()
    beliefs: tuple[float, ...] = ()
    laws: tuple[Tensor, ...] | None = None
    q: tuple[float, ...] | None = None
    kept: Tensor | None = None  # token ids that the entries of `laws` stand for; None: all
    computed: int = 0  # tokens that were computed, those found not worth proposing included

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def is_chain(self) -> bool:
        return all(parent == i - 1 for i, parent in enumerate(self.parents))


@dataclass(frozen=True)
class Context:
    """What a drafter sees when a round begins."""

    ids: list[int]  # the text; the last token is pending. Read only
    cache: Cache  # the target's: a drafter that borrows it must leave its length as it was
    hidden: Tensor | None  # (dim,) the target's state at the token before the pending one
    sampling: SamplingConfig
    seen: Tensor | None  # (V,) bool: tokens that the repetition penalty applies to; None without a penalty
    budget: Budget

    def guess(self, logits: Tensor, drafted: Sequence[int], kept: Tensor | None = None) -> Guess:
        """Choose (temperature 0) or draw the token that follows `drafted` from a drafter's logits, by the rules of the target.

        `belief` is the largest raw probability: a function of what stands before, never of the token drawn. (To decide by the drawn
        token whether to propose it would bend the law.)
        """
        logits = where_doubles_are(logits)
        belief = float(logits.softmax(-1).amax())
        if self.sampling.greedy:
            index = greedy_choice(logits, self.sampling, self._seen(drafted, kept))
            return Guess(index if kept is None else int(kept[index]), None, 1.0, belief)
        q = law(logits, self.sampling, self._seen(drafted, kept))
        place = len(self.ids) + len(drafted)
        index = int(pick(q, uniform(self.sampling.seed, place, "draft")))
        return Guess(index if kept is None else int(kept[index]), q, float(q[index]), belief)

    def _seen(self, drafted: Sequence[int], kept: Tensor | None) -> Tensor | None:
        if self.seen is None:
            return None
        seen = self.seen.clone()
        seen[list(drafted)] = True
        return seen if kept is None else seen[kept.to(seen.device)]


class Drafter(Protocol):
    """Proposes. `name` is what the records say; one that also has `typical` (a `speculative.Typical`) is tested by that rule."""

    name: str

    def observe(self, start: int, ids: Sequence[int], hidden: Tensor) -> None:
        """The target has read `ids` (n) at places start, start + 1, …; hidden (n, dim) are its states there.

        Called for every stretch of the prompt and after every round, in order.
        """

    def propose(self, context: Context) -> Draft:
        """Tokens that may follow the pending one, as many as `context.budget` wants."""


def chain(context: Context, first: Callable[[], Tensor], further: Callable[[int], Tensor], kept: Tensor | None = None) -> Draft:
    """Draft one token after the other: `first()` gives the logits behind the pending token, `further(token)` those behind a drafted one."""
    budget, guesses, reach, computed = context.budget, [], 1.0, 0
    while len(guesses) < budget.depth and budget.ahead(len(guesses) + 1, reach):
        logits = further(guesses[-1].token) if guesses else first()
        computed += 1
        guess = context.guess(logits, [g.token for g in guesses], kept)
        reach *= budget.trust(guess.belief)
        if not budget.wants(len(guesses) + 1, reach):
            break
        guesses.append(guess)
    return as_chain(guesses, computed, kept)


def as_chain(guesses: Sequence[Guess], computed: int, kept: Tensor | None = None) -> Draft:
    """A draft in which every token continues the one before it."""
    drawn = bool(guesses) and guesses[0].law is not None
    return Draft(
        tokens=tuple(g.token for g in guesses),
        parents=tuple(range(-1, len(guesses) - 1)),
        beliefs=tuple(g.belief for g in guesses),
        laws=tuple(g.law for g in guesses) if drawn else None,  # type: ignore[misc]
        q=tuple(g.q for g in guesses) if drawn else None,
        kept=kept,
        computed=computed,
    )


class NoDrafter:
    """Plain decoding: proposes nothing."""

    name = "none"

    def observe(self, start: int, ids: Sequence[int], hidden: Tensor) -> None:
        pass

    def propose(self, context: Context) -> Draft:
        return Draft()
