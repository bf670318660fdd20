"""The edge canvas: every tool changes the right pixels, undo is exact, the view never moves the drawing."""

import json
import random

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent, QGuiApplication, QImage, QMouseEvent, QWheelEvent
from PySide6.QtTest import QTest

from app.protocol.payloads import Image
from app.widgets.canvas import EdgeCanvas
from app.widgets.canvas_history import TILE, History, Recording, whole
from app.widgets.canvas_raster import constrained_line, paint_chain, resized
from app.widgets.stage_view import from_qimage

LEFT, RIGHT, MIDDLE = Qt.MouseButton.LeftButton, Qt.MouseButton.RightButton, Qt.MouseButton.MiddleButton
NONE, SHIFT = Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier


@pytest.fixture
def canvas(qtbot):
    made = EdgeCanvas(width=96, height=64)
    qtbot.addWidget(made)
    made.resize(640, 480)
    made.show()
    made.set_brush(1)
    made.stage.setFocus()
    return made


def spot(canvas, x, y) -> QPoint:
    """The widget pixel nearest to a place of the map."""
    return canvas.stage.to_widget(QPointF(x, y)).toPoint()


def drag(canvas, *points, button=LEFT, modifiers=NONE):
    stage = canvas.stage
    QTest.mousePress(stage, button, modifiers, spot(canvas, *points[0]))
    for point in points[1:]:
        move = spot(canvas, *point)
        send_move(stage, move, button, modifiers)
    QTest.mouseRelease(stage, button, modifiers, spot(canvas, *points[-1]))


def send_move(stage, position, button, modifiers):
    """A mouse move with a button and modifiers held, which QTest cannot make."""
    where = QPointF(position)
    event = QMouseEvent(QEvent.Type.MouseMove, where, stage.mapToGlobal(where), Qt.MouseButton.NoButton, button, modifiers)
    QGuiApplication.sendEvent(stage, event)


def key(canvas, *args):
    QTest.keyClick(canvas.stage, *args)


def filled(height, width, box) -> np.ndarray:
    out = np.zeros((height, width), np.uint8)
    out[box[1] : box[3], box[0] : box[2]] = 255
    return out


# ---- tools


def test_pen_of_one_pixel_draws_a_crisp_line(canvas):
    drag(canvas, (10.5, 20.5), (20.5, 20.5), (40.5, 20.5))
    assert np.array_equal(canvas.stage.pixels, filled(64, 96, (10, 20, 41, 21)))


def test_pen_joins_the_points_of_a_fast_curve(canvas):
    canvas.set_brush(3)
    drag(canvas, (10, 50), (30, 10), (60, 12), (80, 50))
    columns = canvas.stage.pixels.max(axis=0) > 200
    assert columns[11:79].all(), "the stroke has gaps"
    assert canvas.stage.pixels[:, 80:][50 - 2 : 52].max() > 200, "the stroke ends where the button went up"


def test_a_click_makes_a_dot_of_the_size_of_the_brush(canvas):
    canvas.set_brush(11)
    QTest.mouseClick(canvas.stage, LEFT, NONE, spot(canvas, 40.5, 30.5))
    ys, xs = np.nonzero(canvas.stage.pixels > 127)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == (35, 45, 25, 35)
    assert canvas.stage.pixels[25, 35] == 0, "the brush is round"


def test_eraser_and_right_button_take_white_away(canvas):
    canvas.set_brush(20)
    drag(canvas, (20, 30), (70, 30))
    canvas.set_brush(5)
    key(canvas, Qt.Key.Key_E)
    drag(canvas, (40.5, 10), (40.5, 60))
    canvas.set_tool("pen")
    drag(canvas, (60.5, 10), (60.5, 60), button=RIGHT)
    pixels = canvas.stage.pixels
    assert pixels[:, 39:42].max() == 0 and pixels[:, 59:62].max() == 0
    assert pixels[30, 50] == 255


