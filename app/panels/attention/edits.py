"""Heads to be removed or scaled, and the run that shows what comes of it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, QPoint, Signal, Slot
from PySide6.QtWidgets import QMenu

from app.jobs.attention import AttentionEdit
from app.panels.attention.looker import like
from app.protocol.attention import EditReport, HeadEdit, Looked
from app.protocol.errors import UserError
from app.protocol.payloads import Result

if TYPE_CHECKING:
    from app.panels.attention.panel import AttentionPanel

Head = tuple[int, int]
FACTORS = {"Remove this head": 0.0, "Scale it by 0.5": 0.5, "Scale it by 2": 2.0}
RUNNING = "The model reads the text twice, once with and once without the change …"


class Edits(QObject):
    """Keeps the changed heads of the text on show."""

    changed = Signal()

    def __init__(self, panel: AttentionPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self.factors: dict[Head, float] = {}
        self._wanted: AttentionEdit | None = None
        panel.stage.heads.grid.menu_wanted.connect(self._on_menu)

    @property
    def able(self) -> bool:
        """Heads of language models can be changed."""
        job = self._panel.looker.job
        return job is not None and job.source == "text"

    def begin(self, looked: Looked) -> None:
        """Another text: the same heads stay changed if the model has them."""
        able = looked.source == "text"
        there = {(layer, head) for layer, count in enumerate(looked.heads) for head in range(count)} if able else set()
        self.factors = {head: factor for head, factor in self.factors.items() if head in there}
        self._wanted = None
        self._panel.stage.edit.clear()
        self._tell()

    def set_factor(self, head: Head, factor: float | None) -> None:
        """Change a head; None takes it off the list."""
        if factor is None:
            self.factors.pop(head, None)
        else:
            self.factors[head] = factor
        self._tell()

    @Slot()
    def clear(self) -> None:
        """Leave all heads as they are."""
        self.factors.clear()
        self._tell()

    def _tell(self) -> None:
        self._panel.stage.heads.grid.set_edited(self.factors)
        self.changed.emit()

    @Slot()
    def run(self) -> None:
        """Read on without and with the change."""
        panel = self._panel
        if panel.looker.job is None or not self.factors:
            return
        edits = tuple(HeadEdit(layer=layer, head=head, factor=factor) for (layer, head), factor in sorted(self.factors.items()))
        try:
            job = like(panel.looker.job, AttentionEdit, edits=edits)
        except UserError as error:
            panel.show_error(error)
            return
        self._wanted = job
        panel.stage.options.set_view("edit")
        panel.stage.edit.clear(RUNNING)
        panel.errands.run(job, partial(self._take, job), key="edit", failed=partial(self._not_taken, job))

    def _take(self, job: AttentionEdit, result: Result) -> None:
        report = result.files["report"]
        if job == self._wanted and isinstance(report, EditReport) and self._panel.looked is not None:
            self._panel.stage.edit.show_report(report, self._panel.looked.rows.texts)

    def _not_taken(self, job: AttentionEdit, report: Any) -> None:
        if job == self._wanted:
            self._panel.stage.edit.clear()
            self._panel.show_error(report)

    def menu(self, head: Head) -> QMenu:
        """What can be done with a head."""
        menu = QMenu(self._panel)
        for words, factor in FACTORS.items():
            action = menu.addAction(words)
            action.setData((head, factor))
            action.setEnabled(self.able)
        back = menu.addAction("Leave it as it is")
        back.setData((head, None))
        back.setEnabled(head in self.factors)
        menu.triggered.connect(self._on_action)
        return menu

    @Slot(object, QPoint)
    def _on_menu(self, head: Head, where: QPoint) -> None:
        menu = self.menu(head)
        menu.aboutToHide.connect(menu.deleteLater)
        menu.popup(where)

    @Slot(object)
    def _on_action(self, action: Any) -> None:
        head, factor = action.data()
        self.set_factor(tuple(head), factor)
        self.run()
