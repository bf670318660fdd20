"""Text of a language model as Markdown, safe and made for streaming.

What a model writes is not to be trusted: HTML stays text, pictures are named and never fetched, a link is told of (`link_clicked`)
and never opened.  Qt's own reader (CommonMark with GitHub's tables and strikes) parses each block in a scratch document; the blocks
are then copied with formats of this program.  While text arrives only the part behind the last finished block is made anew, so the
cost of a token does not grow with the length of the reply.
"""

from __future__ import annotations

import re
from math import ceil

from PySide6.QtCore import QSizeF, Qt, QUrl, Signal, Slot
from PySide6.QtGui import (
    QFont,
    QTextBlock,
    QTextBlockFormat,
    QTextCharFormat,
    QTextCursor,
    QTextDocument,
    QTextFormat,
    QTextList,
    QTextListFormat,
    QTextOption,
    QTextTable,
    QTextTableFormat,
)
from PySide6.QtWidgets import QFrame, QSizePolicy, QTextBrowser, QWidget

from app import theme

FEATURES = QTextDocument.MarkdownFeature.MarkdownDialectGitHub | QTextDocument.MarkdownFeature.MarkdownNoHTML
LINE_HEIGHT, PARAGRAPH_GAP, ITEM_GAP, CODE_MARGIN, QUOTE_MARGIN = 135, 8, 3, 8, 16
HEADINGS = {1: 18, 2: 16}
_FENCE = re.compile(r" {0,3}(```+|~~~+)")
_ITEM = re.compile(r" {0,3}([-*+]|\d{1,9}[.)])(\s|$)")
_MAYBE_ITEM = re.compile(r" {0,3}([-*+]|\d{1,9}[.)]?)?$")
_KIND = QTextFormat.Property


def finished(source: str) -> int:
    """How many characters of Markdown cannot change any more, whatever is appended: the end of the last finished block."""
    done = start = at = 0
    fence, blank = "", False
    for line in source.splitlines(keepends=True):
        mark = _FENCE.match(line)
        if fence:
            if mark and mark.group(1).startswith(fence) and not line.strip(" `~\n"):
                fence, blank = "", True
        elif line.strip():
            begins = blank and at > start and not _continues(source[start:at], line)
            if begins:
                done = start = at
            fence, blank = (mark.group(1) if mark else ""), False
        else:
            blank = True
        at += len(line)
    return done


def _continues(block: str, line: str) -> bool:
    """Whether a line after a blank one still belongs to the block before it, or may yet turn out to."""
    if not _ITEM.match(block):
        return False
    return line.startswith((" ", "\t")) or bool(_ITEM.match(line) or _MAYBE_ITEM.match(line.rstrip("\n")))


class MarkdownWriter:
    """Fills a document block by block."""

    def __init__(self, document: QTextDocument) -> None:
        self._document = document
        self._scratch = QTextDocument()
        self._done = ""
        self._kept, self._last, self._empty_line = 0, QTextBlockFormat(), True

    def clear(self) -> None:
        """Forget everything."""
        self._document.clear()
        self._done, self._kept, self._last, self._empty_line = "", 0, QTextBlockFormat(), True

    def write(self, source: str) -> None:
        """Show `source`; what is already there of its finished blocks stays as it is."""
        if not source.startswith(self._done):
            self.clear()
        at = self._cursor()
        at.beginEditBlock()
        at.setPosition(self._kept)
        at.movePosition(QTextCursor.MoveOperation.End, QTextCursor.MoveMode.KeepAnchor)
        at.removeSelectedText()
        at.setBlockFormat(self._last)  # an empty block takes over the format of what is removed behind it
        rest = source[len(self._done) :]
        stable = finished(rest)
        if stable:
            self._empty_line = self._append(at, rest[:stable], self._empty_line)
            self._done += rest[:stable]
            self._kept, self._last = at.position(), at.blockFormat()
        self._append(at, rest[stable:], self._empty_line)
        at.endEditBlock()

    def _cursor(self) -> QTextCursor:
        cursor = QTextCursor(self._document)
        cursor.movePosition(QTextCursor.MoveOperation.End)
        return cursor

    def _append(self, at: QTextCursor, source: str, empty_line: bool) -> bool:
        """Add blocks; `empty_line`: the cursor is in one that a document begins with, or that Qt keeps behind a table."""
        if not source.strip():
            return empty_line
        self._scratch.setMarkdown(source, FEATURES)
        lists: dict[int, QTextList] = {}
        block, skip_to = self._scratch.begin(), -1
        while block.isValid():
            table = QTextCursor(block).currentTable()
            if table is not None and block.position() > skip_to:
                _copy_table(at, table)
                skip_to, empty_line = table.lastPosition(), True
            elif table is None and (block.text() or _is_ruler(block) or _is_code(block) or block.textList()):
                _begin_block(at, block, lists, empty_line)
                _copy_words(at, block)
                empty_line = False
            block = block.next()
        return empty_line