def test_line_is_straight_and_shift_snaps_it(canvas):
    key(canvas, Qt.Key.Key_L)
    drag(canvas, (10.5, 10.5), (50, 60), (40.5, 40.5))
    on = canvas.stage.pixels
    assert all(on[i, i] == 255 for i in range(10, 41)) and on[45:].max() == 0, "the shape of the last move only"
    canvas.undo()
    drag(canvas, (10.5, 10.5), (60.5, 12.5), modifiers=SHIFT)
    assert np.array_equal(on.max(axis=1).nonzero()[0], [10]), "Shift makes it level"


def test_shift_makes_the_pen_draw_straight(canvas):
    drag(canvas, (10.5, 10.5), (30, 40), (60.5, 11.5), modifiers=SHIFT)
    assert np.array_equal(canvas.stage.pixels.max(axis=1).nonzero()[0], [10])


def test_rectangle_and_square(canvas):
    key(canvas, Qt.Key.Key_R)
    drag(canvas, (10.5, 10.5), (30.5, 20.5))
    want = filled(64, 96, (10, 10, 31, 21))
    want[11:20, 11:30] = 0
    assert np.array_equal(canvas.stage.pixels, want)
    canvas.undo()
    drag(canvas, (10.5, 10.5), (30.5, 20.5), modifiers=SHIFT)
    ys, xs = canvas.stage.pixels.nonzero()
    assert (xs.max(), ys.max()) == (30, 30)


def test_ellipse_and_circle(canvas):
    canvas.set_brush(2)
    key(canvas, Qt.Key.Key_O)
    drag(canvas, (10, 10), (70, 40))
    ys, xs = np.nonzero(canvas.stage.pixels > 127)
    assert np.abs(((xs + 0.5 - 40) / 30) ** 2 + ((ys + 0.5 - 25) / 15) ** 2 - 1).max() < 0.2
    assert {xs.min(), xs.max()} <= {9, 10, 69, 70}
    canvas.undo()
    drag(canvas, (10, 10), (50, 20), modifiers=SHIFT)
    ys, xs = np.nonzero(canvas.stage.pixels > 127)
    assert abs(np.ptp(xs) - np.ptp(ys)) <= 1


def test_painting_twice_is_painting_once(canvas):
    canvas.set_brush(4)
    drag(canvas, (10, 10), (50, 33))
    once = canvas.stage.pixels.copy()
    drag(canvas, (10, 10), (50, 33))
    assert np.array_equal(canvas.stage.pixels, once)


def test_brush_keys_and_limits(canvas):
    for _ in range(80):
        key(canvas, Qt.Key.Key_BracketRight)
    assert canvas.brush() == 64 and canvas.brush_slider.value() == 64
    for _ in range(80):
        key(canvas, Qt.Key.Key_BracketLeft)
    assert canvas.brush() == 1


def test_tool_keys_choose_and_show_the_tool(canvas):
    for letter, tool in zip("BELROHV", ["pen", "eraser", "line", "rectangle", "ellipse", "pan", "pan"], strict=True):
        key(canvas, letter)
        assert canvas.tool() == tool and canvas.action(tool).isChecked()


def test_escape_drops_the_stroke(canvas):
    QTest.mousePress(canvas.stage, LEFT, NONE, spot(canvas, 10, 10))
    send_move(canvas.stage, spot(canvas, 50, 50), LEFT, NONE)
    key(canvas, Qt.Key.Key_Escape)
    QTest.mouseRelease(canvas.stage, LEFT, NONE, spot(canvas, 60, 60))
    assert canvas.is_empty() and canvas.stage.pixels.max() == 0 and not canvas.can_undo()


# ---- undo


