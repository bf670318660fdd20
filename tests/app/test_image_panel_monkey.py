"""Two hundred random user actions in a row, seeded: the panel lives, ends idle, and the drawing is still there."""

from __future__ import annotations

import random

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QAbstractButton, QAbstractSpinBox, QApplication, QComboBox, QFileDialog, QSlider

from app.jobs.diffusion import Txt2Img
from app.panels.image.panel import ImagePanel
from app.protocol.payloads import Image
from app.settings import Settings
from tests.app.image_panel_fakes import FakeEngine, picture_of

ACTIONS = 200
KEYS = (
    Qt.Key.Key_Space, Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Home, Qt.Key.Key_End, Qt.Key.Key_Escape, Qt.Key.Key_Comma,
    Qt.Key.Key_Period, Qt.Key.Key_Tab, Qt.Key.Key_F10, Qt.Key.Key_A, Qt.Key.Key_S, Qt.Key.Key_Delete, Qt.Key.Key_7,
)  # fmt: skip


class Monkey:
    """Acts on the panel at random, and plays a worker that answers late, early, or with a failure."""

    def __init__(self, panel: ImagePanel, qtbot, seed: int) -> None:
        self.panel, self.qtbot, self.random = panel, qtbot, random.Random(seed)

    def act(self) -> None:
        self.random.choice((self.press, self.turn, self.key, self.scrub, self.work, self.work, self.work, self.answer, self.tab))()

    def hand_widgets(self, kind: type) -> list:
        """Widgets a hand could reach, but for those whose purpose is to change or drop the drawing."""
        spared = (self.panel.canvas, self.panel.poser)
        size = [self.panel.form.editor(name) for name in ("width", "height")]
        removers = [row._remove for row in self.panel.controls.rows] if len(self.panel.controls.rows) > 1 else []
        menus = [self.panel.presets.button]
        return [
            w for w in self.panel.findChildren(kind)
            if w.isVisible() and w.isEnabled() and w not in (*size, *removers, *menus) and not any(s.isAncestorOf(w) for s in spared)
        ]  # fmt: skip

    def press(self) -> None:
        self.random.choice(self.hand_widgets(QAbstractButton)).click()

    def turn(self) -> None:
        kind = self.random.choice((QComboBox, QAbstractSpinBox, QSlider))
        widgets = self.hand_widgets(kind)
        if not widgets:
            return
        widget = self.random.choice(widgets)
        if kind is QComboBox:
            widget.setCurrentIndex(self.random.randrange(widget.count()))
        elif kind is QAbstractSpinBox:
            widget.stepBy(self.random.randint(-3, 3))
        else:
            widget.setValue(self.random.randint(widget.minimum(), widget.maximum()))

    def key(self) -> None:
        focus = QApplication.focusWidget() or self.panel
        if not (self.panel.canvas.isAncestorOf(focus) or self.panel.poser.isAncestorOf(focus)):
            self.qtbot.keyClick(focus, self.random.choice(KEYS))

    def scrub(self) -> None:
        self.panel.timeline.strip.selected.emit(self.random.randint(0, 30))

    def tab(self) -> None:
        self.panel.stage.setCurrentIndex(self.random.randrange(3))

    def answer(self) -> None:
        self.panel.engine.answer_all()

    def work(self) -> None:
        """Something a worker may say, also about runs that have ended."""
        handles = [handle for handle in self.panel.engine.handles if isinstance(handle.job, Txt2Img)]
        if not handles:
            return
        handle = self.random.choice(handles[-3:])
        index = self.random.randrange(handle.job.steps)
        say = self.random.choice(
            (
                handle.begin if handle.state == "queued" else handle.tell_start,
                lambda: handle.tell_step(index),
                lambda: handle.tell_step(index),
                lambda: handle.preview.emit("x0", picture_of(1)),
                lambda: handle.tell_picture(saved_as=f"/g/{index}.png"),
                lambda: handle.park(index) if handle.active else handle.parked.emit(index),
                lambda: handle.go_on() if handle.active else handle.resumed.emit(),
                lambda: handle.fail() if handle.active else handle.failed.emit(object()),
                lambda: handle.succeed() if handle.active else handle.done.emit(None),
            )
        )
        say()


@pytest.fixture
def open_settings(tmp_path):
    """Opens the same folder as often as asked; closed when all widgets are gone."""
    opened = []

    def make() -> Settings:
        opened.append(Settings(tmp_path / "settings"))
        return opened[-1]

    yield make
    for settings in opened:
        settings.storage.close()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_hundred_random_actions(qtbot, open_settings, monkeypatch, seed):
    monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_a, **_k: ("", ""))
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_a, **_k: ("", ""))
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda *_a: True)
    settings = open_settings()
    panel = ImagePanel(FakeEngine(), settings)
    qtbot.addWidget(panel, before_close_func=ImagePanel.about_to_close)
    panel.resize(1160, 730)
    panel.show()
    panel.ready()
    drawing = np.zeros((128, 128, 3), np.uint8)
    drawing[30:34, 20:100] = drawing[30:90, 60:63] = 255
    panel.canvas.set_map(Image(drawing))
    assert len(panel.job().control) == 1

    monkey = Monkey(panel, qtbot, seed)
    for _ in range(ACTIONS):
        monkey.act()
    panel.runs.stop_all()
    panel.engine.answer_all()

    assert panel.idle and panel.runs.waiting == []
    kept = [panel.canvas.map(), *(row.control.image for row in panel.controls.rows)]
    kept += [spare["image"] for row in panel.controls.rows for spare in row._drawings.values()]
    assert any(image is not None and np.array_equal(image.pixels, drawing) for image in kept)
    panel.save_now()
    settings.flush()
    second = ImagePanel(FakeEngine(), open_settings())
    qtbot.addWidget(second, before_close_func=ImagePanel.about_to_close)
    second.restore()
    assert second.remembered_job() == panel.remembered_job()
