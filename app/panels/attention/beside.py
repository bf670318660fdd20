"""A second text or model beside the first: the same layer and heads, its own run, its own map, and its own tokens to point at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Slot

from app.jobs.attention import AttentionOverview
from app.panels.attention.explain import heads_in_words
from app.panels.attention.looker import Looker
from app.panels.attention.maps import Maps
from app.panels.attention.selection import Selection
from app.panels.attention.sides import Axis, one_text, side, text_axis
from app.panels.errands import Errands
from app.protocol.attention import Looked

if TYPE_CHECKING:
    from app.panels.attention.panel import AttentionPanel


class Beside(QObject):
    """Follows the heads of the first look; a model with fewer layers or heads shows its last ones."""

    def __init__(self, panel: AttentionPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self.looked: Looked | None = None
        self.errands, self.looker = Errands(panel.engine, "attention/beside", self), Looker(panel.engine, self, key="attention/beside")
        self.selection = Selection(self)
        self.maps = Maps(self.looker, self.selection, self.errands, self)
        stage, selection = panel.stage, self.selection
        for signal, slot in (
            (self.looker.looked, self._on_looked), (self.looker.failed, self._on_failed), (self.errands.failed, panel.show_error),
            (self.maps.changed, self._on_map), (self.maps.profiled, self._on_focus), (selection.focus_changed, self._on_focus),
            (panel.selection.heads_changed, self.follow), (panel.selection.focus_changed, self._on_direction),
            (stage.options.view_changed, self.follow), (stage.options.looks_changed, self.follow),
            (stage.options.colours_changed, self._on_colours), (stage.beside.hovered, selection.point_cell),
            (stage.beside.clicked, self._on_cell), (stage.beside.window_changed, self._on_window),
            (stage.beside_chips.hovered, self._on_chip), (stage.beside_chips.clicked, self._on_chip_clicked),
        ):  # fmt: skip
            signal.connect(slot)
        self._on_colours()
        self._show(False)

    @property
    def on(self) -> bool:
        """Whether there is a second one."""
        return self.looked is not None

    def look(self, job: AttentionOverview | None) -> None:
        """Look at the second one; None: there is none."""
        if job is None:
            self.looker.stop()
            self.looked = None
            self._show(False)
        else:
            self.looker.look(job)

    def _show(self, shown: bool) -> None:
        stage = self._panel.stage
        stage.show_beside(shown)
        chips = shown and self.looked is not None and text_axis(self.looked) is not None
        for widget in (stage.beside_chips, stage.beside_line):
            widget.setVisible(chips)

    @Slot(object)
    def _on_looked(self, looked: Looked) -> None:
        stage = self._panel.stage
        self.looked = looked
        self.maps.forget()
        self.selection.begin(looked)
        axis = text_axis(looked)
        if axis is not None:
            stage.beside_chips.set_tokens((looked.rows if axis == "rows" else looked.columns).texts)
        self._show(True)
        self._set_axes()
        self.follow()

    @Slot(object)
    def _on_failed(self, report: object) -> None:
        self.look(None)
        self._panel.show_error(report)

    def _set_axes(self) -> None:
        looked = self.looked
        if looked is not None:
            rows, columns = side(looked, "rows", self.selection.layer), side(looked, "columns", self.selection.layer)
            self._panel.stage.beside.set_axes(rows.texts, columns.texts, causal=looked.causal)

    @Slot()
    def follow(self) -> None:
        """Show the layer, the heads and the way of looking of the first one."""
        looked, first = self.looked, self._panel.selection
        if looked is None:
            return
        self.maps.looks = self._panel.stage.options.looks()
        before, layer = self.selection.layer, min(first.layer, len(looked.layers) - 1)
        heads = tuple(sorted({min(head, looked.heads[layer] - 1) for head in first.heads}))
        self.selection.select(layer, heads)
        if looked.grids and layer != before:
            self.selection.release()
            self._set_axes()
        self.maps.ask()

    @Slot()
    def _on_map(self) -> None:
        looked = self.looked
        if looked is not None and self.maps.whole is not None:
            heads = heads_in_words(self.selection.heads, looked.heads[self.selection.layer])
            name = looked.layers[self.selection.layer]
            self._panel.stage.beside.set_parts(self.maps.parts(), f"{name}, {heads} · {self.maps.whole.caption}")
            if self.maps.part is None:
                self._on_window()
            self._on_focus()

    @Slot()
    def _on_window(self) -> None:
        place = self._panel.stage.beside.place
        self.maps.ask_window(place.rows.window(), place.columns.window())

    @Slot()
    def _on_focus(self) -> None:
        looked, stage, selection = self.looked, self._panel.stage, self.selection
        if looked is None:
            return
        focus, profile = selection.focus, self.maps.profile(selection.focus)
        pinned = selection.pinned
        pointed = focus.tokens[0] if focus and selection.pointed else -1
        stage.beside.set_marked(*(pinned.tokens if pinned and pinned.axis == axis else () for axis in ("rows", "columns")))
        stage.beside.set_cross(*(pointed if focus and focus.axis == axis else -1 for axis in ("rows", "columns")))
        chips = profile is not None and one_text(looked)
        stage.beside_chips.set_shades(profile.weights if chips else None, log=stage.options.log.isChecked())
        stage.beside_chips.set_pinned(pinned.tokens if pinned else ())

    @Slot()
    def _on_direction(self) -> None:
        if self._panel.selection.axis != self.selection.axis and self.looked is not None and one_text(self.looked):
            self.selection.turn(self._panel.selection.axis)

    @Slot()
    def _on_colours(self) -> None:
        self._panel.stage.beside.set_log(self._panel.stage.options.log.isChecked())
        self._on_focus()

    def _axis(self) -> Axis:
        axis = text_axis(self.looked) if self.looked is not None else None
        return self.selection.axis if self.looked is not None and one_text(self.looked) else axis or "rows"

    @Slot(int)
    def _on_chip(self, token: int) -> None:
        self.selection.point(self._axis(), token)

    @Slot(int, bool)
    def _on_chip_clicked(self, token: int, more: bool) -> None:
        self.selection.pin(self._axis(), token, more)

    @Slot(int, int, bool)
    def _on_cell(self, row: int, column: int, more: bool) -> None:
        self.selection.pin(self.selection.axis, row if self.selection.axis == "rows" else column, more)

    def close(self) -> None:
        """Ask nothing more."""
        self.looker.stop()
        self.maps.close()