def test_undo_and_redo_are_exact(canvas):
    states = [canvas.map().sha256]
    for tool, ends in (("pen", (5, 60)), ("ellipse", (90, 5)), ("eraser", (40, 40)), ("rectangle", (60, 2))):
        canvas.set_tool(tool)
        canvas.set_brush(canvas.brush() + 3)
        drag(canvas, (20, 20), (30, 50), ends)
        states.append(canvas.map().sha256)
    canvas.clear()
    states.append(canvas.map().sha256)
    assert len(set(states)) == 5, "start and cleared are equal, all others differ"
    for state in reversed(states[:-1]):
        key(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
        assert canvas.map().sha256 == state
    assert not canvas.can_undo() and not canvas.action("undo").isEnabled()
    key(canvas, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier | SHIFT)
    key(canvas, Qt.Key.Key_Y, Qt.KeyboardModifier.ControlModifier)
    assert canvas.map().sha256 == states[2]
    drag(canvas, (1, 1), (9, 9))
    assert not canvas.can_redo()


def test_history_is_bounded_in_bytes_and_forgets_the_oldest():
    rng = np.random.default_rng(0)
    pixels, history = np.zeros((256, 256), np.uint8), History(budget=400_000)
    for _ in range(20):
        history.push(whole("noise", pixels))
        pixels = rng.integers(0, 256, pixels.shape, np.uint8)
        kept = pixels.copy()
    assert history.size <= 400_000 and 3 <= len(history.undo_stack) < 20
    before = history.undo(pixels)
    assert np.array_equal(history.redo(before.copy()), kept)


def test_a_stroke_keeps_only_the_tiles_it_changed():
    pixels = np.zeros((1000, 1000), np.uint8)
    recording = Recording("pen", pixels)
    recording.before((0, 0, 300, 300))
    pixels[TILE + 3, 3] = 255
    entry = recording.entry()
    assert set(entry.tiles) == {(1, 0)} and entry.size < 1000


def test_stroke_without_effect_is_no_undo_step(canvas):
    canvas.set_tool("eraser")
    drag(canvas, (10, 10), (60, 40))
    canvas.set_tool("pen")
    drag(canvas, (-30, -20), (-10, -5))
    assert not canvas.can_undo()


# ---- view


@pytest.mark.parametrize("zoom", [0.5, 1.0, 3.7, 12.0])
def test_zoomed_and_panned_drawing_hits_the_right_pixel(canvas, zoom):
    canvas.set_zoom(zoom)
    drag(canvas, (0, 0), (7, 5), button=MIDDLE)
    position = canvas.stage.rect().center()
    QTest.mouseClick(canvas.stage, LEFT, NONE, position)
    place = canvas.stage.to_content(QPointF(position))
    assert [tuple(p) for p in np.argwhere(canvas.stage.pixels)] == [(int(place.y()), int(place.x()))]


def test_the_screen_shows_the_pixel_where_it_is(canvas):
    canvas.stage.pixels[30, 50] = 255
    canvas.stage._touched(None)
    canvas.set_zoom(6)
    shot = from_qimage(canvas.stage.grab().toImage())
    centre = spot(canvas, 50.5, 30.5)
    ratio = shot.shape[1] / canvas.stage.width()
    y, x = int(centre.y() * ratio), int(centre.x() * ratio)
    assert shot[y, x].min() > 250 and shot[y, x + int(6 * ratio)].max() < 5


def test_wheel_zooms_at_the_cursor(canvas):
    where = QPointF(200, 150)
    before = canvas.stage.to_content(where)
    wheel = QWheelEvent(
        where, canvas.stage.mapToGlobal(where), QPoint(), QPoint(0, 240), Qt.MouseButton.NoButton, NONE, Qt.ScrollPhase.NoScrollPhase, False
    )
    zoom = canvas.zoom()
    QGuiApplication.sendEvent(canvas.stage, wheel)
    after = canvas.stage.to_content(where)
    assert canvas.zoom() == pytest.approx(zoom * 1.44)
    assert (after - before).manhattanLength() < 0.3
    assert canvas.is_empty()


def test_zoom_keys(canvas):
    control = Qt.KeyboardModifier.ControlModifier
    fitted = canvas.zoom()
    key(canvas, Qt.Key.Key_1, control)
    assert canvas.zoom() == 1
    key(canvas, Qt.Key.Key_2, control)
    assert canvas.zoom() == 2 and canvas.zoom_button.text() == "200 %"
    key(canvas, Qt.Key.Key_0, control)
    assert canvas.zoom() == fitted == int(fitted), "a small map is fitted in whole multiples"


def test_space_drag_pans_and_draws_nothing(canvas):
    canvas.set_zoom(3)
    before = canvas.stage.to_widget(QPointF())
    QTest.keyPress(canvas.stage, Qt.Key.Key_Space)
    QTest.mousePress(canvas.stage, LEFT, NONE, QPoint(100, 100))
    send_move(canvas.stage, QPoint(130, 80), LEFT, NONE)
    QTest.mouseRelease(canvas.stage, LEFT, NONE, QPoint(130, 80))
    QTest.keyRelease(canvas.stage, Qt.Key.Key_Space)
    assert canvas.stage.to_widget(QPointF()) - before == QPointF(30, -20)
    assert canvas.is_empty() and not canvas.stage.panning()


# ---- whole maps


def test_size_change_keeps_the_drawing(canvas, qtbot):
    canvas.set_brush(4)
    drag(canvas, (10, 10), (90, 55))
    first = canvas.map()
    canvas.set_size(48, 32)
    assert canvas.map().pixels.shape == (32, 48, 3) and canvas.map().pixels.max() > 150
    canvas.set_size(96, 64)
    assert canvas.map() == first, "going back to the old size loses nothing"
    canvas.set_size(200, 200)
    with qtbot.waitSignal(canvas.size_changed) as caught:
        canvas.undo()
    assert caught.args == [96, 64] and canvas.map() == first


def test_resized_never_stretches_and_keeps_brightness():
    square = filled(64, 64, (16, 16, 48, 48))
    wide = resized(square, 256, 128)
    ys, xs = np.nonzero(wide > 127)
    assert np.ptp(xs) == np.ptp(ys) == 63 and xs.min() == 96
    small = resized(square, 20, 20)
    assert small.sum(dtype=int) == pytest.approx(square.sum(dtype=int) * (20 / 64) ** 2, rel=0.02)


def test_map_is_white_on_black_and_cached(canvas):
    drag(canvas, (10, 10), (20, 20))
    first = canvas.map()
    assert canvas.map() is first and first.label == "canny map, drawn"
    assert (first.pixels[..., 0] == first.pixels[..., 2]).all()
    drag(canvas, (30, 10), (40, 20))
    assert canvas.map() is not first and canvas.map() != first


def test_set_map_is_undoable_and_tells_another_size(canvas, qtbot):
    drag(canvas, (10, 10), (20, 20))
    drawn = canvas.map()
    new = Image(np.repeat(filled(40, 50, (5, 5, 9, 9))[:, :, None], 3, 2))
    with qtbot.waitSignal(canvas.size_changed) as caught:
        canvas.set_map(new)
    assert caught.args == [50, 40] and (canvas.map().pixels == new.pixels).all()
    canvas.undo()
    assert canvas.map() == drawn


def test_changed_comes_once_after_several_strokes(canvas, qtbot):
    seen = []
    canvas.changed.connect(lambda: seen.append(1))
    for y in (10, 20, 30):
        drag(canvas, (10, y), (50, y))
    assert not seen
    qtbot.waitUntil(lambda: bool(seen))
    assert seen == [1]


# ---- import, clipboard, drops


def test_import_shows_previews_and_changes_nothing_until_applied(canvas, qtbot):
    drag(canvas, (10, 10), (50, 50))
    drawn = canvas.map()
    canvas.begin_import("house.png")
    canvas.set_preview(Image(np.full((64, 96, 3), 255, np.uint8)))
    drag(canvas, (0, 0), (90, 60))
    assert canvas.map() == drawn and canvas.importing()
    key(canvas, Qt.Key.Key_Escape)
    assert not canvas.importing() and canvas.map() == drawn
    canvas.begin_import("house.png")
    key(canvas, Qt.Key.Key_Return)
    assert canvas.importing(), "there is nothing to take yet"
    canvas.set_preview(Image(np.full((64, 96, 3), 255, np.uint8)))
    key(canvas, Qt.Key.Key_Return)
    assert canvas.map().pixels.min() == 255
    canvas.undo()
    assert canvas.map() == drawn


def test_thresholds_go_out_live_and_stay_in_order(canvas):
    bar, seen, options = canvas.import_bar, [], []
    bar.thresholds_changed.connect(lambda low, high: seen.append((low, high)))
    bar.options_changed.connect(lambda already, invert: options.append((already, invert)))
    assert (bar.low(), bar.high()) == (100, 200)
    bar._low.setValue(230)
    bar._high_box.setValue(50)
    assert seen == [(230, 230), (50, 50)]
    bar._map.click()
    bar._invert.click()
    assert options == [(True, False), (True, True)] and not bar._low.isEnabled()
    bar.set_thresholds(1, 255)
    bar.set_already_map(False)
    assert len(seen) == 2 and len(options) == 2 and (bar.low(), bar.high()) == (1, 255)


def test_pasted_pixels_and_dropped_paths_go_out_undecoded(canvas, qtbot):
    image = QImage(4, 2, QImage.Format.Format_ARGB32)
    image.fill(Qt.GlobalColor.transparent)
    image.setPixelColor(1, 0, "#ff0000")
    QGuiApplication.clipboard().setImage(image)
    with qtbot.waitSignal(canvas.picture_pasted) as caught:
        key(canvas, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
    pixels = caught.args[0]
    assert pixels.shape == (2, 4, 3) and pixels.dtype == np.uint8
    assert pixels[0, 1].tolist() == [255, 0, 0] and pixels[1, 3].tolist() == [255, 255, 255]
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile("/nowhere/a.png"), QUrl("https://example.org/b.png")])
    drop = QDropEvent(QPointF(5, 5), Qt.DropAction.CopyAction, data, LEFT, NONE)
    with qtbot.waitSignal(canvas.picture_dropped) as caught:
        canvas.dropEvent(drop)  # Qt delivers drops only from a real drag
    assert caught.args == [["/nowhere/a.png"]]


