"""Base widgets, driven by mouse and keys: forms, transport, strip, pictures, curves, sliders, prompts, banners."""

import math
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QMimeData, QObject, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QColor, QEnterEvent, QImage, QKeyEvent, QRegion, QTextCursor, QTextOption
from PySide6.QtWidgets import QApplication, QGraphicsItem, QLineEdit, QPushButton, QToolButton, QVBoxLayout, QWidget

from app import theme
from app.protocol.errors import ErrorReport, UserError
from app.protocol.job import Job, knob
from app.protocol.payloads import Curve, Image
from app.protocol.sizes import progress_words, size_words
from app.protocol.status import WorkerStatus
from app.widgets import icons
from app.widgets.curve_view import CurveView
from app.widgets.error_banner import ErrorBanner
from app.widgets.fact_rows import BELOW, FactRows
from app.widgets.filmstrip import Filmstrip
from app.widgets.image_view import CAPTION, ImageView, png_bytes, to_qimage
from app.widgets.inspector import Inspector
from app.widgets.message_column import MessageColumn
from app.widgets.param_form import ParamForm
from app.widgets.prompt_edit import PromptEdit
from app.widgets.range_slider import RangeSlider
from app.widgets.rounds_strip import RoundsStrip
from app.widgets.status_bar import StatusBar
from app.widgets.steady_label import SteadyLabel
from app.widgets.transport import Transport

LEFT = Qt.MouseButton.LeftButton
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Brew(Job):
    """A job with one field of every kind."""

    words: str = knob("tea", multiline=True, top=True, help="What to brew.")
    cups: int = knob(2, lo=1, hi=9, unit="cups", top=True)
    heat: float = knob(0.5, lo=0.0, hi=1.0, step=0.05)
    kind: Literal["green", "black"] = knob("green", title="Kind of leaf")
    sugar: bool = knob(False)
    note: str = knob("")
    seed: int = knob(-1, lo=-1, hi=2**32 - 1, widget="seed")
    picture: Image | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sugar and self.kind == "green":
            raise UserError("Green tea takes no sugar.")


def picture(value: int = 10, side: int = 8) -> Image:
    """A plain square."""
    return Image(np.full((side, side, 3), value, np.uint8), label="a square", decoder="full VAE")


@pytest.fixture
def shown(qtbot, qapp):
    """Show a widget and give it the focus."""
    theme.apply("light")

    def show(widget, width=0, height=0):
        qtbot.addWidget(widget)
        if width:
            widget.resize(width, height)
        widget.show()
        qtbot.waitExposed(widget)
        widget.activateWindow()
        qtbot.waitUntil(widget.isActiveWindow)
        widget.setFocus()
        return widget

    return show


# form ----------------------------------------------------------------------------------------------------------


def test_form_shows_the_defaults_and_gives_them_back(shown):
    form = shown(ParamForm(Brew))
    assert form.job() == Brew()
    assert form.changed_names() == []


def test_form_round_trip_of_every_kind_of_field(shown):
    form = shown(ParamForm(Brew))
    job = Brew(words="mate\nhot", cups=7, heat=0.35, kind="black", sugar=True, note="x", seed=2**32 - 1, picture=picture())
    told = []
    form.changed.connect(told.append)
    form.set_job(job)
    assert form.job() == job
    assert told == []
    assert set(form.changed_names()) == {"words", "cups", "heat", "kind", "sugar", "note", "seed", "picture"}


def test_editing_a_row_emits_a_new_job_and_marks_the_row(shown, qtbot):
    form = shown(ParamForm(Brew))
    with qtbot.waitSignal(form.changed) as told:
        form.editor("cups").setValue(5)
    assert told.args[0] == Brew(cups=5)
    assert form._labels["cups"].text().endswith("•")
    assert not form._labels["heat"].text().endswith("•")


def test_double_click_on_the_label_puts_the_default_back(shown, qtbot):
    form = shown(ParamForm(Brew))
    form.set_value("cups", 8)
    with qtbot.waitSignal(form.changed) as told:
        qtbot.mouseDClick(form._labels["cups"], LEFT)
    assert told.args[0] == Brew() and form.editor("cups").value() == 2


def test_values_that_make_no_job_are_said_and_not_emitted(shown, qtbot):
    form = shown(ParamForm(Brew))
    told = []
    form.changed.connect(told.append)
    with qtbot.waitSignal(form.invalid) as sentence:
        form.editor("sugar").setChecked(True)
    assert sentence.args == ["Green tea takes no sugar."]
    assert told == []
    with pytest.raises(UserError):
        form.job()


def test_skipped_fields_stay_part_of_the_job(shown):
    form = shown(ParamForm(Brew, skip=("words",)))
    assert "words" not in form._editors
    form.set_value("words", "cocoa")
    assert form.job() == Brew(words="cocoa")
    with pytest.raises(KeyError):
        form.set_value("milk", 1)


def test_only_top_knobs_show_until_more_is_pressed(shown):
    form = shown(ParamForm(Brew))
    assert form.editor("cups").isVisible() and not form.editor("heat").isVisible()
    form._fold.click()
    assert form.editor("heat").isVisible() and form.is_expanded()


def test_seed_row_has_dice_and_reuse(shown, qtbot):
    form = shown(ParamForm(Brew))
    row = form._editors["seed"]
    assert row.box.text() == "random" and not row.reuse.isEnabled()
    form.set_last_seed(4_000_000_000)
    qtbot.mouseClick(row.reuse, LEFT)
    assert form.job().seed == 4_000_000_000
    qtbot.mouseClick(row.dice, LEFT)
    assert form.job().seed == -1


def test_choices_can_be_named_and_replaced(shown):
    form = shown(ParamForm(Brew))
    form.set_choices("kind", ["black", "green"], ["Black leaf", "Green leaf"])
    assert form.value("kind") == "green" and form.editor("kind").currentText() == "Green leaf"
    form.editor("kind").setCurrentIndex(0)
    assert form.job().kind == "black"


