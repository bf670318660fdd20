"""How much to draft: a fixed number of tokens, or as many as pay for themselves.

A proposed token that survives with probability r adds r tokens to the round and costs the extra time of drafting it and of verifying
one row more. At a speed of s tokens a second it pays if `r >= s (extra time)`: the rule of the best rate in renewal theory. `Adaptive`
knows what passes cost (`Costs`, measured), and learns how often tokens are kept, by depth and by how sure the drafter was. It may draft
nothing, and then decoding is plain. Where a draft's length could change the text (temperature above 0) it can be told to read no clock,
so that equal jobs give equal texts. Read next: `models/decoding/theory.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Protocol

from models.decoding.drafting import Budget, Draft
from models.decoding.tree import depths

MAX_DRAFT = 16
BINS = 16  # classes of belief
PRIOR = 4.0  # observations that a belief is worth before anything was observed
FORGET = 0.985  # a round's memory: after 150 rounds a tenth is left, so that what did not pay is tried again
SAMPLES = 9  # last measurements of which the median counts

FP16_VERIFY = (1.0, 1.08, 1.22, 1.36, 1.54, 1.67, 1.87, 1.99, 2.18, 2.31, 2.5, 2.7, 2.8, 2.93, 3.15, 3.37, 3.6)
"""A pass over 1, 2, … tokens against a pass over one; SmolLM2 in fp16 weights on one core. A first guess until there are measurements."""


@dataclass(frozen=True)
class Costs:
    """Seconds, measured: `verify_s[i]` of a target pass over i + 1 tokens, `draft_s[i]` of drafting i + 1 tokens."""

    verify_s: tuple[float, ...] = FP16_VERIFY
    draft_s: tuple[float, ...] = (1e-9, 2e-9)  # nothing worth counting until it was measured, and then in proportion

    def verify(self, rows: int) -> float:
        return _at(self.verify_s, rows)

    def draft(self, count: int) -> float:
        return 0.0 if count == 0 else _at(self.draft_s, count)


def _at(table: Sequence[float], count: int) -> float:
    """Entry `count` (from 1), behind the end on the line through the last two."""
    if count <= len(table):
        return table[count - 1]
    slope = table[-1] - table[-2] if len(table) > 1 else table[-1]
    return table[-1] + slope * (count - len(table))


class LengthPolicy(Protocol):
    """Gives every round its budget and hears what became of it."""

    def begin(self, drafter: str, limit: int) -> Budget:
        """The budget of a round in which at most `limit` tokens fit."""

    def learn(self, draft: Draft, fates: Sequence[bool | None], draft_s: float, verify_s: float) -> None:
        """What a round proposed, which of it was kept (None: untested), and how long drafting and verifying took."""


@dataclass(frozen=True)
class FixedBudget:
    """`limit` tokens, whatever the drafter thinks."""

    limit: int

    @property
    def depth(self) -> int:
        return self.limit

    def trust(self, belief: float) -> float:
        return belief

    def wants(self, count: int, reach: float) -> bool:
        return count <= self.limit

    def ahead(self, count: int, reach: float) -> bool:
        return count <= self.limit


@dataclass(frozen=True)
class FixedLength:
    """Always the same number of tokens, as far as they fit."""

    length: int

    def begin(self, drafter: str, limit: int) -> Budget:
        return FixedBudget(max(0, min(self.length, limit)))

    def learn(self, draft: Draft, fates: Sequence[bool | None], draft_s: float, verify_s: float) -> None:
        pass


class Rate:
    """How often something happens: kept and seen observations that fade, beginning with a prior."""

    def __init__(self, prior: float) -> None:
        self.prior, self.kept, self.seen = prior, 0.0, 0.0

    @property
    def value(self) -> float:
        return (self.kept + self.prior * PRIOR) / (self.seen + PRIOR)

    def add(self, kept: bool) -> None:
        self.kept += kept
        self.seen += 1

    def fade(self) -> None:
        self.kept *= FORGET
        self.seen *= FORGET


class Clock:
    """Measured seconds by count, filled up from a table where nothing was measured."""

    def __init__(self, table: Sequence[float]) -> None:
        self.table, self.scale = tuple(table), 1.0  # scale: measured against the table
        self._samples: dict[int, list[float]] = {}
        self._median: dict[int, float] = {}

    def add(self, count: int, seconds: float) -> None:
        samples = self._samples.setdefault(count, [])
        samples.append(seconds)
        del samples[:-SAMPLES]
        self._median[count] = median(samples)
        self.scale = sum(self._median.values()) / sum(_at(self.table, n) for n in self._median)

    def at(self, count: int) -> float:
        return self._median[count] if count in self._median else self.scale * _at(self.table, count)


class Adaptive:
    """Draft what pays: see the module. Keeps what it learned, so one object may serve many texts of a model and a drafter.

    `clock` False: only the given costs count, and the same text gives the same lengths.
    """

    def __init__(self, costs: Costs | None = None, clock: bool = True, first_guess: float = 0.5, most: int = MAX_DRAFT) -> None:
        costs = costs or Costs()
        self.verify, self.drafting, self.clock, self.most = Clock(costs.verify_s), Clock(costs.draft_s), clock, most
        self.by_belief = [Rate((k + 0.5) / BINS) for k in range(BINS)]
        self.by_depth = [Rate(first_guess) for _ in range(most + 1)]  # of tokens that were computed, proposed or not
        self.tokens = self.seconds = 0.0  # of the last rounds, fading; seconds as the costs tell, not the clock

    def begin(self, drafter: str, limit: int) -> Budget:
        return AdaptiveBudget(self, max(0, min(limit, self.most)))

    def learn(self, draft: Draft, fates: Sequence[bool | None], draft_s: float, verify_s: float) -> None:
        for rate in (*self.by_belief, *self.by_depth):
            rate.fade()
        kept_at: dict[int, bool] = {}  # a depth is kept if any of its tested tokens was
        for belief, fate, depth in zip(draft.beliefs, fates, depths(draft.parents), strict=True):
            if fate is not None:
                self.belief_rate(belief).add(fate)
                kept_at[depth] = kept_at.get(depth, False) or fate
        if draft.computed > len(draft) and all(fates):
            kept_at[len(draft) + 1] = False  # computed, and then not worth proposing
        for depth, kept in kept_at.items():
            self.by_depth[depth - 1].add(kept)
        if self.clock:
            self.verify.add(len(draft) + 1, verify_s)
            if draft.computed:
                self.drafting.add(draft.computed, draft_s)
        spent = self.verify.at(len(draft) + 1) + (self.drafting.at(draft.computed) if draft.computed else 0.0)
        self.tokens = FORGET * self.tokens + 1 + sum(kept_at.values())
        self.seconds = FORGET * self.seconds + spent

    @property
    def speed(self) -> float:
        """Tokens a second: of plain decoding, or of the last rounds if they were faster."""
        plain = 1 / self.verify.at(1)
        return max(plain, self.tokens / self.seconds) if self.seconds > 0 else plain

    def belief_rate(self, belief: float) -> Rate:
        return self.by_belief[min(BINS - 1, int(belief * BINS))]

    def costs(self) -> Costs:
        """What passes cost as far as is known."""
        counts = range(1, self.most + 1)
        return Costs(tuple(self.verify.at(n) for n in (*counts, self.most + 1)), tuple(self.drafting.at(n) for n in counts))


class AdaptiveBudget:
    """One round's decisions at the rates and costs known when it began."""

    def __init__(self, policy: Adaptive, limit: int) -> None:
        self.policy, self.limit, self.depth = policy, limit, limit
        self.kept = [rate.value for rate in policy.by_depth]
        self.verify_s = [policy.verify.at(rows) for rows in range(1, limit + 2)]
        self.draft_s = [0.0, *(policy.drafting.at(count) for count in range(1, limit + 1))]
        self.speed = policy.speed

    def trust(self, belief: float) -> float:
        return self.policy.belief_rate(belief).value

    def wants(self, count: int, reach: float) -> bool:
        """A token at hand: verifying it costs time, drafting it no more."""
        if count > self.limit:
            return False
        return self._pays(count, reach, self.verify_s[count - 1] + self.draft_s[count])

    def ahead(self, count: int, reach: float) -> bool:
        """A token still to be computed; `reach` is that of the token before it."""
        if count > self.limit:
            return False
        return self._pays(count, reach * self.kept[count - 1], self.verify_s[count - 1] + self.draft_s[count - 1])

    def _pays(self, count: int, reach: float, spent: float) -> bool:
        """Whether some number of tokens from `count` on brings more than the same time at the usual speed.

        Looking further than one token matters where passes over 2 and 3 rows cost more than one over 4 (fp32 on a CPU).
        """
        gain = 0.0
        for last in range(count, self.limit + 1):
            gain += reach
            if gain >= self.speed * (self.verify_s[last] + self.draft_s[last] - spent):
                return True
            reach *= self.kept[last]
        return False
