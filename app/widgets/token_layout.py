"""Where the tokens of a text stand: lines that grow at the end, words kept whole, room for a ghost line where drafts were refused.

Adding a token moves at most the word it belongs to, so a long text costs no more than a short one. No Qt in here: widths come from a
function, which makes the arithmetic testable.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from app.protocol.chat import ChatRound, DraftedToken, ForcedToken
from app.widgets.fate_marks import visible

GAP, GHOST_GAP = 1, 10
MARK_ROOM = {"corrected": 9, "bonus": 9}
"""Pixels kept free beside the words of a chip for the mark of its fate."""
MOST_GHOSTS = 4


@dataclass(slots=True)
class Chip:
    """A token of the reply: where it comes from and where it stands. `round` is -1 for a beginning that was given."""

    kind: str
    round: int
    text: str
    width: float
    entropy: float = 0.0
    breaks: bool = False
    """A line ends behind it."""
    x: float = 0.0
    ghosts: tuple[int, ...] = ()
    """Places in the round's `drafted` that were guessed for this token or after it, and not kept."""


@dataclass(slots=True)
class Line:
    """Chips from `first` to the next line's first."""

    first: int
    y: float = 0.0
    ghostly: bool = False


@dataclass(slots=True)
class Ghost:
    """A drafted token that was not kept, under the token that came instead."""

    round: int
    place: int
    text: str
    x: float
    width: float
    fate: str


@dataclass
class Heights:
    """Pixels of the parts of a line: entropy bar, chip, ghosts, and the gap to the next line."""

    entropy: float = 8
    chip: float = 19
    ghost: float = 16
    gap: float = 4

    def of(self, line: Line) -> float:
        """The height of a line with its gap."""
        return self.entropy + self.chip + (self.ghost if line.ghostly else 0) + self.gap


