"""The field for numbers of any size."""

from __future__ import annotations

import math

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest

from app.widgets.number_field import NumberField, stepped, written


@pytest.mark.parametrize(
    "value, text",
    [(3e-4, "0.0003"), (1e-5, "1e-5"), (200_000, "200,000"), (None, "off"), (0.2, "0.2"), (2e6, "2,000,000"), (0.0, "0"), (1.0, "1")],
)
def test_numbers_are_written_short(value, text):
    assert written(value) == text


@pytest.mark.parametrize("value", [3e-4, 1e-5, 200_000, 0.987654, 12.5, 7])
def test_what_is_written_can_be_read(qtbot, value):
    field = NumberField(value, whole=isinstance(value, int))
    qtbot.addWidget(field)
    assert field.read(written(value)) == value


def test_a_rate_is_stepped_in_ratios_a_share_in_hundredths_a_count_by_one():
    assert stepped(1e-3, 1, 0, 10, False) == pytest.approx(1.3e-3) and stepped(1e-3, -10, 0, 10, False) == pytest.approx(1e-4)
    assert stepped(0.98, 1, 0, 1, False) == 0.99 and stepped(0.99, 5, 0, 1, False) == 1
    assert stepped(4, 1, 1, 1e6, True) == 5 and stepped(2048, 1, 1, 1e6, True) == 2600 and stepped(1, -1, 1, 9, True) == 1
    assert stepped(11, 1, 1, 1e6, True) > 11


def test_only_a_settled_change_is_told(qtbot):
    field = NumberField(0.2, title="Clip range", lo=0, hi=10, open_lo=True)
    qtbot.addWidget(field)
    field.show()
    told, refused = [], []
    field.edited.connect(told.append)
    field.refused.connect(refused.append)
    field.set_value(0.3)
    assert told == []
    field.lineEdit().selectAll()
    QTest.keyClicks(field.lineEdit(), "0.1")
    assert told == []
    QTest.keyClick(field.lineEdit(), Qt.Key.Key_Return)
    assert told == [0.1] and field.value() == 0.1
    for wrong in ("0", "-1", "11", "nan", "inf", "abc", ""):
        field.lineEdit().setText(wrong)
        field.editingFinished.emit()
        assert field.value() == 0.1 and field.lineEdit().text() == "0.1"
    assert told == [0.1] and len(refused) == 7 and all("Clip range" in words for words in refused)
    field.stepUp()
    assert told[-1] == pytest.approx(0.13)


def test_a_number_may_be_left_out_where_that_makes_sense(qtbot):
    field = NumberField(None, title="Limit", lo=0, optional=True)
    qtbot.addWidget(field)
    assert field.lineEdit().text() == "off" and field.read("none") is None and field.read("0.5") == 0.5
    field.stepUp()
    assert field.value() is None
    whole = NumberField(3, title="Epochs", lo=1, hi=math.inf, whole=True)
    qtbot.addWidget(whole)
    for wrong in ("off", "2.5", "0"):
        with pytest.raises(ValueError, match="Epochs"):
            whole.read(wrong)
    assert whole.read("1,000") == 1000 and whole.range_words() == "at least 1"
