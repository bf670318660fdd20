"""The views of the chat panel: Markdown that streams and cannot do harm, tokens in lines, rounds, draft trees, bars."""

from __future__ import annotations

import random
import time

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QColor, QMouseEvent, QTextCursor
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from app import theme
from app.protocol.chat import ForcedToken
from app.widgets import fate_marks
from app.widgets.composer import Composer
from app.widgets.draft_tree import DraftTree
from app.widgets.elided_label import ElidedLabel
from app.widgets.fate_marks import FATES, FateLegend
from app.widgets.footer_line import FooterLine
from app.widgets.markdown_text import MarkdownText, finished
from app.widgets.message_card import CardLook, MessageCard
from app.widgets.message_column import MOST_CHARACTERS, MessageColumn, column_width
from app.widgets.probability_bars import Bar, ProbabilityBars
from app.widgets.rounds_strip import RoundsStrip, cells, round_tip, seconds
from app.widgets.token_layout import TokenLayout, refused, way_to
from app.widgets.token_text import TokenText
from app.widgets.token_words import ghost_tip, ratio, token_tip, verdict
from tests.app.chat_fakes import REPLY, chain_round, rounds_of, tree_round

MARKDOWN = (
    "# Head\n\nHello ![alt text](http://evil.test/x.png) and <b>html</b> with `code` and [link](https://a.test/b).\n\n"
    "| a | b |\n|---|---|\n| 1 | **2** |\n\n> quote\n> more\n\n---\n\n"
    "- a\n  - b\n  - c\n- d\n\n1. one\n\n2. two\n\n   inside two\n\n3. three\n\n"
    "```python\ndef f(x):\n\n    return x\n```\nlast ~~gone~~ *it*\n\n- [x] done\n- [ ] open\n"
)


def structure(view: MarkdownText) -> list[tuple]:
    """What a document is made of, block by block."""
    found, block = [], view.document().begin()
    while block.isValid():
        words = block.textList()
        kind = (words.format().style().name, words.format().indent()) if words else ()
        form = block.blockFormat()
        table = QTextCursor(block).currentTable() is not None
        found.append((block.text(), kind, form.headingLevel(), form.bottomMargin(), form.leftMargin(), table))
        block = block.next()
    return found


def hover(widget, at: QPoint) -> None:
    """Move the pointer over a widget; without a display QTest may lose the event."""
    none = Qt.MouseButton.NoButton
    widget.mouseMoveEvent(
        QMouseEvent(QEvent.Type.MouseMove, QPointF(at), QPointF(widget.mapToGlobal(at)), none, none, Qt.KeyboardModifier.NoModifier)
    )


# --- Markdown -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_a_streamed_text_becomes_the_document_of_the_whole_text(qtbot, seed):
    whole, grown = MarkdownText(), MarkdownText()
    for view in (whole, grown):
        qtbot.addWidget(view)
    whole.set_markdown(MARKDOWN)
    rng, at = random.Random(seed), 0
    while at < len(MARKDOWN):
        at += rng.randint(1, 7)
        grown.set_markdown(MARKDOWN[:at])
    assert structure(grown) == structure(whole)


def test_what_is_finished_never_changes_whatever_follows():
    for at in range(len(MARKDOWN) + 1):
        stable = finished(MARKDOWN[:at])
        assert stable <= at and finished(MARKDOWN[: at + 1]) >= stable
    assert finished("```\na\n\nb\n") == 0, "a fence that is open is not finished"
    assert finished("- a\n\n- b") == 0 and finished("- a\n\ntext") == 5
    assert finished("1. a\n\n2") == 0, "it may become an item"


def test_markdown_is_harmless(qtbot):
    view = MarkdownText()
    qtbot.addWidget(view)
    view.set_markdown("![secret](file:///etc/passwd) <img src='http://evil.test/x.png'> <script>alert(1)</script>")
    text = view.toPlainText()
    assert "￼" not in text and "[picture: secret]" in text and "<script>" in text
    assert view.loadResource(2, QUrl("file:///etc/passwd")) is None
    assert view.document().resource(2, QUrl("file:///etc/hostname")) is None
    assert not view.openLinks() and not view.openExternalLinks()


def test_a_link_is_told_of_and_not_opened(qtbot):
    view = MarkdownText()
    qtbot.addWidget(view)
    view.set_markdown("[x](https://a.test/b)")
    with qtbot.waitSignal(view.link_clicked) as told:
        view.anchorClicked.emit(QUrl("https://a.test/b"))
    assert told.args == ["https://a.test/b"] and view.toPlainText() == "x"


