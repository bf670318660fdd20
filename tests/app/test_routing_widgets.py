"""Widgets of the routing panel: geometry, words, colours."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest

from app import theme
from app.protocol.routing import BalanceNumbers
from app.widgets.affinity_bars import AffinityBars
from app.widgets.balance_strip import BalanceStrip, balance_words
from app.widgets.expert_flow import ExpertFlow
from app.widgets.expert_paint import expert_colour, ink_on
from app.widgets.grid_map import HEAD, LEFT, GridMap
from app.widgets.interval_rows import Interval, IntervalRows
from app.widgets.routed_text import RoutedText, RoutedToken
from tests.app.routing_fakes import table


@pytest.fixture
def shown(qtbot):
    """`shown(widget, width, height)`: on the screen, painted once."""

    def show(widget, width=500, height=300):
        qtbot.addWidget(widget)
        widget.resize(width, height)
        widget.show()
        assert not widget.grab().isNull()
        return widget

    return show


def test_an_expert_keeps_its_colour_and_its_number_can_be_read(qapp):
    for choice in ("light", "dark"):
        theme.apply(choice)
        assert len({expert_colour(e).name() for e in range(16)}) == 16
        for e in range(16):
            colour = expert_colour(e)
            assert colour == expert_colour(e) and theme.contrast(colour.name(), ink_on(colour).name()) >= 4.5
    theme.apply("light")


def test_cells_are_found_chosen_and_told(shown):
    grid = GridMap("loads")
    grid.set_values(np.arange(12).reshape(3, 4), ["a", "b", "c"], list("wxyz"), (0, 11), "words")
    grid.set_tip(lambda row, column: f"{row},{column}")
    shown(grid, LEFT + 4 + 4 * 50)
    assert grid.cell_at(LEFT + 55, HEAD + 30) == (1, 1)
    assert grid.cell_at(5, 5) == (-1, -1) and grid.cell_at(LEFT + 205, HEAD + 5) == (-1, -1)
    heard = []
    grid.chosen.connect(lambda row, column: heard.append((row, column)))
    QTest.mouseClick(grid, Qt.MouseButton.LeftButton, pos=QPoint(LEFT + 155, HEAD + 55))
    QTest.keyClick(grid, Qt.Key.Key_Up, Qt.KeyboardModifier.ShiftModifier)
    QTest.keyClick(grid, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert heard == [(2, 3), (1, 3), (1, 3)]
    grid.set_values(np.ones((1, 2)), ["a"], ["w", "x"], (0, 1), "words")
    assert grid.current == (-1, -1), "a cell that is gone is not looked at"


def test_cells_of_nothing_known_paint(shown):
    grid = GridMap("loads")
    grid.set_values(np.array([[np.nan, np.inf, 1.0]]), ["a"], list("xyz"), (0, 0), "", pale=np.array([[False, True, False]]))
    shown(grid)
    grid.clear()
    assert not grid.grab().isNull()


def test_chips_flow_within_words_and_find_their_tokens(shown):
    text = RoutedText()
    text.clear(2)
    one = np.zeros((2, 2), int)
    tokens = [RoutedToken(word, one, one + 0.5, one > 0, one > 0, False) for word in ["·fox", "es", "·are", "·small"] * 12]
    text.append(tokens)
    shown(text, 240, 400)
    lines = text._places.lines
    assert len(lines) > 3 and all(text.tokens[line.first].text != "es" for line in lines), "a word stays together"
    place = text.place_of(20).center()
    heard = []
    text.selected.connect(heard.append)
    QTest.mouseClick(text, Qt.MouseButton.LeftButton, pos=QPoint(round(place.x()), round(place.y())))
    assert heard == [20] and text.current == 20
    text.set_shown(5)
    assert not text.grab().isNull()


def routed_tokens(words: list[str], layers: int = 2) -> list[RoutedToken]:
    experts = np.arange(layers * 2).reshape(layers, 2)
    return [RoutedToken(word, experts + n, np.full((layers, 2), 0.5), experts < 0, experts < 0, n % 3 == 0) for n, word in enumerate(words)]


def test_a_text_that_grows_looks_as_one_that_was_there(shown, qapp):
    """Line by line from kept pictures: after growing, other layers, pale tokens, another width and theme, as when painted at once."""
    words = ["·fox", "es", "·are", "·small", "er", "·than", "·wolves"] * 9
    grown, whole = RoutedText(), RoutedText()
    shown(grown, 300, 400), shown(whole, 300, 400)
    grown.clear(2), whole.clear(2)
    tokens = routed_tokens(words)
    for n in range(0, len(words), 4):
        grown.append(tokens[n : n + 4])
        grown.grab()
    whole.append(tokens)
    changes = [
        lambda text: None, lambda text: text.set_row(1), lambda text: text.set_shown(17), lambda text: text.set_shown(18),
        lambda text: text.set_shown(None), lambda text: text.resize(210, 400), lambda text: text.select(8),
    ]  # fmt: skip
    for change in changes:
        change(grown), change(whole)
        whole._pictures.clear()
        assert grown.grab().toImage() == whole.grab().toImage()
    light = grown.grab().toImage()
    try:
        theme.apply("dark")
        whole._pictures.clear()
        assert grown.grab().toImage() == whole.grab().toImage() != light
    finally:
        theme.apply("light")


def test_only_what_is_new_is_painted(shown):
    text = shown(RoutedText(), 300, 400)
    text.clear(2)
    tokens = routed_tokens(["·fox", "·is"] * 20)
    text.append(tokens[:30])
    text.grab()
    assert text._pictures.painted == 30
    text.append(tokens[30:])
    text.select(3)
    text.grab()
    assert text._pictures.painted == 40
    text.set_shown(12)
    text.grab()
    before = text._pictures.painted
    text.set_shown(13)
    text.grab()
    line = len(text._places.chips_of(text._places.line_of(12)))
    assert text._pictures.painted == before + line, "a replay repaints the line it is in"


def test_balance_is_told_against_chance(shown):
    numbers = table(np.array([[6, 2, 4, 0], [3, 3, 3, 3]]), 6)
    numbers = replace(numbers, chance=BalanceNumbers(0.9, 0.5, 0.9, 0.5))
    strip = shown(BalanceStrip(), 520, 92)
    strip.set_table(numbers, (1, 2))
    assert "MaxVio of layer 1: 1.000; a random router shows 0.900 at 6 tokens" in strip.tip_at(5)
    assert strip.tip_at(519).startswith("Dead experts of layer 2")
    assert "no less even than chance" in balance_words(numbers) and "MaxVio is 0.50" in balance_words(numbers)
    skewed = replace(numbers, mean=replace(numbers.mean, max_vio=2.7), chance_tokens=8)
    assert "3.0 times as uneven as chance" in balance_words(skewed) and "about 8" in balance_words(skewed)
    shown(BalanceStrip(), 240, 92).set_table(numbers, (1, 2))


def test_bars_tell_affinity_and_bias_apart(shown):
    bars = shown(AffinityBars(), 240, 128)
    bars.set_values(np.array([0.2, 0.7, 0.6, 0.1], np.float32), np.array([0.5, -0.1, 0, 0], np.float32), (0, 1), (0,))
    assert not bars.grab().isNull()
    assert bars.tip_at(10) == "expert 0: affinity 0.2000, bias +0.5000, together 0.7000\nchosen only because of the bias"
    assert bars.tip_at(100).endswith("\nchosen") and bars.tip_at(230) == "expert 3: affinity 0.1000, bias +0.0000, together 0.1000"


def test_flow_tells_what_is_more_than_chance(shown):
    """Two layers of three experts: 0 goes to 1 always, the rest is even."""
    flow = ExpertFlow()
    counts = np.array([[[0.0, 0.4, 0.0], [0.1, 0.1, 0.1], [0.1, 0.1, 0.1]]])
    flow.set_flow(counts, (4, 5))
    shown(flow)
    widest = flow.bands(0)[0]
    assert widest[:2] == (0, 1) and widest[2] == pytest.approx(0.4) and widest[3] == pytest.approx(0.4 / (0.4 * 0.6))
    node = flow.node(0, 0).center()
    assert "goes on to 1 (40.0% of all visits, 1.7 x chance)" in flow.tip_at(node.x(), node.y())
    heard = []
    flow.chosen.connect(lambda row, expert: heard.append((row, expert)))
    QTest.mouseClick(flow, Qt.MouseButton.LeftButton, pos=flow.node(1, 2).center().toPoint())
    assert heard == [(1, 2)]


def test_intervals_say_what_they_are_of(shown):
    rows = IntervalRows("Intervals")
    rows.set_rows([Interval("python", 0.4, 0.3, 0.5, "10 of 2 documents, too few", False)], 0.25)
    shown(rows)
    assert rows.accessibleDescription() == "python: 0.40 (10 of 2 documents, too few)"
