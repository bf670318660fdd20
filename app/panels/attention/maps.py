"""The maps of the heads on show: asked for when another head, part or way of looking is chosen, kept within a budget, late ones dropped."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

from app.jobs.attention import AttentionMap, AttentionProfile, AttentionRollout, AttentionSum, AttentionView
from app.panels.attention.looker import Looker, like
from app.panels.attention.selection import Focus, Selection
from app.panels.errands import Errands
from app.protocol.attention import TokenProfile, WeightMap
from app.protocol.payloads import Result
from app.widgets.matrix_place import Part

BUDGET = 48 << 20  # bytes of maps kept
ASK_AFTER_MS = 60
WHOLE = (0, 0)


@dataclass(frozen=True)
class Looks:
    """How maps are made for the eye."""

    normalisation: str = "as it is"
    drop_first: bool = False
    rollout: bool = False
    residual: float = 0.5
    summed: str = "no"
    """As in `AttentionExport`: the mean of all layers, of a step or of the run."""

    @property
    def across(self) -> bool:
        """Whether the map is one of several layers, and of no head."""
        return self.rollout or self.summed != "no"


@dataclass(frozen=True, eq=False)
class Profile:
    """Weights of the tokens of one side for the tokens in focus of the other; `exact` if none is a mean of a block."""

    focus: Focus
    weights: np.ndarray
    exact: bool
    caption: str


class Maps(QObject):
    """Holds the coarse map of the heads on show and the exact part in sight."""

    changed = Signal()
    """The map, or the exact part of it, is another one."""
    profiled = Signal()
    """Exact weights for the focus have come."""

    def __init__(self, looker: Looker, selection: Selection, errands: Errands, parent: QObject) -> None:
        super().__init__(parent)
        self._looker, self._selection, self._errands = looker, selection, errands
        self.looks = Looks()
        self.whole: WeightMap | None = None
        self.part: WeightMap | None = None
        self._wanted: AttentionView | None = None
        self._wanted_part: AttentionView | None = None
        self._wanted_profile: AttentionProfile | None = None
        self._profile: tuple[AttentionProfile, TokenProfile] | None = None
        self._kept: OrderedDict[AttentionView, WeightMap] = OrderedDict()
        self._soon = QTimer(self, singleShot=True, interval=ASK_AFTER_MS)
        self._soon.timeout.connect(self._ask_part)

    def job(self, *, most: int = 512) -> AttentionView | None:
        """The job of the map on show, whole; None before the first look."""
        if self._looker.job is None:
            return None
        looks, selection = self.looks, self._selection
        view = {"layer": selection.layer, "normalisation": looks.normalisation, "drop_first": looks.drop_first, "most": most}
        if looks.rollout:
            return like(self._looker.job, AttentionRollout, residual=looks.residual, heads=(), **view)
        if looks.summed != "no":
            return like(self._looker.job, AttentionSum, summed=looks.summed, heads=(), **view)
        return like(self._looker.job, AttentionMap, heads=selection.heads, **view)

    def forget(self, *, keep_shown: bool = False) -> None:
        """Another source, of which nothing is known; or another step of the same run, whose map may stay until the new one comes."""
        self._kept.clear()
        self._wanted = self._wanted_part = self._wanted_profile = self._profile = None
        self.part = None
        if not keep_shown:
            self.whole = None

    @property
    def waiting(self) -> bool:
        """Whether the map on show is not yet the one that is wanted."""
        return self._wanted is not None and self._wanted not in self._kept

    # the map -------------------------------------------------------------------------------------------------------

    def ask(self) -> None:
        """Get the map of the heads on show; the one before stays until it comes."""
        job = self.job()
        if job is None or job == self._wanted:
            return
        self._wanted, self._wanted_part = job, None
        if job in self._kept:
            self._show(job)
        else:
            self._errands.run(job, partial(self._take, job), key="map", failed=partial(self._not_taken, job))

    def _take(self, job: AttentionView, result: Result) -> None:
        self._keep(job, result.files["map"])
        if job == self._wanted:
            self._show(job)

    def _not_taken(self, job: AttentionView, report: object) -> None:
        if job == self._wanted:
            self._wanted = None
            self._errands.failed.emit(report)

    def _show(self, job: AttentionView) -> None:
        self._kept.move_to_end(job)
        self.whole, self.part = self._kept[job], None
        self.changed.emit()

    def _keep(self, job: AttentionView, map_: WeightMap) -> None:
        self._kept[job] = map_
        self._kept.move_to_end(job)
        while len(self._kept) > 1 and sum(each.values.nbytes for each in self._kept.values()) > BUDGET:
            self._kept.popitem(last=False)

    # the part in sight ---------------------------------------------------------------------------------------------

    def ask_window(self, rows: tuple[int, int], columns: tuple[int, int], *, most: int = 512) -> None:
        """Get the exact weights of a part, a moment from now, if the whole map has none."""
        job = self.job(most=most)
        if job is None or self.whole is None or self.whole.exact or max(rows[1] - rows[0], columns[1] - columns[0]) > most:
            return
        job = replace(job, rows=rows, columns=columns)
        if job != self._wanted_part:
            self._wanted_part = job
            self._soon.start()

    def _ask_part(self) -> None:
        job = self._wanted_part
        if job is not None:
            self._errands.run(job, partial(self._take_part, job), key="part")

    def _take_part(self, job: AttentionView, result: Result) -> None:
        if job == self._wanted_part:
            self.part = result.files["map"]
            self.changed.emit()

    def parts(self) -> list[Part]:
        """What is known, coarse first."""
        return [part_of(each) for each in (self.whole, self.part) if each is not None]

    def close(self) -> None:
        """Ask nothing more."""
        self._soon.stop()

    # weights of tokens ---------------------------------------------------------------------------------------------

    def profile(self, focus: Focus | None) -> Profile | None:
        """What the tokens in focus look at (or what looks at them); exact weights that are missing are asked for."""
        if focus is None or self.whole is None:
            return None
        exact = self._asked_for(focus)
        if exact is not None:
            return exact
        if not self.whole.exact and not self.looks.across:
            self._ask_profile(focus)
        values, block, firsts = self.whole.values, self.whole.block, (self.whole.rows[0], self.whole.columns[0])
        own, other = (0, 1) if focus.axis == "rows" else (1, 0)
        places = [(token - firsts[own]) // block[own] for token in focus.tokens]
        places = [place for place in places if 0 <= place < values.shape[own]]
        if not places:
            return None
        weights = np.repeat(np.take(values, places, axis=own).mean(axis=own), block[other])
        return Profile(focus, np.concatenate([np.full(firsts[other], np.nan), weights]), self.whole.exact, self.whole.caption)

    def _profile_job(self, focus: Focus) -> AttentionProfile | None:
        job = self.job()
        return None if job is None else like(job, AttentionProfile, **view_of(job), tokens=focus.tokens)

    def _asked_for(self, focus: Focus) -> Profile | None:
        if self._profile is None or self.looks.across or self._profile[0] != self._profile_job(focus):
            return None
        found = self._profile[1]
        return Profile(focus, found.looks_at if focus.axis == "rows" else found.looked_at_by, True, found.caption)

    def _ask_profile(self, focus: Focus) -> None:
        job = self._profile_job(focus)
        if job is not None and job != self._wanted_profile:
            self._wanted_profile = job
            self._errands.run(job, partial(self._take_profile, job), key="profile")

    def _take_profile(self, job: AttentionProfile, result: Result) -> None:
        if job == self._wanted_profile:
            self._profile = (job, result.files["profile"])
            self.profiled.emit()


def part_of(map_: WeightMap) -> Part:
    """A map as the widgets take it."""
    return Part(map_.values, map_.rows, map_.columns, map_.block)


def view_of(job: AttentionView) -> dict:
    return {name: getattr(job, name) for name in ("layer", "heads", "normalisation", "drop_first", "most")}