def _is_code(block: QTextBlock) -> bool:
    return block.blockFormat().hasProperty(_KIND.BlockCodeFence) or block.blockFormat().hasProperty(_KIND.BlockCodeLanguage)


def _is_ruler(block: QTextBlock) -> bool:
    return block.blockFormat().hasProperty(_KIND.BlockTrailingHorizontalRulerWidth)


def _begin_block(at: QTextCursor, block: QTextBlock, lists: dict[int, QTextList], empty_line: bool) -> None:
    form = _block_format(block)
    if empty_line:
        at.setBlockFormat(form)
    else:
        at.insertBlock(form, QTextCharFormat())
    old = block.textList()
    if old is not None:
        if old.objectIndex() in lists:
            lists[old.objectIndex()].add(at.block())
        else:
            lists[old.objectIndex()] = at.createList(QTextListFormat(old.format()))


def _block_format(block: QTextBlock) -> QTextBlockFormat:
    form = QTextBlockFormat(block.blockFormat())
    form.setObjectIndex(-1)  # the number of a list of the scratch document, which would name another one here
    line_height = 100 if _is_code(block) else LINE_HEIGHT
    form.setLineHeight(line_height, QTextBlockFormat.LineHeightTypes.ProportionalHeight.value)
    form.setTopMargin(0)
    form.setBottomMargin(ITEM_GAP if block.textList() else PARAGRAPH_GAP)
    if _is_code(block):
        form.setBackground(theme.colour("raised"))
        form.setLeftMargin(CODE_MARGIN)
        form.setRightMargin(CODE_MARGIN)
        form.setBottomMargin(0 if _is_code(block.next()) else PARAGRAPH_GAP)
        form.setNonBreakableLines(False)
    elif form.hasProperty(_KIND.BlockQuoteLevel):
        form.setLeftMargin(QUOTE_MARGIN * form.intProperty(_KIND.BlockQuoteLevel))
        form.setRightMargin(0)
    elif form.headingLevel():
        form.setTopMargin(PARAGRAPH_GAP if block.position() else 0)
    return form


def _copy_words(at: QTextCursor, block: QTextBlock) -> None:
    for place in block:
        piece = place.fragment()
        look = piece.charFormat()
        if look.isImageFormat():
            alternative = look.stringProperty(_KIND.ImageAltText) or look.toImageFormat().name() or "no name"
            at.insertText(f"[picture: {alternative}]", _colour(_char_format(block, look), "muted"))
        else:
            at.insertText(piece.text(), _char_format(block, look))


