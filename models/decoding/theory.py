"""The arithmetic of speculation: what an acceptance rate is worth, what it must be, and what other draft lengths would have given.

With acceptance a per position, draft length g and seconds D(g) to draft, V(n) to verify n rows, O for the rest of a round, plain or not
(arXiv 2211.17192, section 3.3, and O):

    tokens a round = (1 - a^(g+1)) / (1 - a),     speed-up = tokens a round * (V(1) + O) / (D(g) + V(g + 1) + O)

A curve over g needs no second run: if the drafter's guesses are taken once over the finished greedy text, each from the true text before
it, then the text can be cut into the rounds that any g would have made (`replay_rounds`). Read next: `models/decoding/replay.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from models.decoding.draft_length import Costs
from models.decoding.tree import Path


def expected_tokens(acceptance: float, length: int) -> float:
    """Tokens of a round that drafts `length` tokens, each kept with probability `acceptance` if the one before was."""
    return sum(acceptance**i for i in range(length + 1))


def expected_speedup(acceptance: float, length: int, costs: Costs, other_s: float = 0.0) -> float:
    """Speed against plain decoding."""
    return expected_tokens(acceptance, length) / _plain_rounds(length, costs, other_s)


def needed_acceptance(length: int, costs: Costs, other_s: float = 0.0) -> float:
    """The acceptance at which drafting `length` tokens is as fast as plain decoding; above 1 if none is enough."""
    wanted = _plain_rounds(length, costs, other_s)  # tokens a round
    if wanted <= 1:
        return 0.0
    if wanted >= length + 1:
        return wanted / (length + 1)
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if expected_tokens(middle, length) < wanted else (low, middle)
    return high


def _plain_rounds(length: int, costs: Costs, other_s: float) -> float:
    """The time of a round that drafts `length` tokens, in plain rounds of one token."""
    return (costs.draft(length) + costs.verify(length + 1) + other_s) / (costs.verify(1) + other_s)


@dataclass(frozen=True)
class Teacher:
    """A drafter's guesses over a finished text of T tokens, each made from the true text before it.

    `runs[t]`: how many guesses in a row are right when drafting begins before token t. `offered[t]`: how many it would make at most there
    (prompt lookup makes none without a match).
    """

    runs: tuple[int, ...]
    offered: tuple[int, ...]

    @property
    def acceptance(self) -> float:
        """Share of first guesses that are right, of those made."""
        made = sum(count > 0 for count in self.offered)
        return sum(run > 0 for run in self.runs) / made if made else 0.0

    def accepted_at(self, depth: int) -> float:
        """Share of places whose first `depth` guesses are all right."""
        return sum(run >= depth for run in self.runs) / len(self.runs) if self.runs else 0.0


def replay_rounds(teacher: Teacher, length: int) -> list[tuple[int, int]]:
    """The rounds of the text with drafts of `length`: (tokens proposed, tokens committed) each."""
    rounds, place, total = [], 0, len(teacher.runs)
    while place < total:
        proposed = min(length, teacher.offered[place], total - place - 1)  # the last token needs no draft
        committed = min(teacher.runs[place], proposed) + 1
        rounds.append((proposed, committed))
        place += committed
    return rounds


@dataclass(frozen=True)
class CurvePoint:
    """What drafts of one length would have given on a text."""

    length: int
    accepted_at: float  # of this depth, all before being right too
    tokens_per_round: float
    tokens_per_s: float
    speedup: float
    needed: float  # acceptance


def gamma_curve(teacher: Teacher, costs: Costs, most: int, other_s: float = 0.0) -> list[CurvePoint]:
    """The curve from length 0 (plain decoding) to `most`."""
    points = []
    for length in range(most + 1):
        rounds = replay_rounds(teacher, length)
        seconds = sum(costs.draft(made) + costs.verify(made + 1) + other_s for made, _ in rounds)
        tokens = sum(committed for _, committed in rounds)
        plain_s = tokens * (costs.verify(1) + other_s)
        points.append(CurvePoint(
            length, teacher.accepted_at(length) if length else 1.0, tokens / max(1, len(rounds)),
            tokens / seconds if seconds else 0.0, plain_s / seconds if seconds else 1.0,
            needed_acceptance(length, costs, other_s),
        ))  # fmt: skip
    return points


def replay_tree(ranks: Sequence[Sequence[int]], shape: Sequence[Path]) -> list[int]:
    """Tokens committed round after round if every round proposes the tree `shape`.

    `ranks[t][k]`: the place of the true token t + k among the choices of head k + 1, when drafting begins before token t.
    """
    nodes, rounds, place, total = set(shape), [], 0, len(ranks)
    while place < total:
        path: Path = ()
        while place + len(path) < total - 1 and len(path) < len(ranks[place]) and (*path, ranks[place][len(path)]) in nodes:
            path = (*path, ranks[place][len(path)])
        rounds.append(len(path) + 1)
        place += len(path) + 1
    return rounds