def test_plain_text_stays_as_it_is_and_a_theme_switch_keeps_both(qtbot):
    view = MarkdownText()
    qtbot.addWidget(view)
    view.set_plain("*not* <b>bold</b>")
    assert view.toPlainText() == "*not* <b>bold</b>"
    view.set_markdown("*it*")
    assert view.toPlainText() == "it"
    theme.apply("dark")
    assert view.toPlainText() == "it"
    theme.apply("light")


def test_the_height_is_that_of_the_words(qtbot):
    view = MarkdownText()
    qtbot.addWidget(view)
    view.resize(300, 20)
    view.show()
    view.set_markdown("word " * 100)
    tall = view.height()
    assert tall > 100
    view.set_markdown("word")
    assert view.height() < 40


def test_a_token_costs_the_same_at_the_end_of_a_long_text(qtbot, monkeypatch):
    """Work per token, counted as the characters that are parsed anew, not as time."""
    view = MarkdownText()
    qtbot.addWidget(view)
    text = ("A sentence of some words that goes on for a line. " * 3 + "\n\n") * 200
    view.set_markdown(text)
    parsed, append = [], view._writer._append
    monkeypatch.setattr(view._writer, "_append", lambda at, source, empty: parsed.append(len(source)) or append(at, source, empty))
    for more in range(1, 20):
        view.set_markdown(text + "x" * more)
    assert 19 <= len(parsed) <= 40 and max(parsed) < 400


# --- tokens in lines ----------------------------------------------------------------------------------------


def layout(width: float = 200.0) -> TokenLayout:
    return TokenLayout(lambda text: 8.0 * len(text), width)


def placed(made: TokenLayout) -> list[tuple]:
    return [(chip.text, chip.x, made.line_of(number)) for number, chip in enumerate(made.chips)]


def test_adding_round_by_round_equals_laying_out_at_once():
    grown = layout()
    for round_ in rounds_of(seed=3):
        grown.add(round_)
    before, heights = placed(grown), [line.y for line in grown.lines]
    ghostly = [line.ghostly for line in grown.lines]
    grown.flow(200.0)
    assert placed(grown) == before and [line.y for line in grown.lines] == heights
    assert [line.ghostly for line in grown.lines] == ghostly


def test_lines_fit_and_words_stay_whole():
    made = layout(160)
    for round_ in rounds_of("internationalisation of " * 6 + "a" * 60, seed=5):
        made.add(round_)
    for line in range(len(made.lines)):
        chips = [made.chips[n] for n in made.chips_of(line)]
        assert all(chip.x + chip.width <= 160 + 1 for chip in chips) or len(chips) == 1
    texts = [chip.text for chip in made.chips]
    first = {made.lines[n].first for n in range(1, len(made.lines))}
    assert all(texts[n].startswith(" ") or not (texts[n - 1][-1:].isalnum() and texts[n][:1].isalnum()) for n in first)


def test_every_chip_and_every_ghost_is_found_where_it_is_painted():
    made = layout()
    for round_ in rounds_of(seed=2):
        made.add(round_)
    for number, chip in enumerate(made.chips):
        line = made.lines[made.line_of(number)]
        assert made.chip_at(chip.x + 1, line.y + made.heights.entropy + 2) == number
    ghosts = 0
    for number, line in enumerate(made.lines):
        for ghost in made.ghosts_of(number) if line.ghostly else ():
            found = made.ghost_at(ghost.x + 1, line.y + made.heights.entropy + made.heights.chip + 2)
            assert (found.round, found.place) == (ghost.round, ghost.place)
            ghosts += 1
    assert ghosts > 5
    assert made.chip_at(5, -1) is None and made.chip_at(5, made.height + 1) is None


def test_ghosts_of_a_line_do_not_cover_each_other():
    made = layout()
    for round_ in rounds_of(seed=9):
        made.add(round_)
    for number in range(len(made.lines)):
        ghosts = made.ghosts_of(number)
        assert all(b.x >= a.x + a.width for a, b in zip(ghosts, ghosts[1:], strict=False))


