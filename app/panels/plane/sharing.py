"""The chosen lane's walk as a file: animation and picture, with the walks beside it, and positions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Slot
from PySide6.QtWidgets import QFileDialog, QToolButton

from app.jobs.plane import ExportPlane
from app.panels.plane.words import names_of
from app.protocol.payloads import Result
from app.widgets.icons import icon

if TYPE_CHECKING:
    from app.panels.plane.panel import PlanePanel

KINDS = "Animation (*.gif);;Picture of this moment (*.png);;All positions (*.npz);;Positions of this moment (*.csv)"


class Sharing(QObject):
    """A button, and what it does."""

    def __init__(self, panel: PlanePanel) -> None:
        super().__init__(panel)
        self._panel = panel
        tip = "Save the walks on stage: animation (GIF), picture (PNG); positions of the chosen one (NPZ, CSV)"
        self.button = QToolButton(text="Save …", toolTip=tip)
        self.button.setIcon(icon("save"))
        self.button.clicked.connect(self.ask)

    @Slot()
    def ask(self) -> None:
        """Ask where, then have the worker write it."""
        panel = self._panel
        if not panel.lanes.lane.told.moments:
            panel.show_message("info", "There is no walk to save yet.", "Press Train first.")
            return
        path, kind = QFileDialog.getSaveFileName(panel, "Save the walk", f"{panel.lanes.lane.choice.method}.gif", KINDS)
        if path:
            self.save(path if "." in path.rsplit("/", 1)[-1] else f"{path}.{kind.split('*.')[-1].rstrip(')')}")

    def save(self, path: str) -> None:
        """Write the chosen lane's walk."""
        panel, told = self._panel, self._panel.lanes.lane.told
        at = max(panel.moment_of(panel.lanes.lane), 0)
        others = panel.lanes.others() if path.lower().endswith((".gif", ".png")) else []
        beside = tuple(other.told.moments[other.told.beside(told, k)] for other in others for k in range(len(told.moments)))
        names = names_of([told, *(other.told for other in others)])
        job = ExportPlane(
            path=path, moments=tuple(told.moments), at=at, data=told.cloud, method=names[0], others=beside,
            titles=tuple(names[1:]),
        )  # fmt: skip
        panel.errands.run(job, self._on_saved, progress=panel.foot.tell_progress)

    def _on_saved(self, result: Result) -> None:
        self._panel.foot.tell_progress(None)
        self._panel.show_message("info", f"Saved as {result.facts['path']}.")
