"""The presets menu: a few starting points, and the person's own, each a whole job under a name."""

from __future__ import annotations

from typing import Any

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QMenu, QPushButton, QWidget, QWidgetAction

from app.jobs.diffusion import Txt2Img
from app.protocol.errors import UserError
from app.protocol.job import job_from_dict, job_to_dict
from app.widgets.icons import icon

BUILT_IN: dict[str, dict[str, Any]] = {
    "Quick sketch (8 steps)": {"sampler": "dpmpp_2m", "schedule": "automatic", "steps": 8, "cfg_scale": 4.5},
    "Everyday (20 steps)": {"sampler": "dpmpp_2m", "schedule": "automatic", "steps": 20, "cfg_scale": 4.5},
    "Textbook DDIM (50 steps)": {"sampler": "ddim", "schedule": "automatic", "steps": 50, "cfg_scale": 4.5, "eta": 0.0},
    "Wandering (Euler a, 30 steps)": {"sampler": "euler_a", "schedule": "karras", "steps": 30, "cfg_scale": 4.5},
    "No guidance (CFG 1)": {"cfg_scale": 1.0},
}
LONGEST_NAME = 60


class Presets(QObject):
    """Fills the menu of a button; tells what was chosen and asks for the job to keep."""

    chosen = Signal(dict)
    """Fields to put into the form."""
    restored = Signal(object, str)
    """A whole job that was kept, and its name."""
    save_wanted = Signal(str)
    failed = Signal(object)

    def __init__(self, settings: Any, parent: QObject) -> None:
        super().__init__(parent)
        self._settings = settings
        self.button = QPushButton("Presets", toolTip="Settings under a name: starting points, and your own")
        self.button.setProperty("role", "flat")
        self._menu = QMenu(self.button)
        self._menu.aboutToShow.connect(self._fill)
        self.button.setMenu(self._menu)
        self._name = QLineEdit()

    def keep(self, name: str, job: Txt2Img) -> None:
        """Keep a job under a name."""
        self._settings.set_preset(Txt2Img.name, name, job_to_dict(job))

    def names(self) -> list[str]:
        """The person's own."""
        return sorted(self._settings.presets(Txt2Img.name))

    def restore(self, name: str) -> None:
        """Tell of a kept job."""
        try:
            job, _warnings = job_from_dict(Txt2Img, self._settings.presets(Txt2Img.name)[name])
        except UserError as error:
            self.failed.emit(error)
        else:
            self.restored.emit(job, name)

    @Slot()
    def _fill(self) -> None:
        self._menu.clear()
        for name in BUILT_IN:
            self._add(self._menu, name, self._on_built_in)
        own = self.names()
        if own:
            self._menu.addSeparator()
            for name in own:
                self._add(self._menu, name, self._on_own)
            delete = self._menu.addMenu(icon("trash"), "Delete a preset")
            for name in own:
                self._add(delete, name, self._on_delete)
        self._menu.addSeparator()
        self._menu.addAction(self._save_action())

    @staticmethod
    def _add(menu: QMenu, name: str, slot: Any) -> None:
        action = menu.addAction(name)
        action.setData(name)
        action.triggered.connect(slot)

    def _save_action(self) -> QWidgetAction:
        action, row = QWidgetAction(self._menu), QWidget()
        layout = QHBoxLayout(row)
        layout.setContentsMargins(8, 4, 8, 4)
        self._name = QLineEdit(placeholderText="Keep the settings as …", maxLength=LONGEST_NAME)
        self._name.setAccessibleName("Name of the preset")
        save = QPushButton("Save")
        self._name.returnPressed.connect(self._on_save)
        save.clicked.connect(self._on_save)
        layout.addWidget(self._name, 1)
        layout.addWidget(save)
        action.setDefaultWidget(row)
        return action

    @Slot()
    def _on_built_in(self) -> None:
        self.chosen.emit(dict(BUILT_IN[self.sender().data()]))

    @Slot()
    def _on_own(self) -> None:
        self.restore(self.sender().data())

    @Slot()
    def _on_delete(self) -> None:
        self._settings.set_preset(Txt2Img.name, self.sender().data(), None)

    @Slot()
    def _on_save(self) -> None:
        name = self._name.text().strip()
        if name:
            self._menu.close()
            self.save_wanted.emit(name)