def test_refused_drafts_stand_under_the_token_that_came_instead():
    rng = random.Random(0)
    round_ = chain_round(0, 0, [" a", " b"], 1, 3, rng)
    assert refused(round_, 0) == () and refused(round_, 1) == (1, 2)
    tree = tree_round(0, 0, [" a", " b"], 1, rng, width=3, depth=2)
    lost = refused(tree, 1)
    assert lost and all(tree.drafted[n].fate == "rejected" and tree.drafted[n].depth == 2 for n in lost)
    assert refused(chain_round(0, 0, [" a", " b", " c"], 2, 2, rng), 2) == ()


def test_the_way_to_a_draft():
    tree = tree_round(0, 0, [" a", " b"], 1, random.Random(0), width=2, depth=3)
    assert way_to(tree.drafted, 0) == (0,) and way_to(tree.drafted, 3) == (0, 3)


def test_the_token_view_shows_grows_and_begins_anew(qtbot):
    view = TokenText()
    qtbot.addWidget(view)
    view.resize(400, 50)
    rounds = rounds_of()
    view.set_rounds(rounds[:5])
    five = view.text()
    view.set_rounds(rounds)
    assert view.text().startswith(five) and view.text().replace("|", "") == REPLY.replace("\n", "↵")
    view.set_rounds(rounds_of("Another text.", seed=4))
    assert view.text().replace("|", "") == "Another text."
    view.set_rounds([])
    assert view.text() == ""


def test_a_given_beginning_is_shown_and_cannot_be_chosen(qtbot):
    view = TokenText()
    qtbot.addWidget(view)
    view.resize(400, 50)
    rounds = rounds_of("then more of it", seed=2)
    view.set_rounds(rounds, (ForcedToken(id=1, text="Given", piece="Given"),))
    view.show()
    assert view.text().startswith("Given|then")
    told = []
    view.selected.connect(told.append)
    QTest.mouseClick(view, Qt.MouseButton.LeftButton, pos=QPoint(5, 15))
    assert told == [] and "given" in view.tip_at(5, 15)
    second = view.layout_.chips[1]
    QTest.mouseClick(view, Qt.MouseButton.LeftButton, pos=QPoint(int(second.x) + 3, 15))
    assert told == [0] and view.current == 0


