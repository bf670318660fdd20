"""The views of attention maps: which cell is under the pointer, what is shown of it, what is drawn and what is left out."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QWidget

from app import theme
from app.widgets.arc_view import MOST, ROW, ArcView
from app.widgets.colour_scale import ColourScale, colours
from app.widgets.head_cells import GAP, LABEL, HeadCells
from app.widgets.head_grid import HeadGrid, thinned
from app.widgets.matrix_axes import LEFT, TOP, every, label
from app.widgets.matrix_place import LARGEST_CELL, Axis, MatrixPlace, Part
from app.widgets.matrix_view import MatrixView
from app.widgets.token_chips import FULL_SHADE, TokenChips

# --- numbers as colours -----------------------------------------------------------------------------------------


def test_a_linear_scale_runs_from_zero_to_its_top() -> None:
    scale = ColourScale(0.5)
    assert scale.shares(np.array([0.0, 0.25, 0.5, 0.9])).tolist() == [0.0, 0.5, 1.0, 1.0]
    assert scale.ends() == ("0", "0.500") and "linear" in scale.words()


def test_a_logarithmic_scale_shows_what_a_sink_hides() -> None:
    scale = ColourScale(1.0, log=True)
    assert scale.shares(np.array([1.0, 0.1, 0.01, 1e-4, 0.0])) == pytest.approx([1.0, 0.75, 0.5, 0.0, 0.0])
    assert scale.ends() == ("≤1e-4", "1.000") and "logarithmic" in scale.words()


def test_a_signed_scale_has_zero_in_the_middle() -> None:
    scale = ColourScale(2.0, signed=True)
    assert scale.shares(np.array([-2.0, -1.0, 0.0, 2.0])).tolist() == [0.0, 0.25, 0.5, 1.0] and scale.ends() == ("−2", "2")


def test_the_picture_has_the_colours_of_the_scale_and_holes_where_nothing_is_known(qapp) -> None:
    values = np.array([[0.0, 1.0], [np.nan, 0.5]], np.float32)
    picture = ColourScale(1.0).picture(values, np.array([[False, False], [False, True]]))
    table = colours(False, "light")
    assert picture.pixel(0, 0) == table[0] and picture.pixel(1, 0) == table[255]
    assert picture.pixelColor(0, 1).alpha() == 0 and picture.pixelColor(1, 1).alpha() == 0


# --- where cells stand ------------------------------------------------------------------------------------------


def test_zoom_keeps_the_cell_under_the_pointer() -> None:
    place = MatrixPlace()
    place.set_counts(100, 100)
    place.set_room(300, 300)
    before = place.rows.at(140), place.columns.at(90)
    for _ in range(5):
        place.zoom(1.25, 90, 140)
    assert (place.rows.at(140), place.columns.at(90)) == pytest.approx(before) and not place.fits
    for _ in range(9):
        place.zoom(0.8, 90, 140)
    assert place.fits and place.rows.window() == place.columns.window() == (0, 100)


def test_zoom_and_pan_end_at_the_edges() -> None:
    place = MatrixPlace()
    place.set_counts(50, 50)
    place.set_room(200, 200)
    place.zoom(1000, 0, 0)
    assert place.rows.size == LARGEST_CELL and place.rows.window() == (0, 4)
    place.pan(-1e6, -1e6)
    assert place.rows.window() == (46, 50) and place.cell(199, 199) == (49, 49)
    assert place.cell(200, 10) is None


def test_square_tables_have_square_cells_and_others_fill_the_room() -> None:
    place = MatrixPlace()
    place.set_counts(40, 40)
    place.set_room(400, 200)
    assert place.rows.size == place.columns.size == 5 and place.cell(300, 10) is None
    place.set_counts(64, 8)
    assert place.columns.size == 50 and place.rows.size == 200 / 64


def test_a_part_knows_its_cells_and_which_keys_are_later() -> None:
    part = Part(np.arange(6.0).reshape(2, 3), (4, 8), (0, 6), (2, 2))
    assert part.at(4, 0) == 0 and part.at(7, 5) == 5 and part.at(5, 3) == 1 and part.at(3, 0) is None and part.at(4, 6) is None
    assert not part.later_keys().any()
    tall = Part(np.arange(6.0).reshape(2, 3), (0, 6), (0, 6), (3, 2))
    assert [tall.at(2, 4), tall.at(3, 0), tall.at(5, 3)] == [2, 3, 4]
    assert Part(np.zeros((2, 3)), (0, 4), (0, 6), (2, 2)).later_keys().tolist() == [[False, True, True], [False, False, True]]


def test_labels_thin_out_until_they_fit() -> None:
    assert every(Axis(count=10, size=20)) == 1 and every(Axis(count=1000, size=0.5)) == 50 and every(Axis(count=100, size=5)) == 5
    assert label(("a", " b", "\n", ""), 1) == "b" and label(("a",), 4) == "4" and label(("\n",), 0) == "↵" and label((" ",), 0) == "␣"


# --- the large map ----------------------------------------------------------------------------------------------


@pytest.fixture
def matrix(qtbot):
    made = MatrixView()
    qtbot.addWidget(made)
    made.resize(LEFT + 408, TOP + 430)
    made.show()
    texts = tuple(f"t{n}" for n in range(40))
    made.set_axes(texts, texts, causal=True)
    made.set_parts([Part(np.tril(np.arange(1600.0).reshape(40, 40) / 1600), (0, 40), (0, 40))], "softmax weights")
    return made


def point(view, x: float, y: float) -> None:
    QTest.mouseMove(view, QPoint(round(x), round(y)))


def wheel(view, x: float, y: float, notches: int) -> None:
    at = QPointF(x, y)
    event = QWheelEvent(at, view.mapToGlobal(at), QPoint(), QPoint(0, 120 * notches), Qt.MouseButton.NoButton,
                        Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False)  # fmt: skip
    view.wheelEvent(event)


def test_the_weight_shown_is_that_of_the_cell_under_the_pointer(matrix, qtbot):
    size = matrix.place.rows.size
    for row, column in ((0, 0), (30, 12), (39, 39)):
        with qtbot.waitSignal(matrix.hovered, check_params_cb=lambda r, c, want=(row, column): (r, c) == want):
            point(matrix, LEFT + (column + 0.5) * size, TOP + (row + 0.5) * size)
        assert f"“t{row}” ({row}) → “t{column}” ({column}): {(row * 40 + column) / 1600:.4g}" == matrix.readout()
    point(matrix, LEFT + 20.5 * size, TOP + 5.5 * size)
    assert "later token" in matrix.readout()


def test_the_colour_painted_is_that_of_the_weight(matrix):
    size, values = matrix.place.rows.size, np.tril(np.arange(1600.0).reshape(40, 40) / 1600)
    picture = matrix.grab().toImage()
    table = colours(False, "light")
    for row, column in ((10, 3), (39, 20), (25, 25)):
        pixel = picture.pixel(round(LEFT + (column + 0.5) * size), round(TOP + (row + 0.5) * size))
        assert pixel == table[int(values[row, column] / values.max() * 255)]


def test_after_zoom_and_pan_the_pointer_still_tells_the_right_cell(matrix):
    x, y = LEFT + 150.0, TOP + 300.0
    before = matrix.place.cell(150, 300)
    wheel(matrix, x, y, 6)
    assert matrix.place.cell(150, 300) == before and not matrix.place.fits
    QTest.mousePress(matrix, Qt.MouseButton.LeftButton, pos=QPoint(round(x), round(y)))
    point(matrix, x + 60, y + 40)
    QTest.mouseRelease(matrix, Qt.MouseButton.LeftButton, pos=QPoint(round(x + 60), round(y + 40)))
    assert matrix.place.cell(210, 340) == before
    QTest.mouseDClick(matrix, Qt.MouseButton.LeftButton, pos=QPoint(round(x), round(y)))
    assert matrix.place.fits


def test_a_table_that_grows_keeps_its_values_in_their_places(matrix):
    rows, columns = (len(side) + 5 for side in (matrix._rows, matrix._columns))
    known = [matrix.value(row, column) for row in range(3) for column in range(3)]
    matrix.grow_axes([f"t{n}" for n in range(rows)], [f"t{n}" for n in range(columns)])
    assert [matrix.value(row, column) for row in range(3) for column in range(3)] == known
    assert matrix.value(rows - 1, 0) is None and (matrix.place.rows.count, matrix.place.columns.count) == (rows, columns)
    matrix.grab()


def test_a_drag_is_no_click(matrix, qtbot):
    clicks = []
    matrix.clicked.connect(lambda *cell: clicks.append(cell))
    QTest.mousePress(matrix, Qt.MouseButton.LeftButton, pos=QPoint(LEFT + 50, TOP + 200))
    point(matrix, LEFT + 90, TOP + 240)
    QTest.mouseRelease(matrix, Qt.MouseButton.LeftButton, pos=QPoint(LEFT + 90, TOP + 240))
    assert clicks == []
    QTest.mouseClick(matrix, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier, QPoint(LEFT + 1, TOP + 200))
    assert clicks == [(20, 0, True)]


def test_exact_weights_lie_over_the_coarse_ones(matrix):
    coarse = Part(np.full((20, 20), 0.5), (0, 40), (0, 40), (2, 2))
    matrix.set_parts([coarse, Part(np.full((4, 4), 0.25), (10, 14), (6, 10))], "blocks")
    assert matrix.value(12, 8) == (0.25, True) and matrix.value(12, 12) == (0.5, False)
    size = matrix.place.rows.size
    point(matrix, LEFT + 2.5 * size, TOP + 30.5 * size)
    assert "mean of a block" in matrix.readout()


def test_a_pointer_that_moves_paints_no_table_anew(matrix):
    matrix.grab()
    base = matrix._base
    point(matrix, LEFT + 40, TOP + 200)
    matrix.set_cross(3, 4)
    matrix.grab()
    assert matrix._base is base
    matrix.set_log(True)
    assert matrix._base is None and matrix.scale.log


def test_a_thousand_tokens_are_one_picture(qtbot):
    made = MatrixView()
    qtbot.addWidget(made)
    texts = tuple("x" for _ in range(1000))
    made.set_axes(texts, texts)
    made.set_parts([Part(np.random.default_rng(0).random((500, 500), np.float32), (0, 1000), (0, 1000), (2, 2))], "")
    assert made.findChildren(QWidget) == [] and made._pictures[0].width() == 500


# --- the heads --------------------------------------------------------------------------------------------------


def test_heads_stand_layer_by_layer_or_by_rank() -> None:
    cells = HeadCells(width=LABEL + 3 * 20 + 3 * GAP)
    cells.set_counts((3, 2))
    assert cells.side == 20 and cells.place((1, 1)) == (LABEL + 20 + GAP, 20 + GAP)
    assert cells.at(LABEL + 25, 25) == (1, 1) and cells.at(LABEL + 50, 25) is None and cells.layer_at(5, 25) == 1
    scores = np.array([[0.1, 0.5, np.nan], [0.9, 0.2, np.nan]])
    cells.rank(scores)
    assert cells.ranked == ((1, 0), (0, 1), (1, 1), (0, 0), (0, 2))
    for head in cells.ranked:
        left, top = cells.place(head)
        assert cells.at(left + 3, top + 3) == head
    assert cells.neighbour((1, 0), 0, 1) == (0, 1) and cells.neighbour((1, 0), 0, -1) == (1, 0)


def test_small_maps_keep_the_brightest_value_of_a_block() -> None:
    values = np.zeros((12, 12))
    values[5, 7] = 1.0
    small = thinned(values, 5)
    assert small.shape == (6, 6) and small[2, 3] == 1.0 and small.sum() == 1.0 and thinned(values, 40).shape == (12, 12)


@pytest.fixture
def grid(qtbot):
    made = HeadGrid()
    qtbot.addWidget(made)
    made.resize(200, 160)
    made.show()
    made.set_heads((3, 3, 2), ("first", "second", "third"))
    made.set_maps(np.random.default_rng(0).random((3, 3, 12, 12), np.float32))
    return made


def test_the_arrows_go_from_head_to_head(grid, qtbot):
    told = []
    grid.selected.connect(lambda layer, heads: told.append((layer, heads)))
    for key in (Qt.Key.Key_Down, Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Down, Qt.Key.Key_Home, Qt.Key.Key_End, Qt.Key.Key_Up):
        QTest.keyClick(grid, key)
    assert told == [(1, (0,)), (1, (1,)), (1, (2,)), (2, (1,)), (0, (0,)), (2, (1,)), (1, (1,))]
    QTest.keyClick(grid, Qt.Key.Key_A, Qt.KeyboardModifier.ControlModifier)
    assert told[-1] == (1, (0, 1, 2))


def test_clicks_select_a_head_several_or_a_layer(grid):
    told = []
    grid.selected.connect(lambda layer, heads: told.append((layer, heads)))

    def click(head, modifier=Qt.KeyboardModifier.NoModifier):
        left, top = grid.cells.place(head)
        QTest.mouseClick(grid.viewport(), Qt.MouseButton.LeftButton, modifier, QPoint(round(left) + 4, round(top) + 4))

    click((0, 2))
    click((0, 0), Qt.KeyboardModifier.ShiftModifier)
    click((0, 2), Qt.KeyboardModifier.ControlModifier)
    QTest.mouseClick(grid.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(4, round(grid.cells.line) + 4))
    assert told == [(0, (2,)), (0, (0, 2)), (0, (0,)), (1, (0, 1, 2))]


def test_each_head_has_its_own_map(grid):
    maps = np.zeros((3, 3, 12, 12), np.float32)
    maps[2, 1] = 1.0
    grid.set_maps(maps)
    picture, table = grid.viewport().grab().toImage(), colours(False, "light")
    for head in ((2, 1), (1, 2), (0, 1), (2, 0)):
        left, top = grid.cells.place(head)
        middle = picture.pixel(round(left + grid.cells.side / 2), round(top + grid.cells.side / 2))
        assert middle == table[255 if head == (2, 1) else 0], head


def test_a_row_is_drawn_through_every_map_where_its_query_stands(grid):
    before = grid.grab().toImage()
    grid.set_row(0.5)
    after, ink = grid.grab().toImage(), theme.colour("warn")
    for head in grid._places():
        place = grid._square(head)
        x, y = int(place.center().x()), int(place.top() + 0.5 * place.height())
        assert after.pixelColor(x, y) == ink or after.pixelColor(x, y - 1) == ink, head
        assert after.pixelColor(x, y + 4) == before.pixelColor(x, y + 4)
    grid.set_row(-1.0)
    assert grid.grab().toImage() == before


def test_hovering_enlarges_a_head_and_names_its_score(grid):
    grid.set_scores("sink", np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6], [0.7, 0.8, np.nan]]), False)
    left, top = grid.cells.place((1, 1))
    QTest.mouseMove(grid.viewport(), QPoint(round(left) + 5, round(top) + 5))
    assert grid._peek.isVisible() and grid._peek.words() == "second, head 1 · sink 0.500"
    grid._hover_over(None)
    assert not grid._peek.isVisible()


# --- chips and lines --------------------------------------------------------------------------------------------


@pytest.fixture
def chips(qtbot):
    made = TokenChips()
    qtbot.addWidget(made)
    made.resize(300, 60)
    made.show()
    made.set_tokens(["The", " quick", " brown", " fo", "x", " jumps", ",", " and", " jumps"])
    return made


def test_chips_tell_their_weight_and_never_break_a_word(chips):
    chips.set_shades(np.linspace(0, 0.8, 9), note="what “fox” looks at")
    assert chips.text().startswith("The| quick| brown| fo|x") and chips.weight(4) == pytest.approx(0.4)
    assert chips.tip(8) == "“ jumps”, token 8: 0.800\nwhat “fox” looks at"
    for width in range(60, 300, 20):
        chips.resize(width, 60)
        lines = {chips._layout.line_of(3), chips._layout.line_of(4)}
        assert len(lines) == 1, "a word stands in two lines"


def painted(widget, x: float, y: float) -> tuple[int, int, int]:
    return widget.grab().toImage().pixelColor(int(x), int(y)).getRgb()[:3]


def test_the_ground_of_a_chip_is_as_strong_as_its_weight(chips):
    bare = painted(chips, 4, chips._layout.lines[0].y + 2)
    chips.set_shades(np.array([0.5, 1.0, 0.0, -1.0, np.nan, 0.25, 0.0, 0.0, 0.0]))
    ink, refused = theme.colour("accent").getRgb()[:3], theme.colour("error").getRgb()[:3]
    for number, share, towards in ((0, 0.5, ink), (1, 1.0, ink), (2, 0.0, ink), (3, 1.0, refused), (4, 0.0, ink), (5, 0.25, ink)):
        chip, line = chips._layout.chips[number], chips._layout.lines[chips._layout.line_of(number)]
        alpha = FULL_SHADE * share / 255
        wanted = [(1 - alpha) * ground + alpha * colour for ground, colour in zip(bare, towards, strict=True)]
        assert painted(chips, chip.x + 3, line.y + 2) == pytest.approx(wanted, abs=2), number


def test_a_text_that_goes_on_stands_as_if_it_had_been_there_at_once(chips, qtbot):
    texts = chips.text().split("|")
    chips.set_shades(np.ones(9))
    chips.set_tokens([*texts, "es", " over", " the", " fence"])
    assert chips._shades is not None and chips.weight(12) is None, "shades stay until new ones come"
    fresh = TokenChips()
    qtbot.addWidget(fresh)
    fresh.resize(300, 60)
    fresh.show()
    fresh.set_tokens([*texts, "es", " over", " the", " fence"])
    assert [(chip.text, chip.x) for chip in chips._layout.chips] == [(chip.text, chip.x) for chip in fresh._layout.chips]
    assert chips._layout.lines == fresh._layout.lines and chips.height() == fresh.height()
    chips.set_tokens([*texts[:-1], " sits", " here"])
    assert chips._shades is None and chips.count() == 10


def test_chips_are_clicked_and_walked(chips):
    hovered, clicked = [], []
    chips.hovered.connect(hovered.append)
    chips.clicked.connect(lambda token, more: clicked.append((token, more)))
    chip = chips._layout.chips[2]
    where = QPoint(round(chip.x) + 4, round(chips._layout.lines[chips._layout.line_of(2)].y) + 6)
    QTest.mouseMove(chips, where)
    QTest.mouseClick(chips, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier, where)
    chips.setFocus()
    QTest.keyClick(chips, Qt.Key.Key_Right)
    QTest.keyClick(chips, Qt.Key.Key_Return)
    assert hovered[0] == 2 and hovered[-1] == 3 and clicked == [(2, True), (3, False)]


@pytest.fixture
def arcs(qtbot):
    made = ArcView()
    qtbot.addWidget(made)
    made.resize(400, 500)
    made.show()
    made.set_axes(tuple("abcd"), tuple("abcd"))
    weights = np.array([[1, 0, 0, 0], [0.6, 0.4, 0, 0], [0.03, 0.5, 0.47, 0], [0.1, 0.2, 0.3, 0.4]])
    made.set_part(Part(weights, (0, 4), (0, 4)), "softmax")
    return made


def test_lines_are_the_weights_above_the_threshold_weakest_first(arcs):
    assert [(r, c) for r, c, _ in arcs.lines()][-1] == (0, 0) and (2, 0) not in [(r, c) for r, c, _ in arcs.lines()]
    arcs.set_threshold(0.45)
    assert {(r, c) for r, c, _ in arcs.lines()} == {(0, 0), (1, 0), (2, 1), (2, 2)} and arcs.caption().startswith("4 lines of weight 0.45")


def test_pointing_and_pinning_leave_the_lines_of_a_token(arcs):
    QTest.mouseMove(arcs.viewport(), QPoint(20, 3 * ROW + 5))
    assert {(r, c) for r, c, _ in arcs.lines()} == {(3, 0), (3, 1), (3, 2), (3, 3)}
    QTest.mouseMove(arcs.viewport(), QPoint(390, ROW + 5))
    assert {(r, c) for r, c, _ in arcs.lines()} == {(1, 1), (2, 1), (3, 1)}
    arcs._point((-1, -1))
    arcs.set_pinned((1,), ())
    assert {(r, c) for r, c, _ in arcs.lines()} == {(1, 0), (1, 1)}


def test_no_more_lines_than_can_be_seen_and_the_caption_says_so(arcs):
    texts = tuple(str(n) for n in range(60))
    arcs.set_axes(texts, texts)
    arcs.set_part(Part(np.full((60, 60), 0.5), (0, 60), (0, 60)), "softmax")
    assert len(arcs.lines()) == MOST and "weaker ones left out" in arcs.caption()
    arcs.set_part(Part(np.full((30, 30), 0.5), (0, 60), (0, 60), (2, 2)), "blocks")
    assert arcs.lines() == [] and "on their way" in arcs.caption()


def test_words_kept_as_a_picture_are_never_old(chips, qtbot) -> None:
    chips.grab()
    texts = [*chips._texts, " fences", " and", " walls"]
    theme.apply("dark")
    chips.set_tokens(texts)
    chips.resize(220, 80)
    fresh = TokenChips()
    qtbot.addWidget(fresh)
    fresh.resize(220, 80)
    fresh.show()
    fresh.set_tokens(texts)
    for made in (chips, fresh):
        made.set_shades(np.linspace(0, 1, len(texts)))
        made.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        made.clearFocus()
    same = chips.grab().toImage() == fresh.grab().toImage()
    kept = chips._words
    chips.set_shades(np.linspace(1, 0, len(texts)))
    chips.grab()
    theme.apply("light")
    assert same and chips._words is None and kept is not None


def test_words_are_not_painted_again_for_other_shades(chips) -> None:
    chips.grab()
    kept = chips._words
    chips.set_shades(np.linspace(1, 0, 9))
    chips.grab()
    assert chips._words is kept is not None