def test_rows_have_tooltip_unit_and_name(shown):
    form = shown(ParamForm(Brew))
    assert "What to brew." in form.editor("words").toolTip()
    assert form.editor("cups").suffix() == " cups"
    assert form.editor("kind").accessibleName() == "Kind of leaf"


def test_wheel_over_a_number_without_focus_changes_nothing(shown, qtbot):
    form = shown(ParamForm(Brew))
    form.editor("words").setFocus()
    box = form.editor("cups")
    _wheel(box, 120)
    assert box.value() == 2


def _wheel(widget, delta, at=None):
    from PySide6.QtGui import QWheelEvent

    at = QPointF(widget.rect().center()) if at is None else at
    event = QWheelEvent(
        at, QPointF(widget.mapToGlobal(at.toPoint())), QPoint(), QPoint(0, delta), Qt.MouseButton.NoButton,
        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False,
    )  # fmt: skip
    QApplication.sendEvent(widget, event)


# transport -----------------------------------------------------------------------------------------------------


class Scope(QWidget):
    """A panel's stand-in: a text field, a button and a transport with its keys."""

    def __init__(self) -> None:
        super().__init__()
        self.field, self.push, self.transport = QLineEdit(), QPushButton("Push"), Transport()
        for widget in (self.field, self.push, self.transport):
            QVBoxLayout(self) if self.layout() is None else None
            self.layout().addWidget(widget)
        self.transport.install_keys(self)
        self.pressed: list[str] = []
        for name in ("first", "previous", "play", "pause", "next", "last", "stop"):
            getattr(self.transport, name).connect(lambda name=name: self.pressed.append(name))


KEYS = [
    (Qt.Key.Key_Home, "first"), (Qt.Key.Key_Left, "previous"), (Qt.Key.Key_Comma, "previous"),
    (Qt.Key.Key_Space, "play"), (Qt.Key.Key_Right, "next"), (Qt.Key.Key_Period, "next"), (Qt.Key.Key_End, "last"),
    (Qt.Key.Key_Escape, "stop"),
]  # fmt: skip


@pytest.mark.parametrize("key, name", KEYS)
def test_transport_keys(shown, qtbot, key, name):
    scope = shown(Scope())
    scope.transport.set_state("paused")
    scope.transport.set_can(back=True, forward=True)
    qtbot.keyClick(scope, key)
    assert scope.pressed == [name]


@pytest.mark.parametrize("key", [key for key, name in KEYS if name != "stop"])
def test_transport_keys_are_dead_while_a_text_field_has_the_focus(shown, qtbot, key):
    scope = shown(Scope())
    scope.transport.set_state("paused")
    scope.transport.set_can(back=True, forward=True)
    scope.field.setFocus()
    assert scope.field.hasFocus()
    qtbot.keyClick(scope.field, key)
    assert scope.pressed == []
    assert scope.transport.state == "paused"


def test_escape_stops_even_from_a_text_field_and_modified_keys_do_nothing(shown, qtbot):
    scope = shown(Scope())
    scope.transport.set_state("running")
    scope.field.setFocus()
    qtbot.keyClick(scope.field, Qt.Key.Key_Escape)
    assert scope.pressed == ["stop"]
    qtbot.keyClick(scope, Qt.Key.Key_Right, Qt.KeyboardModifier.ControlModifier)
    assert scope.pressed == ["stop"]


def test_space_on_a_focused_button_presses_that_button(shown, qtbot):
    scope = shown(Scope())
    scope.transport.set_state("paused")
    scope.push.setFocus()
    with qtbot.waitSignal(scope.push.clicked):
        qtbot.keyClick(scope.push, Qt.Key.Key_Space)
    assert scope.pressed == []


def test_transport_states_decide_what_can_be_pressed(shown, qtbot):
    bar = shown(Transport())
    enabled = lambda: {name for name, button in bar._buttons.items() if button.isEnabled()}  # noqa: E731
    assert enabled() == set()
    bar.set_state("running")
    assert enabled() == {"play", "stop"}
    with qtbot.waitSignal(bar.pause):
        bar.button("play").click()
    bar.set_state("paused")
    assert enabled() == {"play", "next", "stop"}
    with qtbot.waitSignal(bar.play):
        bar.button("play").click()
    bar.set_state("idle")
    bar.set_can(back=True, forward=False)
    assert enabled() == {"first", "previous", "play"}
    with pytest.raises(ValueError):
        bar.set_state("flying")


def test_transport_says_where_it_stands(shown):
    bar = shown(Transport())
    bar.set_position(7, 20, "sigma 2.41")
    assert bar.text() == "step 7 of 20   sigma 2.41"
    bar.set_position(0, 0)
    assert bar.text() == "no steps yet"


# film strip ----------------------------------------------------------------------------------------------------


@pytest.fixture
def strip(shown):
    made = shown(Filmstrip(thumb=40), 400, 80)
    made.clear(20)
    for step in range(1, 21):
        made.set_frame(step, picture(step))
    made.chosen = []
    made.selected.connect(made.chosen.append)
    return made


def _cell_centre(strip, index):
    return strip._cell(index).center()


def test_clicking_and_dragging_scrubs(strip, qtbot):
    qtbot.mousePress(strip.viewport(), LEFT, pos=_cell_centre(strip, 2))
    for step in (3, 4, 5):
        _drag(strip.viewport(), _cell_centre(strip, step))
    qtbot.mouseRelease(strip.viewport(), LEFT, pos=_cell_centre(strip, 5))
    assert strip.chosen == [2, 3, 4, 5] and strip.current == 5


def _drag(widget, at):
    from PySide6.QtGui import QMouseEvent

    event = QMouseEvent(
        QEvent.Type.MouseMove, QPointF(at), QPointF(widget.mapToGlobal(at)), LEFT, LEFT, Qt.KeyboardModifier.NoModifier
    )
    QApplication.sendEvent(widget, event)