def test_pixels_of_a_screenshot_from_a_dense_screen_are_taken_as_they_are():
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    image = QImage(pixels.data, 8, 6, 24, QImage.Format.Format_RGB888)
    image.setDevicePixelRatio(2)
    assert np.array_equal(from_qimage(image), pixels)


def test_copy_puts_the_map_on_the_clipboard(canvas):
    drag(canvas, (10.5, 10.5), (50.5, 10.5))
    key(canvas, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
    assert np.array_equal(from_qimage(QGuiApplication.clipboard().image()), canvas.map().pixels)


# ---- state


def test_state_survives_a_round_trip(canvas, qtbot):
    drag(canvas, (10, 10), (50, 50))
    canvas.set_tool("ellipse")
    canvas.set_brush(17)
    canvas.set_tint(True)
    state = json.loads(json.dumps(canvas.save_state()))
    other = EdgeCanvas()
    qtbot.addWidget(other)
    assert other.restore_state(state) == []
    assert other.map() == canvas.map()
    assert (other.tool(), other.brush(), other.stage.tinted) == ("ellipse", 17, True)
    assert not other.can_undo()


@pytest.mark.parametrize("bad", ["", "not base64 !", "aGVsbG8=", 7, None, ["x"]])
def test_damaged_state_is_told_and_loses_nothing(canvas, bad):
    drag(canvas, (10, 10), (50, 50))
    drawn = canvas.map()
    warnings = canvas.restore_state({"map": bad, "tool": "crayon", "brush": "big", "underlay_opacity": []})
    assert len(warnings) == 1 and canvas.map() == drawn and canvas.tool() == "pen"


# ---- pieces without a window


def test_a_capsule_covers_what_it_should():
    pixels = np.zeros((40, 40), np.uint8)
    box = paint_chain(pixels, [(10.0, 20.0), (30.0, 20.0)], 6)
    area = 6 * 20 + np.pi * 9
    assert pixels.sum() / 255 == pytest.approx(area, rel=0.02)
    outside = pixels.copy()
    outside[box[1] : box[3], box[0] : box[2]] = 0
    assert outside.max() == 0


def test_long_strokes_are_cut_without_a_seam():
    whole_line, pixels = np.zeros((20, 3000), np.uint8), np.zeros((20, 3000), np.uint8)
    paint_chain(whole_line, [(5.5, 10.5), (2990.5, 10.5)], 5)
    for x in range(5, 2990):
        paint_chain(pixels, [(x + 0.5, 10.5), (x + 1.5, 10.5)], 5)
    assert np.abs(whole_line.astype(int) - pixels).max() <= 1


def test_constrained_line_keeps_its_length():
    x, y = constrained_line((10, 10), (15, 29))
    length, angle = np.hypot(5, 19), np.deg2rad(75)
    assert (x, y) == pytest.approx((10 + length * np.cos(angle), 10 + length * np.sin(angle)))


def test_monkey_leaves_the_canvas_alive_and_undo_goes_all_the_way_back(canvas):
    rng = random.Random(5)
    start = canvas.map().sha256
    tools = ["pen", "eraser", "line", "rectangle", "ellipse", "pan"]
    keys = "BELROHVCX[]"

    def anywhere():
        return rng.uniform(-20, 116), rng.uniform(-20, 84)

    def stroke():
        points = [anywhere() for _ in range(rng.randint(2, 5))]
        drag(canvas, *points, button=rng.choice([LEFT, RIGHT, MIDDLE]), modifiers=rng.choice([NONE, SHIFT]))

    def broken_stroke():
        QTest.mousePress(canvas.stage, LEFT, NONE, spot(canvas, *anywhere()))
        send_move(canvas.stage, spot(canvas, *anywhere()), LEFT, NONE)
        rng.choice([canvas.undo, canvas.clear, lambda: key(canvas, Qt.Key.Key_Escape), lambda: canvas.set_size(80, 64), canvas.redo])()
        QTest.mouseRelease(canvas.stage, LEFT, NONE, spot(canvas, *anywhere()))

    actions = [
        stroke, stroke, stroke, stroke, broken_stroke, canvas.undo, canvas.undo, canvas.redo, canvas.clear,
        lambda: canvas.set_tool(rng.choice(tools)), lambda: canvas.set_brush(rng.randint(-3, 90)),
        lambda: key(canvas, rng.choice(keys)), lambda: canvas.set_zoom(rng.uniform(0.1, 9)), canvas.fit,
        lambda: canvas.set_size(rng.choice([64, 96, 128]), rng.choice([64, 96])),
        lambda: canvas.set_map(Image(np.full((64, 96, 3), rng.randint(0, 255), np.uint8))),
        lambda: canvas.begin_import("x"), canvas.end_import, lambda: canvas.restore_state({"tool": rng.choice(tools)}),
        lambda: canvas.set_tint(rng.random() < 0.5), lambda: canvas.resize(rng.randint(200, 700), rng.randint(200, 600)),
    ]  # fmt: skip
    for step in range(200):
        rng.choice(actions)()
        if step % 20 == 0:
            canvas.grab()
    canvas.end_import()
    while canvas.can_undo():
        canvas.undo()
    assert canvas.map().sha256 == start and canvas.map().pixels.shape == (64, 96, 3)