def test_hovering_clicking_and_keys_of_the_token_view(qtbot):
    view = TokenText()
    qtbot.addWidget(view)
    view.resize(500, 50)
    rounds = rounds_of(seed=1)
    view.set_rounds(rounds)
    view.show()
    made = view.layout_
    lit, chosen, ghosts = [], [], []
    view.hovered.connect(lit.append)
    view.selected.connect(chosen.append)
    view.ghost_clicked.connect(lambda round_, place: ghosts.append((round_, place)))
    chip = made.chips[4]
    at = QPoint(int(chip.x) + 3, int(made.lines[made.line_of(4)].y) + 14)
    hover(view, at)
    QTest.mouseClick(view, Qt.MouseButton.LeftButton, pos=at)
    QTest.keyClick(view, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
    assert lit[-1] == chip.round and chosen == [4, 5]
    line = next(n for n, each in enumerate(made.lines) if each.ghostly)
    ghost = made.ghosts_of(line)[0]
    y = int(made.lines[line].y + made.heights.entropy + made.heights.chip + 6)
    QTest.mouseClick(view, Qt.MouseButton.LeftButton, pos=QPoint(int(ghost.x) + 3, y))
    assert ghosts == [(ghost.round, ghost.place)]
    assert "draft q" in view.tip_at(ghost.x + 2, y) and "second column" in view.tip_at(ghost.x + 2, y)


def test_a_thousand_tokens_repaint_only_what_changed(qtbot):
    view = TokenText()
    qtbot.addWidget(view)
    view.resize(500, 50)
    view.show()
    rounds = rounds_of("one two three four five six seven eight nine ten. " * 100, seed=1)
    view.set_rounds(rounds[:-1])
    qtbot.wait(20)
    painted = []
    view._paint_line = lambda _painter, line: painted.append(line)
    view.set_rounds(rounds)
    deadline = time.monotonic() + 2
    while not painted and time.monotonic() < deadline:
        qtbot.wait(5)
    assert len(view.layout_.lines) > 50 and 0 < len(set(painted)) <= 4


# --- fates, words -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokens", theme.THEMES.values(), ids=theme.THEMES)
def test_words_on_the_ground_of_a_fate_reach_wcag_aa(qtbot, tokens):
    theme.apply(tokens.name)
    for fate in FATES:
        tint = fate_marks.ground(fate)
        for ground in (tokens.surface, tokens.background):
            seen = blend(tint, QColor(ground)).name() if tint else ground
            assert theme.contrast(tokens.text, seen) >= 4.5
        assert theme.contrast(getattr(tokens, fate_marks.role(fate)), tokens.surface) >= 4.5, "a ghost is read on the surface"
    theme.apply("light")


def blend(over: QColor, under: QColor) -> QColor:
    a = over.alphaF()
    return QColor.fromRgbF(*(a * o + (1 - a) * u for o, u in zip(over.getRgbF()[:3], under.getRgbF()[:3], strict=True)))


def test_every_fate_has_a_cue_beside_its_colour(qtbot):
    """Marks of two fates differ where no colour is seen."""
    from PySide6.QtGui import QImage, QPainter

    pictures = {}
    for fate in FATES:
        image = QImage(16, 16, QImage.Format.Format_ARGB32)
        image.fill(0)
        painter = QPainter(image)
        fate_marks.paint_mark(painter, QPointF(8, 8), fate)
        painter.end()
        pictures[fate] = tuple(image.pixelColor(x, y).alpha() > 100 for x in range(16) for y in range(16))
    assert len(set(pictures.values())) == len(FATES) and all(any(each) for each in pictures.values())


def test_the_legend_names_all_and_wraps(qtbot):
    legend = FateLegend()
    qtbot.addWidget(legend)
    assert all(fate in legend.accessibleName() for fate in FATES)
    assert legend.heightForWidth(200) > legend.heightForWidth(800)


def test_the_words_of_a_verdict():
    rng = random.Random(1)
    round_ = chain_round(0, 0, [" a", " b"], 1, 3, rng)
    kept, lost, untested = round_.drafted
    assert verdict(kept).startswith("kept: u") and "below" in verdict(kept)
    assert "is not below" in verdict(lost) and "not tested" in verdict(untested)
    assert ratio(0.2, 0.4) == 0.5 and ratio(0.9, 0.4) == 1.0 and ratio(None, 0.4) is None
    assert "draft q" in token_tip(round_, 0) and "correction" in token_tip(round_, 1) and "rejected" in ghost_tip(lost)


# --- rounds -------------------------------------------------------------------------------------------------


def test_the_cells_of_a_round_are_its_tokens():
    rng = random.Random(1)
    chain = chain_round(0, 0, [" a", " b"], 1, 3, rng)
    assert [cell.fate for cell in cells(chain)] == ["accepted", "rejected", "untested", "corrected"]
    assert [cell.fate for cell in cells(chain_round(0, 0, [" a"], 0, 0, rng))] == ["plain"]
    tree = cells(tree_round(0, 0, [" a", " b"], 1, rng, width=4, depth=3))
    assert tree[0].fate == "accepted" and tree[-1].fate == "corrected" and len(tree) <= 5


def test_the_strip_selects_hovers_follows_and_zooms(qtbot):
    strip = RoundsStrip()
    qtbot.addWidget(strip)
    strip.resize(400, 112)
    strip.show()
    rounds = rounds_of(seed=1)
    strip.set_rounds(rounds[:3])
    chosen, hovered = [], []
    strip.selected.connect(chosen.append)
    strip.hovered.connect(hovered.append)
    hover(strip, QPoint(int(strip._left(1)) + 10, 50))
    QTest.mouseClick(strip.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(int(strip._left(1)) + 10, 50))
    assert chosen == [1] and hovered[-1] == 1 and strip.current == 1
    strip.set_rounds(rounds)
    assert strip.horizontalScrollBar().value() == strip.horizontalScrollBar().maximum() > 0
    strip.horizontalScrollBar().setValue(0)
    strip.set_rounds([*rounds, rounds[-1]])
    assert strip.horizontalScrollBar().value() == 0, "who looks at the beginning is left alone"
    wide = strip.horizontalScrollBar().maximum()
    strip.zoom(0.5, 100)
    assert strip.horizontalScrollBar().maximum() < wide
    strip.select(len(rounds) - 1)
    assert strip._left(len(rounds) - 1) < 400
    assert "drafted" in round_tip(rounds[1]) and seconds(rounds[1]) > 0


def test_the_scale_of_the_strip_takes_all_but_the_slowest(qtbot):
    strip = RoundsStrip()
    qtbot.addWidget(strip)
    rounds = rounds_of("word " * 120, seed=2)
    strip.set_rounds(rounds)
    times = sorted(seconds(round_) for round_ in rounds)
    assert strip._scale >= times[int(0.95 * (len(times) - 1))]


# --- draft tree ---------------------------------------------------------------------------------------------


def test_the_mask_lets_a_node_see_its_ancestors_and_itself(qtbot):
    tree = tree_round(0, 0, [" a", " b", " c"], 2, random.Random(3), width=3, depth=3)
    view = DraftTree()
    qtbot.addWidget(view)
    view.set_round(tree, "some text", (0.5, 0.3))
    for row, seen in enumerate(view.mask()):
        wanted, at = set(), row
        while at >= 0:
            wanted.add(at)
            at = tree.drafted[at].parent
        assert {column for column, sees in enumerate(seen) if sees} == wanted


def test_nodes_stand_behind_their_parents_and_never_on_each_other(qtbot):
    tree = tree_round(0, 0, [" a", " b", " c"], 2, random.Random(3), width=4, depth=4)
    view = DraftTree()
    qtbot.addWidget(view)
    view.set_round(tree, "some text")
    nodes = view.nodes()
    assert len(nodes) == len(tree.drafted) + 1 and nodes[-1].fate == "corrected"
    for node in nodes:
        if node.parent >= 0:
            assert nodes[node.parent].box.right() < node.box.left()
    boxes = [node.box for node in nodes]
    assert not any(a.intersects(b) for place, a in enumerate(boxes) for b in boxes[:place])
    lit = [node.row for node in nodes if node.fate in ("accepted", "corrected")]
    assert lit == sorted(lit) and lit[0] == 0, "the way that was accepted runs along the top"


def test_a_click_on_a_refused_node_asks_to_go_on_from_it(qtbot):
    tree = tree_round(0, 0, [" a", " b"], 1, random.Random(3))
    view = DraftTree()
    qtbot.addWidget(view)
    view.set_round(tree, "text")
    view.resize(view.sizeHint())
    view.show()
    told = []
    view.node_clicked.connect(told.append)
    nodes = view.nodes()
    refused_one = next(n for n, node in enumerate(nodes) if node.fate == "rejected")
    for index in (0, refused_one):
        QTest.mouseClick(view, Qt.MouseButton.LeftButton, pos=nodes[index].box.center().toPoint())
    assert told == [nodes[refused_one].place]
    assert "draft q" in view.tip_of(refused_one) and "accepted" in view.tip_of(0)
    view.set_round(chain_round(0, 0, [" a"], 0, 0, random.Random(0)))
    assert view.nodes() == [] and not view.grab().isNull()


# --- bars, composer, cards ----------------------------------------------------------------------------------


def test_bars_can_be_pressed_by_mouse_and_keys(qtbot):
    view = ProbabilityBars("Test")
    qtbot.addWidget(view)
    view.set_bars([Bar("a", 0.5, "0.5", key=11), Bar("b", 0.2, "0.2"), Bar("c", 0.1, "0.1", key=33, mark=0.4)])
    view.resize(240, view.height())
    view.show()
    told = []
    view.pressed.connect(told.append)
    QTest.mouseClick(view, Qt.MouseButton.LeftButton, pos=QPoint(20, 5))
    QTest.mouseClick(view, Qt.MouseButton.LeftButton, pos=QPoint(20, 27))
    view.setFocus()
    for key in (Qt.Key.Key_Down, Qt.Key.Key_Down, Qt.Key.Key_Return):
        QTest.keyClick(view, key)
    assert told == [11, 33] and "b 0.2" in view.accessibleName()
    view.set_bars([])
    assert view.isHidden()


def test_the_composer_sends_with_enter_and_stops_while_busy(qtbot):
    composer = Composer()
    qtbot.addWidget(composer)
    composer.show()
    sent, stopped = [], []
    composer.submitted.connect(sent.append)
    composer.stop_wanted.connect(lambda: stopped.append(1))
    QTest.keyClicks(composer.edit, "hello")
    low = composer.edit.height()
    QTest.keyClick(composer.edit, Qt.Key.Key_Return, Qt.KeyboardModifier.ShiftModifier)
    QTest.keyClicks(composer.edit, "you")
    assert composer.text() == "hello\nyou" and composer.edit.height() > low and sent == []
    QTest.keyClick(composer.edit, Qt.Key.Key_Return)
    composer.set_busy(True)
    composer.send.click()
    assert sent == ["hello\nyou"] and stopped == [1] and composer.send.text() == "Stop"


def test_a_line_has_at_most_75_characters(qtbot):
    assert 60 <= MOST_CHARACTERS <= 75
    column = MessageColumn()
    qtbot.addWidget(column)
    column.resize(1600, 600)
    column.show()
    column.sync([1], lambda key: MessageCard(key, CardLook("assistant", "Model")))
    column.cards()[0].set_text("The quick brown fox jumps over the lazy dog and sleeps in the sun. " * 5)
    qtbot.wait(20)
    line = column.cards()[0].body.document().begin().layout().lineAt(0)
    assert 50 < line.textLength() <= MOST_CHARACTERS + 5 and column.cards()[0].width() <= column_width() + 24


def test_the_column_follows_the_end_until_somebody_scrolls_up(qtbot):
    column = MessageColumn()
    qtbot.addWidget(column)
    column.resize(500, 300)
    column.show()
    column.sync([1, 2], lambda key: MessageCard(key, CardLook("assistant", "Model")))
    card, bar = column.cards()[1], column.verticalScrollBar()
    for lines in range(1, 40):
        card.set_text("line\n\n" * lines)
        qtbot.wait(1)
    qtbot.waitUntil(lambda: bar.value() == bar.maximum() > 0)
    bar.setValue(10)
    card.set_text("line\n\n" * 80)
    qtbot.wait(30)
    assert bar.value() == 10 and not column._newest.isHidden()
    column.follow()
    assert bar.value() == bar.maximum()


def test_a_long_message_of_a_person_is_folded(qtbot):
    card = MessageCard(1, CardLook("user", "You"))
    qtbot.addWidget(card)
    card.set_text("x" * 100_000)
    assert len(card.body.toPlainText()) < 10_000 and card.text() == "x" * 100_000
    card._on_unfold()
    assert len(card.body.toPlainText()) == 100_000


def test_editing_a_card_sends_the_new_words_or_keeps_the_old(qtbot):
    card = MessageCard(7, CardLook("user", "You", editable=True))
    qtbot.addWidget(card)
    card.set_text("old")
    card.show()
    told = []
    card.edited.connect(lambda key, text: told.append((key, text)))
    card.begin_edit()
    card._editor.set_text("new")
    card.end_edit()
    assert told == [] and not card.editing
    card.begin_edit()
    assert card._editor.text() == "old"
    card._editor.set_text("new")
    card._on_send()
    assert told == [(7, "new")] and not card.editing


def test_quiet_lines_give_way_or_wrap(qtbot):
    label, line = ElidedLabel(width=60), FooterLine()
    for widget in (label, line):
        qtbot.addWidget(widget)
    label.setText("a very long title that has no room")
    assert label.minimumSizeHint().width() == 0 and label.toolTip() == label.text()
    line.resize(100, 20)
    line.set_line("52 tok/s · 214 tokens · 64 % draft tokens accepted · 1.31x measured · lossless")
    assert line.heightForWidth(100) > 2 * line.heightForWidth(800)


def test_token_lines_that_were_painted_before_look_as_if_painted_now(qtbot):
    card = MessageCard(1, CardLook("assistant", "SmolLM2", tokens=True))
    qtbot.addWidget(card)
    card.resize(560, 900)
    card.show_tokens(True)
    card.show()
    view, rounds = card.tokens, rounds_of()
    for count in range(1, len(rounds) + 1):
        card.set_rounds(rounds[:count])
        QApplication.processEvents()
        card.grab()  # every line is painted, and kept if nothing can be added to it
    assert len(view._pictures) >= len(view.layout_.lines) - 2 > 3
    copied = card.grab().toImage()
    view.set_shown(len(rounds))  # all in full, each painted anew
    assert card.grab().toImage() == copied
    view.set_shown(None)
    theme.apply("dark")
    dark = card.grab().toImage()
    view.set_shown(len(rounds))
    assert card.grab().toImage() == dark != copied


def test_the_name_of_a_card_takes_its_words_and_gives_way_with_an_ellipsis(qtbot):
    card = MessageCard(1, CardLook("assistant", "A model of a rather long name", "plain", 1, 2))
    qtbot.addWidget(card)
    card.show()
    title = card._title
    card.resize(700, 80)
    QApplication.processEvents()
    words = title.fontMetrics().horizontalAdvance(title.text())
    assert words <= title.width() <= words + 2
    card.resize(240, 80)
    QApplication.processEvents()
    assert 0 < title.width() < words and title.toolTip() == title.text()