def test_the_keys_of_time_are_left_to_the_transport(strip, qtbot):
    for key in (Qt.Key.Key_Left, Qt.Key.Key_Right, Qt.Key.Key_Home, Qt.Key.Key_End, Qt.Key.Key_Space):
        event = QKeyEvent(QEvent.Type.KeyPress, key, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(strip, event)
        assert not event.isAccepted()
    assert strip.chosen == []


@pytest.mark.parametrize("make", [Inspector, MessageColumn, RoundsStrip], ids=lambda make: make.__name__)
def test_views_that_scroll_leave_the_keys_of_time_to_the_transport(shown, make):
    view = shown(make(), 300, 200)
    for key, taken in ((Qt.Key.Key_Left, False), (Qt.Key.Key_Right, False), (Qt.Key.Key_Space, False), (Qt.Key.Key_Down, True)):
        event = QKeyEvent(QEvent.Type.KeyPress, key, Qt.KeyboardModifier.NoModifier)
        QApplication.sendEvent(view, event)
        assert event.isAccepted() is taken


def test_a_column_without_messages_opens_no_window_of_its_own(shown):
    column = shown(MessageColumn(), 300, 200)
    column.resize(310, 200)
    column.sync([], lambda key: None)
    QApplication.processEvents()
    assert [widget for widget in QApplication.topLevelWidgets() if widget.isVisible()] == [column]


def test_the_selected_cell_is_scrolled_into_view(strip):
    for step in (20, 1):
        strip.select(step)
        assert strip.viewport().rect().contains(_cell_centre(strip, step))


def test_select_from_code_tells_nobody(strip):
    strip.select(9)
    assert strip.current == 9 and strip.chosen == []
    strip.select(900)
    assert strip.current == 20


def test_hover_is_told_with_its_end(strip, qtbot):
    over = []
    strip.hovered.connect(over.append)
    qtbot.mouseMove(strip.viewport(), _cell_centre(strip, 3))
    strip._hover_over(0)
    assert over == [3, 0]


def test_memory_of_the_strip_is_bounded(shown):
    strip = shown(Filmstrip(thumb=40, max_bytes=10 * 40 * 40 * 4))
    for step in range(1, 101):
        strip.set_frame(step, picture(step))
    assert strip.frame_indices() == list(range(91, 101))
    assert strip._bytes <= strip._max_bytes
    strip.set_frame(95, picture(1))
    assert len(strip.frame_indices()) == 10


def test_thumbnail_and_shaded_window_are_painted(strip):
    strip.set_frame(1, picture(200))
    strip.set_ranges([(1, 2, "canny", 0), (4, 5, "pose", 1)])
    seen = strip.viewport().grab().toImage()
    assert seen.pixelColor(_cell_centre(strip, 1) - QPoint(0, 8)) == QColor(200, 200, 200)
    first, second = strip._cell(1), strip._cell(4)
    assert seen.pixelColor(first.center().x(), first.bottom() + 2) == theme.data_colour(0)
    assert seen.pixelColor(second.center().x(), second.bottom() + 6) == theme.data_colour(1)
    assert seen.pixelColor(second.center().x(), second.bottom() + 2) != theme.data_colour(0)
    assert "canny" in strip._tip(2) and "canny" not in strip._tip(4)


class PaintedParts(QObject):
    """Notes what a widget is asked to paint."""

    def __init__(self, widget):
        super().__init__(widget)
        self.rects = []
        QApplication.processEvents()
        widget.installEventFilter(self)

    def eventFilter(self, _watched, event):
        if event.type() == QEvent.Type.Paint:
            self.rects += list(event.region())
        return False

    def after_events(self):
        QApplication.processEvents()
        return sum(map(QRegion, self.rects), QRegion())


def test_a_step_paints_its_cell_and_those_whose_marks_move_and_no_others(strip):
    strip.select(2)
    strip.set_running(3)
    painted = PaintedParts(strip.viewport())
    strip.set_frame(3, picture(99))
    strip.select(3)
    strip.set_running(4)
    region = painted.after_events()
    for step in (2, 3, 4):
        assert region.contains(_cell_centre(strip, step))
    assert not region.intersects(strip._cell(1)) and not region.intersects(strip._cell(5))
    painted.rects.clear()
    strip.select(3)
    strip.set_running(4)
    assert painted.after_events().isEmpty()


def test_a_frame_out_of_sight_paints_nothing(strip):
    painted = PaintedParts(strip.viewport())
    strip.set_frame(20, picture(3))
    assert painted.after_events().isEmpty()


def test_an_empty_strip_ignores_the_mouse(shown, qtbot):
    strip = shown(Filmstrip())
    chosen = []
    strip.selected.connect(chosen.append)
    qtbot.mouseClick(strip.viewport(), LEFT, pos=QPoint(10, 10))
    assert chosen == []


# pictures ------------------------------------------------------------------------------------------------------


def test_pixels_survive_the_way_to_qt_and_to_png():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    image = to_qimage(Image(pixels))
    assert (image.width(), image.height()) == (7, 5)
    back = QImage.fromData(png_bytes(Image(pixels)), "PNG").convertToFormat(QImage.Format.Format_RGB888)
    for row in range(5):
        for column in range(7):
            for made in (image, back):
                assert made.pixelColor(column, row).getRgb()[:3] == tuple(pixels[row, column])


def test_small_pictures_are_enlarged_by_whole_pixels_and_never_stretched(shown):
    pixels = np.zeros((8, 4, 3), np.uint8)
    pixels[3, 2] = (255, 0, 0)
    view = shown(ImageView(), 103, 103 + CAPTION)
    view.set_image(Image(pixels))
    assert view.zoom == 12.0
    target = view._place.target()
    assert target.width() / target.height() == 0.5
    seen = view.grab().toImage()
    red = sum(
        seen.pixelColor(x, y) == QColor(255, 0, 0) for x in range(seen.width()) for y in range(seen.height() - CAPTION)
    )
    assert red == 12 * 12


AT_200_PERCENT = """
import numpy as np
from PySide6.QtWidgets import QApplication
app = QApplication([])
from app.protocol.payloads import Image
from app.widgets.image_view import CAPTION, ImageView
pixels = np.zeros((4, 4, 3), np.uint8)
pixels[1, 2] = (255, 0, 0)
view = ImageView()
view.resize(107, 107 + CAPTION)
view.set_image(Image(pixels))
view.show()
app.processEvents()
seen = view.grab().toImage()
red = [(x, y) for x in range(seen.width()) for y in range(seen.height() - 2 * CAPTION) if seen.pixelColor(x, y).red() > 250
       and seen.pixelColor(x, y).green() < 5]
print(view.devicePixelRatioF(), view.zoom, len(red), max(x for x, _ in red) - min(x for x, _ in red) + 1)
"""


def test_pixels_are_whole_device_pixels_at_200_percent():
    """107 logical = 214 device pixels hold 53 device pixels for each of the four: zoom 26.5."""
    done = subprocess.run(
        [sys.executable, "-c", AT_200_PERCENT], cwd=ROOT, capture_output=True, text=True, timeout=120,
        env={**os.environ, "QT_SCALE_FACTOR": "2"},
    )  # fmt: skip
    assert done.stdout.split() == ["2.0", "26.5", str(53 * 53), "53"], done.stderr


def test_large_pictures_are_shrunk_to_fit_but_not_enlarged(shown):
    view = shown(ImageView(), 200, 200 + CAPTION)
    view.set_image(Image(np.zeros((800, 400, 3), np.uint8)))
    assert view.zoom == 0.25
    view.set_image(picture(side=64))
    assert view.zoom == 3.0


def test_click_tells_the_pixel(shown, qtbot):
    view = shown(ImageView(), 160, 160 + CAPTION)
    view.set_image(picture(side=16))
    at = view.from_picture(QPointF(3.5, 12.5)).toPoint()
    with qtbot.waitSignal(view.clicked) as told:
        qtbot.mouseClick(view, LEFT, pos=at)
    assert [int(value) for value in told.args] == [3, 12]
    with qtbot.assertNotEmitted(view.clicked):
        qtbot.mouseClick(view, LEFT, pos=QPoint(80, 160 + CAPTION - 2))


def test_wheel_zooms_at_the_cursor(shown):
    view = shown(ImageView(), 160, 160 + CAPTION)
    view.set_image(picture(side=16))
    at = QPointF(40, 60)
    before = view.to_picture(at)
    _wheel(view, 120, at)
    after = view.to_picture(at)
    assert view.zoom == 12.0
    assert math.dist((before.x(), before.y()), (after.x(), after.y())) < 0.2


@pytest.mark.parametrize("key, zoom", [(Qt.Key.Key_1, 1.0), (Qt.Key.Key_2, 2.0), (Qt.Key.Key_0, 10.0)])
def test_zoom_keys(shown, qtbot, key, zoom):
    view = shown(ImageView(), 160, 160 + CAPTION)
    view.set_image(picture(side=16))
    view.set_zoom(5)
    qtbot.keyClick(view, key, Qt.KeyboardModifier.ControlModifier)
    assert view.zoom == zoom


def test_linked_views_share_zoom_and_place(shown):
    first, second = shown(ImageView(), 160, 182), shown(ImageView(), 160, 182)
    first.link(second)
    first.set_image(picture(side=16))
    second.set_image(picture(side=32))
    first.set_zoom(20, QPointF(0, 0))
    assert second.zoom == 10.0
    assert second._place._centre == first._place._centre
    second.fit()
    assert first.zoom == 10.0


def test_dragging_pans_and_is_no_click(shown, qtbot):
    view = shown(ImageView(), 160, 160 + CAPTION)
    view.set_image(picture(side=16))
    view.set_zoom(40)
    before = view.to_picture(QPointF(80, 80))
    with qtbot.assertNotEmitted(view.clicked):
        qtbot.mousePress(view, LEFT, pos=QPoint(80, 80))
        _drag(view, QPoint(120, 80))
        qtbot.mouseRelease(view, LEFT, pos=QPoint(120, 80))
    assert view.to_picture(QPointF(120, 80)).x() == pytest.approx(before.x(), abs=0.05)


def test_overlay_is_mixed_by_its_opacity(shown):
    view = shown(ImageView(), 160, 160 + CAPTION)
    view.set_image(picture(0, side=16))
    view.set_overlay(np.full((16, 16, 4), 255, np.uint8), opacity=0.5)
    middle = QPoint(80, 80)
    assert abs(view.grab().toImage().pixelColor(middle).red() - 128) <= 2
    view.set_overlay(None)
    assert view.grab().toImage().pixelColor(middle).red() == 0


def test_caption_states_what_it_is_its_decoder_and_true_size(shown):
    view = shown(ImageView(title="result"), 300, 200)
    view.set_image(picture())
    assert view.caption() == "a square · full VAE · 8 x 8"
    assert view.caption(short=True) == "full VAE · 8 x 8"
    assert view.accessibleName() == "result" and "8 x 8" in view.accessibleDescription()


def test_empty_view_teaches_and_offers_a_button(shown, qtbot):
    view = shown(ImageView(), 300, 200)
    view.set_placeholder("The picture appears here.", "Generate")
    assert view._button.isVisible()
    with qtbot.waitSignal(view.placeholder_action):
        qtbot.mouseClick(view._button, LEFT)
    view.set_image(picture())
    assert not view._button.isVisible()


def test_saving_is_left_to_a_signal(shown, qtbot):
    view = shown(ImageView())
    with qtbot.assertNotEmitted(view.save_requested):
        view._save()
    image = picture()
    view.set_image(image)
    with qtbot.waitSignal(view.save_requested) as told:
        view._save()
    assert told.args == [image]


# curves --------------------------------------------------------------------------------------------------------


def test_curves_are_drawn_read_and_exported(shown):
    view = shown(CurveView(x_label="step", y_label="sigma"), 400, 200)
    view.set_curve("sigma", Curve(np.arange(4), np.array([8.0, 4.0, 2.0, 0.0])))
    assert view.readout(2.2) == "step 2.2   sigma 2"
    assert view.csv().splitlines() == ["curve,x,y", "sigma,0,8", "sigma,1,4", "sigma,2,2", "sigma,3,0"]
    assert view.accessibleName() == "Plot of sigma over step"


def test_cursor_set_from_code_is_silent_and_survives_log(shown, qtbot):
    view = shown(CurveView(), 400, 200)
    view.set_curve("a", Curve(np.array([1.0, 10, 100]), np.array([1.0, 2, 3])))
    with qtbot.assertNotEmitted(view.cursor_moved):
        view.set_cursor(10.0)
        view.set_log(x=True)
    assert view.cursor_at() == pytest.approx(10.0)
    assert view._cursor.value() == pytest.approx(1.0)
    view.set_cursor(None)
    assert view.cursor_at() is None


def test_a_growing_curve_is_bounded_and_keeps_its_ends(shown):
    view = shown(CurveView(), 400, 200)
    for step in range(500):
        view.append("loss", step, 1 / (step + 1), max_points=100)
    curve = view.curves()["loss"]
    assert len(curve.x) <= 100
    assert curve.x[0] == 0 and curve.x[-1] == 499 and (np.diff(curve.x) > 0).all()


def test_a_curve_breaks_where_it_has_no_value(shown):
    view = shown(CurveView(), 400, 200)
    x = np.linspace(-1, 1, 101)
    view.set_curve("pole", Curve(x, np.where(np.abs(x) < 0.3, np.nan, np.sign(x))))
    pixels = _pixels(view)
    middle = view._plot.getPlotItem().vb.sceneBoundingRect().center().toPoint()
    column = pixels[middle.y() - 40 : middle.y() + 40, 3 * middle.x() : 3 * middle.x() + 3]
    assert len(view._items["pole"].getData()[0]) == 101 and np.abs(column - column[0]).max() < 30, "no line from -1 to 1 across the pole"


def test_points_that_cannot_be_drawn_do_no_harm(shown):
    view = shown(CurveView(), 400, 200)
    view.set_curve("a", Curve(np.array([0.0, 1, 2]), np.array([1.0, math.nan, math.inf])))
    assert len(view._items["a"].getData()[0]) == 1
    view.grab()


def test_regions_cursor_and_curves_go_with_clear(shown):
    view = shown(CurveView(), 400, 200)
    view.set_curve("a", Curve(np.arange(3), np.arange(3)))
    view.set_regions([(0, 1, "canny", 0), (1, 2, "pose", 1)])
    view.set_cursor(1)
    assert len(view._region_items) == 2
    view.clear()
    assert view.curves() == {} and view._region_items == [] and view.cursor_at() is None


def test_double_click_shows_everything_again(shown, qtbot):
    view = shown(CurveView(), 400, 200)
    view.set_curve("a", Curve(np.arange(11), np.arange(11)))
    box = view._plot.getPlotItem().vb
    box.setRange(xRange=(4, 5), padding=0)
    qtbot.mouseDClick(view._plot.viewport(), LEFT, pos=QPoint(200, 80))
    box.updateAutoRange()
    assert box.viewRange()[0][1] >= 10


def test_plots_follow_the_theme(shown):
    view = shown(CurveView(), 400, 200)
    theme.apply("dark")
    assert view._plot.backgroundBrush().color().name() == theme.DARK.surface
    theme.apply("light")
    assert view._plot.backgroundBrush().color().name() == theme.LIGHT.surface


def test_names_in_the_legend_follow_the_theme(shown):
    view = shown(CurveView(), 400, 200)
    for key in ("a", "b"):
        view.set_curve(key, Curve(np.arange(3), np.arange(3)))
    for choice, tokens in (("dark", theme.DARK), ("light", theme.LIGHT)):
        theme.apply(choice)
        for _sample, label in view._legend.items:
            assert tokens.text[1:] in label.item.toHtml()


def test_an_empty_plot_keeps_no_pictures(shown):
    view = shown(CurveView(), 400, 200)
    modes = lambda: {view._plot.getAxis(side).cacheMode() for side in ("left", "bottom")}  # noqa: E731
    assert modes() == {QGraphicsItem.CacheMode.NoCache}
    view.set_curve("a", Curve(np.arange(3), np.arange(3)))
    assert modes() == {QGraphicsItem.CacheMode.DeviceCoordinateCache}
    view.clear()
    assert modes() == {QGraphicsItem.CacheMode.NoCache}


def test_a_cursor_that_moves_leaves_the_rest_of_the_plot_alone(shown):
    view = _curve_with_windows(shown)
    painted = PaintedParts(view._plot.viewport())
    view.set_cursor(4)
    touched = painted.after_events().boundingRect()
    assert 0 < touched.width() < view._plot.viewport().width() / 4
    painted.rects.clear()
    view.set_cursor(4)
    assert painted.after_events().isEmpty()


def test_what_the_plot_keeps_painted_is_never_old(shown):
    """Axes, curves and windows are cached: after changes they look as in a plot that never showed anything else."""
    view = _curve_with_windows(shown)
    view.grab()
    theme.apply("dark")
    view.set_curve("a", Curve(np.arange(9), np.arange(9) ** 2, label="a"))
    view.set_regions([(2, 4, "canny", 2)])
    fresh = shown(CurveView(x_label="step", y_label="sigma"), 400, 200)
    fresh.set_curve("a", Curve(np.arange(9), np.arange(9) ** 2, label="a"))
    fresh.set_regions([(2, 4, "canny", 2)])
    fresh.set_cursor(3)
    pixels = [_pixels(made) for made in (view, fresh)]
    theme.apply("light")
    assert np.abs(pixels[0] - pixels[1]).max() <= 2


def test_what_stands_already_is_not_drawn_again(shown):
    view = _curve_with_windows(shown)
    items, painted = list(view._region_items), PaintedParts(view._plot.viewport())
    view.set_curve("a", Curve(np.arange(11), np.arange(11), label="a"))
    view.set_regions([(0, 9, "canny", 0), (0, 9, "pose", 1)])
    assert painted.after_events().isEmpty() and view._region_items == items
    view.set_curve("a", Curve(np.arange(11), np.arange(11), label="a"), dashed=True)
    view.set_regions([(0, 8, "canny", 0)])
    assert not painted.after_events().isEmpty() and len(view._region_items) == 1


def test_windows_that_overlap_are_told_apart_by_outline_and_height(shown):
    view = _curve_with_windows(shown)
    first, second = view._region_items
    assert [item.label.format for item in (first, second)] == ["canny", "pose"]
    assert first.boundingRect().height() > second.boundingRect().height()
    assert first.outline.color() == theme.data_colour(0) and second.outline.color() == theme.data_colour(1)


def _curve_with_windows(shown):
    view = shown(CurveView(x_label="step", y_label="sigma"), 400, 200)
    view.set_curve("a", Curve(np.arange(11), np.arange(11), label="a"))
    view.set_regions([(0, 9, "canny", 0), (0, 9, "pose", 1)])
    view.set_cursor(3)
    _settle()
    return view


def _settle() -> None:
    """The first curve brings numbers to the axes, which take room, which moves the plot."""
    for _ in range(4):
        QApplication.processEvents()


def _pixels(view) -> np.ndarray:
    _settle()
    image = view.grab().toImage().convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(image.constBits(), np.uint8).reshape(image.height(), image.bytesPerLine())
    return rows[:, : 3 * image.width()].astype(int)


# range slider --------------------------------------------------------------------------------------------------


def test_range_slider_by_keyboard(shown, qtbot):
    slider = shown(RangeSlider(step=0.05), 300, 44)
    moved = []
    slider.changed.connect(lambda low, high: moved.append((low, high)))
    qtbot.keyClick(slider, Qt.Key.Key_Right)
    qtbot.keyClick(slider, Qt.Key.Key_Up)
    qtbot.keyClick(slider, Qt.Key.Key_Left)
    qtbot.keyClick(slider, Qt.Key.Key_Home)
    assert moved == [(0.05, 1.0), (0.05, 0.95), (0.05, 0.05)]
    qtbot.keyClick(slider, Qt.Key.Key_End)
    assert slider.values() == (0.05, 1.0)


def test_range_slider_by_mouse_keeps_its_ends_in_order(shown, qtbot):
    slider = shown(RangeSlider(step=0.1, gap=0.1), 300, 44)
    qtbot.mousePress(slider, LEFT, pos=QPoint(int(slider._x(0.02)), 13))
    _drag(slider, QPoint(295, 13))
    with qtbot.waitSignal(slider.released) as told:
        qtbot.mouseRelease(slider, LEFT, pos=QPoint(295, 13))
    assert told.args == [0.9, 1.0]


def test_range_slider_snaps_and_clamps_what_code_sets(shown):
    slider = shown(RangeSlider(step=0.05))
    slider.set_values(0.62, -3)
    assert slider.values() == (0.0, 0.6)
    slider.set_note("steps 1-12 of 20")
    assert "0.00 to 0.60" in slider.accessibleDescription() and "1-12" in slider.accessibleDescription()


# prompt --------------------------------------------------------------------------------------------------------

WORDS = {"thing": ["house", "horse", "tree"], "colour": ["red", "hot pink"]}


@pytest.fixture
def prompt(shown):
    made = shown(PromptEdit(), 300, 70)
    made.set_words(WORDS)
    return made


def test_completion_offers_groups_and_puts_the_word_in(prompt, qtbot):
    qtbot.keyClicks(prompt, "a ho")
    assert prompt.popup.isVisible()
    assert prompt.popup.words() == ["horse", "house", "hot pink"]
    assert prompt.popup.choice() == "horse"
    qtbot.keyClick(prompt, Qt.Key.Key_Down)
    qtbot.keyClick(prompt, Qt.Key.Key_Return)
    assert prompt.text() == "a house" and not prompt.popup.isVisible()


def test_completion_jumps_over_headings_and_escape_closes_it(prompt, qtbot):
    qtbot.keyClicks(prompt, "ho")
    for _ in range(9):
        qtbot.keyClick(prompt, Qt.Key.Key_Down)
    assert prompt.popup.choice() == "hot pink"
    for _ in range(9):
        qtbot.keyClick(prompt, Qt.Key.Key_Up)
    assert prompt.popup.choice() == "horse"
    qtbot.keyClick(prompt, Qt.Key.Key_Escape)
    assert not prompt.popup.isVisible() and prompt.text() == "ho"


def test_a_finished_word_is_not_offered_again(prompt, qtbot):
    qtbot.keyClicks(prompt, "tree")
    assert not prompt.popup.isVisible()
    qtbot.keyClick(prompt, Qt.Key.Key_Return)
    assert prompt.text() == "tree\n"


def test_ctrl_space_offers_everything(prompt, qtbot):
    qtbot.keyClick(prompt, Qt.Key.Key_Space, Qt.KeyboardModifier.ControlModifier)
    assert len(prompt.popup.words()) == 5


def test_a_word_being_written_is_not_called_unknown_while_it_can_become_known(prompt, qtbot):
    prompt.set_words({"things": ["ball", "balloon"]})
    prompt.set_unknown(lambda text: [word for word in text.split() if word not in ("a", "ball", "balloon")])
    prompt.setFocus()
    prompt.set_text("a 😀 ")
    prompt.moveCursor(QTextCursor.MoveOperation.End)
    qtbot.keyClicks(prompt, "ba")
    prompt.check_words()
    assert prompt.unknown == ["😀"]
    qtbot.keyClicks(prompt, "g")
    prompt.check_words()
    assert prompt.unknown == ["😀", "bag"]
    qtbot.keyClick(prompt, Qt.Key.Key_Backspace)
    prompt.check_words()
    assert prompt.unknown == ["😀"]
    prompt.clearFocus()
    qtbot.waitUntil(lambda: prompt.unknown == ["😀", "ba"])


def test_unknown_words_are_underlined_and_told(prompt, qtbot):
    prompt.set_unknown(lambda text: [word for word in text.split() if word == "dragon"])
    with qtbot.waitSignal(prompt.unknown_changed, timeout=3000) as told:
        prompt.set_text("red 🐉 ")
        prompt.moveCursor(QTextCursor.MoveOperation.End)
        qtbot.keyClicks(prompt, "dragon")
    assert told.args == [["dragon"]]
    marks = prompt.extraSelections()
    assert [mark.cursor.selectedText() for mark in marks] == ["dragon"]
    prompt.set_text("red")
    prompt.check_words()
    assert prompt.extraSelections() == [] and prompt.unknown == []


def test_ctrl_enter_submits_and_writes_no_line(prompt, qtbot):
    prompt.set_text("red")
    with qtbot.waitSignal(prompt.submitted):
        qtbot.keyClick(prompt, Qt.Key.Key_Return, Qt.KeyboardModifier.ControlModifier)
    assert prompt.text() == "red"


def test_set_text_is_silent_typing_is_not_and_ten_thousand_letters_are_fine(prompt, qtbot):
    told = []
    prompt.edited.connect(told.append)
    prompt.set_text("word " * 2000)
    assert told == [] and len(prompt.text()) == 10_000
    prompt.set_unknown(str.split)
    assert len(prompt.extraSelections()) == 200
    qtbot.keyClick(prompt, Qt.Key.Key_X)
    assert len(told) == 1


def test_a_text_without_a_break_is_wrapped_anywhere(shown):
    """Qt takes the square of the length of a run to find where its words break: minutes for 600,000 letters."""
    prompt = shown(PromptEdit(), 300, 70)
    anywhere, between = QTextOption.WrapMode.WrapAnywhere, QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere
    pasted = QMimeData()
    pasted.setText("x" * 3000)
    prompt.insertFromMimeData(pasted)
    assert prompt.wordWrapMode() == anywhere and prompt.text() == "x" * 3000, "nothing is lost"
    assert not prompt._prefix().hasSelection(), "which is no word to be completed"
    prompt.set_text("words " * 1000)
    assert prompt.wordWrapMode() == between
    prompt.set_text("x" * 2500)
    assert prompt.wordWrapMode() == anywhere
    prompt.selectAll()
    prompt.insertPlainText("short")
    prompt.check_words()
    assert prompt.wordWrapMode() == between and prompt._prefix().selectedText() == "short"


@pytest.mark.parametrize("emphasis, expected", [(True, "a (red:1.1) house"), (False, "a red house")])
def test_weights_are_written_only_if_asked_for(shown, qtbot, emphasis, expected):
    prompt = shown(PromptEdit(emphasis=emphasis), 300, 70)
    prompt.set_text("a red house")
    cursor = prompt.textCursor()
    cursor.setPosition(3)
    prompt.setTextCursor(cursor)
    qtbot.keyClick(prompt, Qt.Key.Key_Up, Qt.KeyboardModifier.ControlModifier)
    assert prompt.text() == expected
    qtbot.keyClick(prompt, Qt.Key.Key_Down, Qt.KeyboardModifier.ControlModifier)
    assert prompt.text() == "a red house"


def test_dropped_files_are_left_to_the_window(prompt):
    files, words = QMimeData(), QMimeData()
    files.setUrls([QUrl.fromLocalFile("/somewhere/map.png")])
    words.setText("a cat")
    assert not prompt.canInsertFromMimeData(files)
    assert prompt.canInsertFromMimeData(words)


# messages, inspector, status -----------------------------------------------------------------------------------


def test_banner_shows_sentence_hint_action_and_goes(shown, qtbot):
    banner = shown(ErrorBanner())
    called = []
    banner.show_message("warn", "Two words are unknown.", "Choose others.", "Show words", lambda: called.append(1))
    assert banner.text() == "Two words are unknown." and banner.isVisible()
    qtbot.mouseClick(banner._action, LEFT)
    assert called == [1] and not banner.isVisible() and banner.text() == ""


def test_icons_of_messages_follow_the_theme(shown):
    banner = shown(ErrorBanner())
    banner.show_message("error", "No.")
    light = banner._mark.grab().toImage()
    theme.apply("dark")
    assert banner._mark.grab().toImage() != light
    theme.apply("light")


def test_banner_knows_errors_and_their_details(shown, qtbot):
    banner = shown(ErrorBanner())
    banner.show_error(UserError("The map is missing.", hint="Draw one."))
    assert banner._hint.text() == "Draw one." and not banner._more.isVisible()
    banner.show_error(ErrorReport(kind="bug", title="ValueError: no", hint="Report it.", traceback="Traceback ..."))
    assert banner._more.isVisible() and not banner._details.isVisible()
    banner._more.click()
    assert banner._details.isVisible() and banner._details.toPlainText() == "Traceback ..."
    qtbot.mouseClick(banner._close, LEFT)
    assert not banner.isVisible()


def test_inspector_updates_numbers_in_place(shown):
    view = shown(Inspector())
    view.set_content("predicted x0", [("step", "7 of 20"), ("sigma", "2.41", "noise level")], "x₀ = x − σ·ε", "Why.")
    label = view._rows._kept[1][1]
    view.set_content("predicted x0", [("step", "8 of 20"), ("sigma", "2.02")], "x₀ = x − σ·ε", "Why.")
    assert view._rows._kept[1][1] is label and label.text() == "2.02" and not label.toolTip()
    assert "step: 8 of 20" in view.text() and "Why." in view.text()
    view.clear("Nothing chosen.")
    assert view.text() == "Nothing chosen."


def test_rows_of_facts_reuse_their_labels_and_give_every_line_room(shown, qtbot):
    rows = FactRows()
    box = QWidget()
    QVBoxLayout(box).addWidget(rows)
    box.layout().addStretch(1)
    shown(box).resize(260, 500)
    rows.set_rows([("a", "1"), ("b", "2"), ("c", "3")])
    kept = list(rows._kept)
    rows.set_rows([("a name", "short"), ("another", "long words " * 12)])
    qtbot.waitUntil(lambda: rows.height() == rows.heightForWidth(rows.width()))
    assert rows._kept == kept and [pair[0].isVisible() for pair in kept] == [True, True, False]
    assert rows.text() == "a name: short\nanother: " + "long words " * 12
    (first, _), (second, words) = kept[:2]
    assert words.height() > 2 * first.height() and words.height() == words.heightForWidth(words.width())
    assert second.y() == first.y() + first.height() + BELOW and words.geometry().right() < rows.width()
    high = rows.height()
    rows.set_rows([("a name", "short"), ("another", "few words")])
    qtbot.waitUntil(lambda: rows.height() < high)


class Layouts(QWidget):
    """Counts how often it is laid out anew."""

    def __init__(self, label):
        self.count = 0
        super().__init__()
        column = QVBoxLayout(self)
        column.addWidget(label)
        column.addStretch(1)

    def event(self, event):
        self.count += event.type() == QEvent.Type.LayoutRequest
        return super().event(event)


def test_other_words_of_the_same_size_lay_nothing_out(shown):
    label = SteadyLabel()
    box = shown(Layouts(label), 300, 100)
    label.setText("step 10 of 20")
    QApplication.processEvents()
    box.count = 0
    label.setText("step 7 of 20")
    QApplication.processEvents()
    assert label.text() == "step 7 of 20" and box.count == 0
    label.setText("step 10 of 20, and so on")
    QApplication.processEvents()
    assert box.count == 1 and label.width() >= label.label.sizeHint().width()


LONG_AND_SHORT = ("4.5", "99.4% of the variance", "none", "DPM++ 2M, Karras", "a text of so many words that it takes three lines")


def test_values_that_grow_and_shrink_beside_each_other_are_never_cut(shown):
    inspector, names = shown(Inspector(), 210, 600), ("Noise level", "Sampler", "Time", "Latent x0")
    for number in range(24):
        inspector.resize(210 + 10 * (number % 3), 600)
        values = [LONG_AND_SHORT[(number * place + place) % 5] for place in (1, 2, 3, 4)]
        inspector.set_content(f"Step {number}", list(zip(names, values, strict=True)), "x = 1")
        for _ in range(3):
            QApplication.processEvents()
        labels = [label for label in inspector.findChildren(SteadyLabel) if label.isVisible() and label.hasHeightForWidth()]
        assert not [label.text() for label in labels if label.height() < label.heightForWidth(label.width())]


def test_a_paragraph_gets_the_lines_it_needs(shown):
    label = SteadyLabel(wrap=True)
    box = shown(Layouts(label), 120, 300)
    label.setText("one line")
    QApplication.processEvents()
    box.count, low = 0, label.height()
    label.setText("one word")
    QApplication.processEvents()
    assert box.count == 0 and label.height() == low
    label.setText("words enough for several lines in a box as narrow as this")
    QApplication.processEvents()
    assert label.height() > low and label.label.height() >= label.label.heightForWidth(label.width())


def test_words_under_the_pointer_can_be_selected_and_stay_so(shown):
    label = SteadyLabel(selectable=True)
    _box = shown(Layouts(label), 200, 60)
    label.setText("sigma 2.41")
    for event, selects in ((QEvent.Type.Enter, True), (QEvent.Type.Leave, False), (QEvent.Type.Enter, True)):
        at = QPointF(2, 2)
        QApplication.sendEvent(label, QEnterEvent(at, at, at) if event == QEvent.Type.Enter else QEvent(event))
        assert bool(label.label.textInteractionFlags()) is selects
    label.label.setSelection(0, 5)
    QApplication.sendEvent(label, QEvent(QEvent.Type.Leave))
    assert label.label.selectedText() == "sigma"


def test_status_bar_says_what_runs_and_cancels_only_then(shown, qtbot):
    bar = shown(StatusBar())
    bar.set_status(WorkerStatus(state="idle", idle=True, device="cpu", dtype="bf16", threads=2, memory_bytes=5 << 20))
    assert bar.text() == "Worker: idle | queue 0 | cpu bf16, 2 threads | 5.0 MiB RAM"
    assert not bar.cancel.isEnabled()
    bar.set_status(WorkerStatus(state="txt2img step 7/20", run_id=3, queue=1, parked=(3,)))
    assert bar.cancel.isEnabled() and "queue 1, 1 paused" in bar.text()
    with qtbot.waitSignal(bar.cancel_requested):
        qtbot.mouseClick(bar.cancel, LEFT)


def test_sizes_are_written_for_people():
    assert [size_words(n) for n in (12, 2048, 5 << 20, 386 << 20, 1288490188)] == ["12 B", "2.0 KiB", "5.0 MiB", "386 MiB", "1.2 GiB"]
    assert progress_words(12 << 20, 257 << 20) == "12 of 257 MiB" and progress_words(1 << 20, 3 << 20) == "1.0 of 3.0 MiB"


# icons ---------------------------------------------------------------------------------------------------------


def test_every_icon_has_a_glyph_and_follows_the_theme(shown):
    button = shown(QToolButton())
    for name in icons.NAMES:
        assert _inked(icons.icon(name)), name
    button.setIcon(icons.icon("play"))
    light = button.grab().toImage()
    theme.apply("dark")
    assert button.grab().toImage() != light
    theme.apply("light")
    with pytest.raises(KeyError):
        icons.icon("unicorn")


def _inked(icon):
    image = icon.pixmap(16, 16).toImage()
    return any(image.pixelColor(x, y).alpha() > 100 for x in range(16) for y in range(16))