@dataclass
class TokenLayout:
    """All chips, flowed into `width`."""

    measure: Callable[[str], float]
    width: float
    heights: Heights = field(default_factory=Heights)
    rounds: list[ChatRound] = field(default_factory=list)
    chips: list[Chip] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    firsts: list[int] = field(default_factory=list)
    """Per round the number of its first chip."""
    _end: float = 0.0
    _word: int = 0

    def begin(self, tokens: Sequence[ForcedToken]) -> None:
        """Put the tokens that the reply had to begin with; before any round."""
        for token in tokens:
            text = visible(token.text)
            self._place(Chip("given", -1, text, self.measure(text) + 2, breaks="\n" in token.text))
        self._stack(0)

    def add(self, round_: ChatRound) -> int:
        """Append a round; returns the first line that changed."""
        changed = max(len(self.lines) - 1, 0)  # the lines before are full: at most a word of the last one moves on
        number = len(self.rounds)
        self.rounds.append(round_)
        self.firsts.append(len(self.chips))
        for place, token in enumerate(round_.tokens):
            text = visible(token.text)
            width = self.measure(text) + 2 + MARK_ROOM.get(token.kind, 0)
            chip = Chip(token.kind, number, text, width, token.entropy, "\n" in token.text)
            chip.ghosts = refused(round_, place)
            self._place(chip)
        self._stack(changed)
        return changed

    def flow(self, width: float) -> None:
        """Lay everything out anew for another width."""
        self.width = width
        chips, self.chips, self.lines, self._end, self._word = self.chips, [], [], 0.0, 0
        for chip in chips:
            self._place(chip)
        self._stack(0)

    def _place(self, chip: Chip) -> None:
        number = len(self.chips)
        last = self.chips[-1] if self.chips else None
        broken = last is not None and last.breaks
        joined = last is not None and not broken and last.text[-1:].isalnum() and chip.text[:1].isalnum()
        if not joined:
            self._word = number
        self.chips.append(chip)
        if not self.lines or broken:
            self._new_line(number)
        elif self._end + chip.width > self.width and number > self.lines[-1].first:
            self._new_line(self._word if self._word > self.lines[-1].first else number)
        chip.x = self._end
        self._end += chip.width + GAP
        self.lines[-1].ghostly |= bool(chip.ghosts)

    def _new_line(self, first: int) -> None:
        """Begin a line with chip `first`; those behind it that are placed already move along."""
        self._end = 0.0
        moved = self.chips[first:-1]
        self.lines.append(Line(first, ghostly=any(chip.ghosts for chip in moved)))
        for chip in moved:
            chip.x = self._end
            self._end += chip.width + GAP
        if moved and len(self.lines) > 1:
            before = self.lines[-2]
            before.ghostly = any(chip.ghosts for chip in self.chips[before.first : first])

    def _stack(self, changed: int) -> None:
        for number in range(changed, len(self.lines)):
            before = self.lines[number - 1] if number else None
            self.lines[number].y = before.y + self.heights.of(before) if before else 0.0

    @property
    def height(self) -> float:
        """Of all lines."""
        return self.lines[-1].y + self.heights.of(self.lines[-1]) if self.lines else 0.0

    # finding -------------------------------------------------------------------------------------------------------

    def line_at(self, y: float) -> int:
        """The line at a height, within 0 and the last."""
        return min(max(bisect_right([line.y for line in self.lines], y) - 1, 0), max(len(self.lines) - 1, 0))

    def line_of(self, chip: int) -> int:
        """The line a chip stands in."""
        return bisect_right([line.first for line in self.lines], chip) - 1

    def chips_of(self, line: int) -> range:
        """The chips of a line."""
        end = self.lines[line + 1].first if line + 1 < len(self.lines) else len(self.chips)
        return range(self.lines[line].first, end)

    def ghosts_of(self, line: int) -> list[Ghost]:
        """The refused drafts of a line, each as near below its token as those before it leave room."""
        found: list[Ghost] = []
        at = 0.0
        for number in self.chips_of(line):
            chip = self.chips[number]
            at = max(at, chip.x)
            drafted = self.rounds[chip.round].drafted if chip.ghosts else ()
            for place in chip.ghosts:
                text = visible(drafted[place].text)
                width = self.measure(text) + 2
                if at + width > self.width and found:
                    break
                found.append(Ghost(chip.round, place, text, at, width, drafted[place].fate))
                at += width + GAP
            at += GHOST_GAP if chip.ghosts else 0
        return found

    def chip_at(self, x: float, y: float) -> int | None:
        """The chip under a point."""
        if not self.lines or not 0 <= y < self.height:
            return None
        line = self.line_at(y)
        if y - self.lines[line].y > self.heights.entropy + self.heights.chip:
            return None
        return next((n for n in self.chips_of(line) if self.chips[n].x <= x < self.chips[n].x + self.chips[n].width + GAP), None)

    def ghost_at(self, x: float, y: float) -> Ghost | None:
        """The ghost under a point."""
        if not self.lines or not 0 <= y < self.height:
            return None
        line = self.line_at(y)
        top = self.lines[line].y + self.heights.entropy + self.heights.chip
        if not self.lines[line].ghostly or not top <= y < top + self.heights.ghost:
            return None
        return next((ghost for ghost in self.ghosts_of(line) if ghost.x <= x < ghost.x + ghost.width), None)


def refused(round_: ChatRound, place: int) -> tuple[int, ...]:
    """The drafts that were refused where token `place` of a round now stands, with what was drafted behind them in a chain."""
    token = round_.tokens[place]
    if token.kind == "accepted" or not round_.drafted:
        return ()
    drafted = round_.drafted
    lost = [n for n, draft in enumerate(drafted) if draft.fate == "rejected" and draft.depth == place + 1]
    if is_chain(drafted):
        lost += [n for n, draft in enumerate(drafted) if draft.fate == "untested" and draft.depth > place + 1]
    else:
        lost.sort(key=lambda n: -drafted[n].q)
    return tuple(lost[:MOST_GHOSTS])


def is_chain(drafted: Sequence[DraftedToken]) -> bool:
    """Whether the drafts follow one another without branching."""
    return all(draft.parent == number - 1 for number, draft in enumerate(drafted))


def way_to(drafted: Sequence[DraftedToken], place: int) -> tuple[int, ...]:
    """The places from the root of a draft to one of its tokens."""
    way: list[int] = []
    while place >= 0:
        way.append(place)
        place = drafted[place].parent
    return tuple(reversed(way))
