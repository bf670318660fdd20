"""A prompt: several lines, completion from given words, unknown words underlined.

With ``emphasis=True`` Ctrl+Up and Ctrl+Down change the weight of the word at the cursor, ``(word:1.1)``, by 0.1, as
in the A1111 webui; it is off by default, since a model must know what to do with it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from PySide6.QtCore import QEvent, QMimeData, QPoint, Qt, QTimer, Signal, Slot
from PySide6.QtGui import QFocusEvent, QKeyEvent, QTextCharFormat, QTextCursor, QTextOption
from PySide6.QtWidgets import QListWidgetItem, QPlainTextEdit, QTextEdit, QWidget

from app import theme
from app.widgets.word_popup import WordPopup

_WORD = re.compile(r"[^\W_](?:[\w'-]*[^\W_])?")
_WEIGHTED = re.compile(r"\(([^():]+):(\d+(?:\.\d+)?)\)")
_WEIGHT_STEP, _WEIGHT_TOP = 0.1, 2.0
_UNBROKEN = re.compile(r"\S{2000}")  # longer than any word: Qt takes the square of its length to find where words break
_MOST_UNDERLINED = 200
_CHECK_AFTER_MS = 120
_LONGEST_WORD = 64  # letters that a completion may stand for
UNITS = "utf-16-le", "surrogatepass"  # as Qt counts; half a character may be pasted


class PromptEdit(QPlainTextEdit):
    """Text with completion; Enter takes a completion or starts a line, Tab takes one or leaves the field."""

    edited = Signal(str)
    submitted = Signal()
    unknown_changed = Signal(list)

    def __init__(
        self, placeholder: str = "", *, emphasis: bool = False, lines: int = 3, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.emphasis = emphasis
        self.unknown: list[str] = []
        self._silent = False
        self._find_unknown: Callable[[str], Sequence[str]] | None = None
        self._groups: dict[str, list[str]] = {}
        self.popup = WordPopup(self)
        self.popup.itemClicked.connect(self._on_popup_clicked)
        self._checker = QTimer(self, singleShot=True, interval=_CHECK_AFTER_MS)
        self._checker.timeout.connect(self.check_words)
        self.setPlaceholderText(placeholder)
        self.setTabChangesFocus(True)
        self.setFont(theme.font())
        self.setFixedHeight(lines * self.fontMetrics().lineSpacing() + 16)
        self.textChanged.connect(self._on_text_changed)
        self.cursorPositionChanged.connect(self._checker.start)

    # text and words --------------------------------------------------------------------------------------------

    def text(self) -> str:
        """The prompt."""
        return self.toPlainText()

    def set_text(self, text: str) -> None:
        """Show a prompt; tells nobody, and can be undone."""
        if text == self.text():
            return
        self._silent = True
        self._wrap(text)
        cursor = QTextCursor(self.document())
        cursor.select(QTextCursor.SelectionType.Document)
        cursor.insertText(text)
        self._silent = False
        self.popup.hide()

    def _wrap(self, text: str) -> None:
        """Lines break between words, or anywhere in a text that has a run of letters too long for a word."""
        mode = QTextOption.WrapMode.WrapAnywhere if _UNBROKEN.search(text) else QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere
        if mode != self.wordWrapMode():
            self.setWordWrapMode(mode)

    def set_words(self, groups: Mapping[str, Sequence[str]]) -> None:
        """The words to offer, by the name of their group."""
        self._groups = {group: sorted(words) for group, words in groups.items()}

    def set_unknown(self, find: Callable[[str], Sequence[str]] | None) -> None:
        """How to find the words of a text that the model does not know."""
        self._find_unknown = find
        self.check_words()

    @Slot()
    def check_words(self) -> None:
        """Underline the unknown words now (it happens by itself a moment after typing, and when the field is left)."""
        self._wrap(self.text())
        found = list(self._find_unknown(self._judged())) if self._find_unknown else []
        self._underline({word.lower() for word in found})
        if found != self.unknown:
            self.unknown = found
            self.unknown_changed.emit(found)

    def _judged(self) -> str:
        """The text without the word that is being written, as long as it can still become one that the model knows."""
        text, prefix = self.text(), self._prefix()
        if not self.hasFocus() or not self.matches(prefix.selectedText()):
            return text
        units = text.encode(*UNITS)
        return (units[: 2 * prefix.selectionStart()] + units[2 * prefix.selectionEnd() :]).decode(*UNITS)

    def _underline(self, unknown: set[str]) -> None:
        look = QTextCharFormat()
        look.setUnderlineStyle(QTextCharFormat.UnderlineStyle.WaveUnderline)
        look.setUnderlineColor(theme.colour("warn"))
        marks = []
        for match in _WORD.finditer(self.text()) if unknown else ():
            if match.group().lower() in unknown and len(marks) < _MOST_UNDERLINED:
                mark = QTextEdit.ExtraSelection()
                mark.cursor = self._span(match.start(), match.end())
                mark.format = look
                marks.append(mark)
        self.setExtraSelections(marks)

    def _span(self, start: int, end: int) -> QTextCursor:
        """A cursor over characters ``start`` to ``end`` (Qt counts in UTF-16 units)."""
        text = self.text()
        cursor = QTextCursor(self.document())
        cursor.setPosition(_utf16(text[:start]))
        cursor.setPosition(_utf16(text[:end]), QTextCursor.MoveMode.KeepAnchor)
        return cursor

    @Slot()
    def _on_text_changed(self) -> None:
        self._checker.start()
        if not self._silent:
            self.edited.emit(self.text())

    # completion ------------------------------------------------------------------------------------------------

    def _prefix(self) -> QTextCursor:
        """The letters of the word directly before the cursor."""
        cursor = self.textCursor()
        at = cursor.positionInBlock()
        letters = re.search(r"[\w'-]*$", cursor.block().text()[max(0, at - _LONGEST_WORD) : at]).group()
        if len(letters) < _LONGEST_WORD:  # what is longer is no word, and Qt goes back letter by letter
            cursor.movePosition(QTextCursor.MoveOperation.Left, QTextCursor.MoveMode.KeepAnchor, len(letters))
        return cursor

    def matches(self, prefix: str) -> dict[str, list[str]]:
        """The words that start with ``prefix``, by group."""
        start = prefix.lower()
        found = {group: [w for w in words if w.lower().startswith(start)] for group, words in self._groups.items()}
        return {group: words for group, words in found.items() if words}

    def offer(self, *, everything: bool = False) -> None:
        """Open the list of words that would complete what stands before the cursor."""
        prefix = self._prefix().selectedText()
        found = self.matches(prefix) if prefix or everything else {}
        if not found or all(word.lower() == prefix.lower() for words in found.values() for word in words):
            self.popup.hide()
            return
        self.popup.offer(found)
        corner = self.viewport().mapToGlobal(self.cursorRect().bottomLeft() + QPoint(0, 4))
        self.popup.move(corner)
        self.popup.show()

    def complete(self, word: str) -> None:
        """Put ``word`` in the place of the letters before the cursor."""
        self._prefix().insertText(word)
        self.popup.hide()

    @Slot(QListWidgetItem)
    def _on_popup_clicked(self, item: QListWidgetItem) -> None:
        if item.flags():
            self.complete(item.text().strip())

    # keys ------------------------------------------------------------------------------------------------------

    def keyPressEvent(self, event: QKeyEvent) -> None:
        control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        key = event.key()
        if control and key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.popup.hide()
            self.submitted.emit()
        elif control and key == Qt.Key.Key_Space:
            self.offer(everything=True)
        elif self.emphasis and control and key in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self.change_weight(_WEIGHT_STEP if key == Qt.Key.Key_Up else -_WEIGHT_STEP)
        elif not (self.popup.isVisible() and self._popup_key(key)):
            super().keyPressEvent(event)
            self._after_key(event)

    def _popup_key(self, key: int) -> bool:
        if key in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            self.popup.move_choice(1 if key == Qt.Key.Key_Down else -1)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Tab) and self.popup.choice():
            self.complete(self.popup.choice())
        elif key == Qt.Key.Key_Escape:
            self.popup.hide()
        else:
            return False
        return True

    def _after_key(self, event: QKeyEvent) -> None:
        typed = event.text()
        if typed and (typed.isalnum() or typed in "'-\b"):
            self.offer()
        elif event.key() not in (Qt.Key.Key_Shift, Qt.Key.Key_Control, Qt.Key.Key_Alt):
            self.popup.hide()

    def event(self, event: QEvent) -> bool:
        """Tab takes a completion before Qt would use it to leave the field."""
        if event.type() == QEvent.Type.KeyPress and event.key() == Qt.Key.Key_Tab and self.popup.isVisible():
            return self._popup_key(Qt.Key.Key_Tab)
        if event.type() == QEvent.Type.ShortcutOverride and event.key() == Qt.Key.Key_Escape:
            event.setAccepted(self.popup.isVisible())
            return True
        return super().event(event)

    def canInsertFromMimeData(self, source: QMimeData) -> bool:
        """Files and pictures are left to the window, which knows what to do with them."""
        return not source.hasUrls() and not source.hasImage() and super().canInsertFromMimeData(source)

    def insertFromMimeData(self, source: QMimeData) -> None:
        self._wrap(self.text() + source.text())
        super().insertFromMimeData(source)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        self.popup.hide()
        super().focusOutEvent(event)
        self._checker.start()

    def hideEvent(self, event) -> None:
        self.popup.hide()
        super().hideEvent(event)

    # emphasis --------------------------------------------------------------------------------------------------

    def change_weight(self, by: float) -> None:
        """Write ``(word:1.1)`` around the word or selection at the cursor, or change the number that is there."""
        text, at = self.text(), self.textCursor().position()
        for match in _WEIGHTED.finditer(text):
            if match.start() <= at <= match.end():
                weight = round(float(match.group(2)) + by, 2)
                self._replace(match.start(), match.end(), match.group(1), weight)
                return
        selection = self.textCursor()
        if selection.hasSelection():
            self._replace(selection.selectionStart(), selection.selectionEnd(), selection.selectedText(), 1 + by)
            return
        for match in _WORD.finditer(text):
            if match.start() <= at <= match.end():
                self._replace(match.start(), match.end(), match.group(), 1 + by)
                return

    def _replace(self, start: int, end: int, words: str, weight: float) -> None:
        weight = min(max(weight, 0.0), _WEIGHT_TOP)
        cursor = self._span(start, end)
        written = words if abs(weight - 1) < 1e-6 else f"({words}:{weight:.4g})"
        cursor.insertText(written)
        cursor.setPosition(_utf16(self.text()[:start]) + (0 if written == words else 1))
        self.setTextCursor(cursor)


def _utf16(text: str) -> int:
    return len(text.encode(*UNITS)) // 2
