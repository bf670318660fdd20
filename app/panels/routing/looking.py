"""Which token, which layer, which expert: clicks anywhere move all views together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer, Slot

from app.panels.routing.player import RUNNING

if TYPE_CHECKING:
    from app.panels.routing.panel import RoutingPanel


SIDE_MS = 250
"""While a text is being written, the decision about its newest token is told this often: nobody reads quicker."""


class Looking(QObject):
    """Follows clicks and the transport."""

    def __init__(self, panel: RoutingPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self.row = self.wanted = 0
        """The layer looked at, by its place among those with experts; what was wanted before there was a model."""
        self._rest = QTimer(self, singleShot=True, interval=SIDE_MS)
        self._rest.timeout.connect(self._on_rested)
        self._behind = False

    @Slot()
    def moved(self) -> None:
        """Another token is looked at."""
        panel, token = self._panel, self._panel.runs.reading.position - 1
        panel.stage.text.select(token)
        panel.stage.text.set_shown(token + 1 if panel.runs.state == RUNNING and not panel.runs.active else None)
        for page in (panel.stage.bias, panel.stage.work):
            page.select(self.row, token)
        panel.stage.reveal(token)
        self._behind = panel.runs.writing and self._rest.isActive()
        if not self._behind:
            self._tell()

    @Slot()
    def _on_rested(self) -> None:
        if self._behind:
            self._tell()

    @Slot()
    def settle(self) -> None:
        """The text has come to rest: what was put off is told now."""
        if self._behind and not self._panel.runs.writing:
            self._tell()

    def _tell(self) -> None:
        """What was decided about the token, in numbers and words."""
        panel, self._behind = self._panel, False
        reading = panel.runs.reading
        if reading is not None and reading.position:
            panel.side.show_token(reading, reading.position - 1, self.row)
            panel.show_position()
            self._rest.start()

    @Slot(int)
    def set_row(self, row: int) -> None:
        """Look at another layer."""
        panel, before = self._panel, self.row
        self.row = self.wanted = row
        panel.side.set_row(row)
        panel.stage.text.set_row(row)
        if row != before:
            panel.show_row(row)
        if panel.runs.reading and panel.runs.reading.position:
            self.moved()
        panel.touch()

    @Slot()
    def up(self) -> None:
        """The layer before."""
        if self.row > 0:
            self.set_row(self.row - 1)

    @Slot()
    def down(self) -> None:
        """The next layer."""
        reading = self._panel.runs.reading
        if reading and self.row + 1 < len(reading.looked.layers):
            self.set_row(self.row + 1)

    @Slot(int)
    def token(self, token: int) -> None:
        """A token was clicked."""
        self._panel.runs.look(token + 1)

    @Slot(int, int)
    def cell(self, row: int, token: int) -> None:
        """A decision was clicked."""
        self.set_row(row)
        self.token(token)

    @Slot(int, int)
    def expert(self, row: int, expert: int) -> None:
        """An expert was clicked."""
        self.set_row(row)
        self._panel.side_form.gates.point(self._layer(row), expert)
        self._panel.stage.specialists.set_expert(expert)

    @Slot(int, int, str)
    def switch(self, row: int, expert: int, how: str) -> None:
        """Switch an expert "off", "force" it, or leave it ("") to the gate."""
        self._panel.side_form.gates.pairs.switch(self._layer(row), expert, how)

    def _layer(self, row: int) -> int:
        return self._panel.runs.reading.looked.layers[row]

    def tip(self, token: int) -> str:
        """Experts and weights of a token in all layers."""
        reading, lines = self._panel.runs.reading, []
        told, t = reading.at(token)
        for row, layer in enumerate(reading.looked.layers):
            pairs = zip(told.experts[row, t], told.weights[row, t], strict=True)
            lines.append(f"layer {layer}: " + ", ".join(f"{e} ({w:.2f})" for e, w in pairs))
        return "\n".join([f"“{reading.text_of(token)}”, experts (weights)", *lines])
