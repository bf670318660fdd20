"""Colours reach WCAG AA, switching is live, every colour in the style sheet is filled in."""

import re

import numpy as np
import pytest
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QLabel, QLineEdit, QPlainTextEdit

from app import theme

TEXT_PAIRS = [
    ("text", "background"), ("text", "surface"), ("text", "raised"), ("text", "selection"),
    ("muted", "background"), ("muted", "surface"), ("muted", "raised"), ("muted", "selection"),
    ("ok", "selection"), ("error", "selection"), ("warn", "selection"), ("info", "selection"),
    ("on_accent", "accent"), ("on_stage", "stage"),
    ("ok", "background"), ("error", "background"), ("warn", "background"), ("info", "background"),
    ("pending", "background"), ("error", "raised"), ("warn", "raised"), ("ok", "surface"),
]  # fmt: skip
SHAPE_PAIRS = [("border", "surface"), ("border", "background"), ("focus", "background"), ("focus", "surface"),
               ("focus", "raised"), ("accent", "stage")]  # fmt: skip


@pytest.mark.parametrize("tokens", theme.THEMES.values(), ids=theme.THEMES)
@pytest.mark.parametrize("ink, ground", TEXT_PAIRS)
def test_text_reaches_wcag_aa(tokens, ink, ground):
    assert theme.contrast(getattr(tokens, ink), getattr(tokens, ground)) >= 4.5


@pytest.mark.parametrize("tokens", theme.THEMES.values(), ids=theme.THEMES)
@pytest.mark.parametrize("ink, ground", SHAPE_PAIRS)
def test_borders_and_focus_rings_reach_three_to_one(tokens, ink, ground):
    assert theme.contrast(getattr(tokens, ink), getattr(tokens, ground)) >= 3.0


def test_contrast_knows_the_values_of_the_standard():
    assert theme.contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert theme.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
    assert theme.contrast("#ffffff", "#777777") == theme.contrast("#777777", "#ffffff")


def test_data_colours_are_the_eight_of_okabe_and_ito():
    published = {"#e69f00", "#56b4e9", "#009e73", "#f0e442", "#0072b2", "#d55e00", "#cc79a7", "#000000"}
    assert set(theme.LIGHT.data) == published
    assert len(set(theme.DARK.data)) == 8 and set(theme.DARK.data) - published == {"#f2f2f2"}


@pytest.mark.parametrize("tokens", theme.THEMES.values(), ids=theme.THEMES)
def test_the_style_sheet_has_no_hole_and_no_colour_of_its_own(tokens):
    sheet = theme.style_sheet(tokens)
    assert "$" not in sheet
    own = {value.lower() for value in vars(tokens).values() if isinstance(value, str)}
    assert {colour.lower() for colour in re.findall(r"#[0-9a-fA-F]{6}\b", sheet)} <= own
    sizes = [int(size) for size in re.findall(r"font-size: (\d+)px", sheet)]
    assert sizes and min(sizes) >= theme.LEAST


def test_arrows_and_ticks_of_both_themes_exist():
    for name in theme.THEMES:
        paths = re.findall(r"url\((.+?)\)", theme.style_sheet(theme.THEMES[name]))
        assert paths
        for path in paths:
            assert open(path, encoding="utf-8").read().startswith("<svg")


def test_switching_is_live(qtbot, qapp):
    label = QLabel("words")
    qtbot.addWidget(label)
    label.show()
    seen = []
    theme.notifier().changed.connect(seen.append)
    theme.apply("dark")
    assert label.palette().color(QPalette.ColorRole.WindowText).name() == theme.DARK.text
    theme.apply("light")
    assert label.palette().color(QPalette.ColorRole.WindowText).name() == theme.LIGHT.text
    theme.notifier().changed.disconnect(seen.append)
    assert [tokens.name for tokens in seen][-1] == "light" and theme.DARK in seen


@pytest.mark.parametrize("make", [QLineEdit, QPlainTextEdit], ids=lambda make: make.__name__)
@pytest.mark.parametrize("name", theme.THEMES)
def test_the_words_in_an_empty_field_are_muted_and_no_fainter(qtbot, qapp, name, make):
    theme.apply(name)
    field = make()
    field.setPlaceholderText("What it shall not show")
    qtbot.addWidget(field)
    field.show()
    ink = field.palette().color(QPalette.ColorRole.PlaceholderText)
    assert (ink.name(), ink.alpha()) == (theme.tokens().muted, 255)
    theme.apply("light")


def test_an_unknown_choice_means_the_system(qapp):
    theme.apply("sepia")
    assert theme.notifier().choice == "system"
    theme.apply("light")


def test_fonts_have_the_size_asked_for_and_never_less_than_eleven(qapp):
    assert theme.font().pixelSize() == 13
    assert theme.font(6).pixelSize() == 11


def test_motion_can_be_turned_off():
    assert theme.duration(150) == 150
    theme.set_reduced_motion(True)
    assert theme.duration(150) == 0
    theme.set_reduced_motion(False)


def test_diverging_map_is_neutral_in_the_middle_and_differs_at_the_ends():
    table = theme.lookup_table("diverging").astype(int)
    assert table.shape == (256, 3)
    assert np.ptp(table[128]) < 16
    assert np.abs(table[0] - table[255]).max() > 100


@pytest.mark.parametrize("name", ["viridis", "magma"])
def test_sequential_maps_grow_brighter(name):
    table = theme.lookup_table(name).astype(float)
    assert table.shape == (256, 3)
    brightness = table @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(brightness) > -1).all() and brightness[-1] > brightness[0] + 100