def _char_format(block: QTextBlock, look: QTextCharFormat) -> QTextCharFormat:
    code, level = _is_code(block) or look.fontFixedPitch(), block.blockFormat().headingLevel()
    bold = bool(level) or look.fontWeight() > QFont.Weight.Medium.value
    made = QTextCharFormat()
    made.setFont(theme.font(theme.SMALL if code else HEADINGS.get(level, theme.BODY), mono=code, bold=bold))
    made.setFontItalic(look.fontItalic())
    made.setFontStrikeOut(look.fontStrikeOut())
    if look.isAnchor():
        made.setAnchor(True)
        made.setAnchorHref(look.anchorHref())
        made.setToolTip(look.anchorHref())
        made.setFontUnderline(True)
        return _colour(made, "accent")
    if look.fontFixedPitch() and not _is_code(block):
        made.setBackground(theme.colour("raised"))
    return _colour(made, "muted") if block.blockFormat().hasProperty(_KIND.BlockQuoteLevel) else made


def _colour(look: QTextCharFormat, role: str) -> QTextCharFormat:
    look.setForeground(theme.colour(role))
    return look


def _copy_table(at: QTextCursor, table: QTextTable) -> None:
    form = QTextTableFormat()
    form.setCellPadding(4)
    form.setCellSpacing(0)
    form.setBorder(1)
    form.setBorderCollapse(True)
    form.setBorderBrush(theme.colour("line"))
    form.setBottomMargin(PARAGRAPH_GAP)
    made = at.insertTable(table.rows(), table.columns(), form)
    for row in range(table.rows()):
        for column in range(table.columns()):
            _copy_words(made.cellAt(row, column).firstCursorPosition(), table.cellAt(row, column).firstCursorPosition().block())
    at.movePosition(QTextCursor.MoveOperation.End)


class _TextOnly(QTextDocument):
    """A document that never reads a picture or a style sheet from anywhere."""

    def loadResource(self, _kind: int, _name: QUrl) -> object:
        return None


class MarkdownText(QTextBrowser):
    """A text as tall as its words, to read, select and copy."""

    link_clicked = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        document = _TextOnly(self)
        self.setDocument(document)
        document.setUndoRedoEnabled(False)
        document.setDocumentMargin(0)
        self._writer = MarkdownWriter(document)
        self._source, self._plain = "", False
        self.setOpenLinks(False)
        self.setAcceptDrops(False)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.viewport().setAutoFillBackground(False)
        self.setStyleSheet("background: transparent; border: 0; padding: 0;")
        self.setWordWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        for policy in (self.setHorizontalScrollBarPolicy, self.setVerticalScrollBarPolicy):
            policy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        document.documentLayout().documentSizeChanged.connect(self._on_size)
        self.anchorClicked.connect(self._on_anchor)
        theme.notifier().changed.connect(self._restyle)
        self._restyle()

    def loadResource(self, _kind: int, _name: QUrl) -> object:
        """Nothing is ever fetched."""
        return None

    def text(self) -> str:
        """The text as it was given."""
        return self._source

    def set_markdown(self, source: str) -> None:
        """Show Markdown; if it begins with what is shown already, only its end is made anew."""
        if source != self._source or self._plain:
            if self._plain:
                self._writer.clear()
            self._source, self._plain = source, False
            self._writer.write(source)

    def set_plain(self, text: str) -> None:
        """Show text as it is."""
        if text != self._source or not self._plain:
            self._source, self._plain = text, True
            self._writer.clear()
            self.setPlainText(text)

    @Slot()
    def _restyle(self) -> None:
        self.setFont(theme.font())
        source, self._source = self._source, ""
        self._writer.clear()
        if source:
            (self.set_plain if self._plain else self.set_markdown)(source)

    @Slot(QSizeF)
    def _on_size(self, size: QSizeF) -> None:
        height = max(ceil(size.height()), self.fontMetrics().lineSpacing())
        if height != self.height():
            self.setFixedHeight(height)

    @Slot(QUrl)
    def _on_anchor(self, url: QUrl) -> None:
        self.link_clicked.emit(url.toString())

    def wheelEvent(self, event) -> None:
        event.ignore()  # the conversation scrolls, not one message of it
