"""One message of a conversation: who says it, its text, its tokens on demand, a quiet line of figures, and what can be done with it."""

from __future__ import annotations

from typing import NamedTuple

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton, QToolButton, QVBoxLayout, QWidget

from app import theme
from app.protocol.chat import ChatRound, ForcedToken
from app.widgets.elided_label import WORDS, ElidedLabel
from app.widgets.fate_marks import FateLegend
from app.widgets.footer_line import FooterLine
from app.widgets.icons import icon
from app.widgets.markdown_text import MarkdownText
from app.widgets.prompt_edit import PromptEdit
from app.widgets.steady_label import SteadyLabel
from app.widgets.token_text import TokenText

ACTIONS = {
    "tokens": ("tokens", "Show the tokens, coloured by what became of their drafts"),
    "attention": ("eye", "Look at the attention of this reply: opens its tokens in the panel Attention"),
    "copy": ("copy", "Copy this message"),
    "edit": ("pen", "Edit and send again: the old branch stays"),
    "renew": ("refresh", "Answer again: the old answer stays as a branch (Ctrl+R)"),
}
LONG = 6000  # characters of a person's message that are shown before it is folded
EDIT_LINES = 4


class CardLook(NamedTuple):
    """What a card shows besides its text."""

    role: str
    title: str
    note: str = ""
    branch: int = 1
    branches: int = 1
    footer: str = ""
    footer_tip: str = ""
    editable: bool = False
    renewable: bool = False
    tokens: bool = False
    """Whether there are tokens to look at."""
    warning: str = ""
    """What should be known about it, such as what was left out; in a line of its own."""


class MessageCard(QFrame):
    """Asks for everything by signals; knows its message by `key`."""

    copied = Signal(int)
    edited = Signal(int, str)
    renewed = Signal(int)
    switched = Signal(int, int)
    footer_clicked = Signal(int)
    tokens_toggled = Signal(int, bool)
    attention_wanted = Signal(int)
    token_selected = Signal(int, int)
    ghost_clicked = Signal(int, int, int)
    round_hovered = Signal(int, int)
    link_clicked = Signal(str)

    def __init__(self, key: int, look: CardLook, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.key = key
        self.look = look
        self._whole = ""
        self.body = MarkdownText()
        self.tokens: TokenText | None = None
        self._token_box: QWidget | None = None
        self._editor: PromptEdit | None = None
        self._unfold: QPushButton | None = None
        self._warning: SteadyLabel | None = None
        self._edit_box: QWidget | None = None
        self.setProperty("role", "raised" if look.role == "user" else "plain")
        self._column = QVBoxLayout(self)
        margin = 12 if look.role == "user" else 0
        self._column.setContentsMargins(margin, 8 if margin else 4, margin, 4)
        self._column.setSpacing(4)
        self._head()
        self._column.addWidget(self.body)
        self._foot()
        self.body.link_clicked.connect(self.link_clicked)
        self.set_look(look)

    # building ------------------------------------------------------------------------------------------------------

    def _head(self) -> None:
        row = QHBoxLayout()
        row.setSpacing(4)
        self._title, self._note = ElidedLabel(bold=True, width=WORDS), ElidedLabel("muted", theme.SMALL)
        row.addWidget(self._title)
        row.addWidget(self._note, 1)
        self._head_row = row
        self._back = self._forth = self._place = None
        self._buttons: dict[str, QToolButton] = {}
        wanted = ("copy", "edit") if self.look.role == "user" else ("tokens", "attention", "copy", "renew")
        for name in wanted:
            picture, tip = ACTIONS[name]
            self._buttons[name] = self._button(picture, tip, getattr(self, f"_on_{name}"))
            row.addWidget(self._buttons[name])
        self._column.addLayout(row)

    def _switcher(self) -> None:
        """The place among several branches; most messages have none."""
        self._back = self._button("previous", "The branch before (of several at this place)", self._on_back)
        self._forth = self._button("next", "The next branch", self._on_forth)
        self._place = SteadyLabel("small")
        for place, widget in enumerate((self._back, self._place, self._forth), start=2):
            self._head_row.insertWidget(place, widget)

    def _foot(self) -> None:
        self._footer = FooterLine()
        self._footer.clicked.connect(self._on_footer)
        self._column.addWidget(self._footer)

    def _button(self, picture: str, tip: str, slot) -> QToolButton:
        button = QToolButton(toolTip=tip, accessibleName=tip.split(":")[0].split(" (")[0], autoRaise=True)
        button.setIcon(icon(picture, "muted"))
        button.setCheckable(picture == "tokens")
        button.clicked.connect(slot)
        return button

    # content -------------------------------------------------------------------------------------------------------

    def set_look(self, look: CardLook) -> None:
        """Show who speaks, the branch, the figures, and what can be done."""
        self.look = look
        self._title.setText(look.title)
        self._note.setText(look.note)
        self._show_warning(look.warning)
        if look.branches > 1:
            if self._place is None:
                self._switcher()
            self._place.setText(f"{look.branch}/{look.branches}")
            self._back.setEnabled(look.branch > 1)
            self._forth.setEnabled(look.branch < look.branches)
        self._footer.set_line(look.footer)
        self._footer.setToolTip(look.footer_tip)
        self._footer.setEnabled(bool(look.footer))
        self._footer.setVisible(look.role == "assistant")
        for name, able in (("edit", look.editable), ("renew", look.renewable), ("tokens", look.tokens), ("attention", look.tokens)):
            if name in self._buttons:
                self._buttons[name].setEnabled(able)
        self.setAccessibleName(f"{look.title}: {look.footer}" if look.footer else look.title)

    def _show_warning(self, words: str) -> None:
        if words and self._warning is None:
            self._warning = SteadyLabel("small", wrap=True)
            self._column.insertWidget(self._column.indexOf(self.body), self._warning)
        if self._warning is not None:
            self._warning.setText(words)
            self._warning.setVisible(bool(words))

    def set_text(self, text: str) -> None:
        """Show the message; an answer as Markdown, a person's words as they are."""
        self._whole = text
        if self.look.role == "assistant":
            self.body.set_markdown(text)
            return
        folded = len(text) > LONG
        if folded:
            self._build_unfold()
        self.body.set_plain(text[:LONG] + " …" if folded else text)

    def text(self) -> str:
        """The whole message."""
        return self._whole

    def _build_unfold(self) -> None:
        if self._unfold is None:
            self._unfold = QPushButton(f"Show all {len(self._whole):,} characters")
            self._unfold.setProperty("role", "flat")
            self._unfold.clicked.connect(self._on_unfold)
            self._column.insertWidget(self._column.indexOf(self.body) + 1, self._unfold, 0, Qt.AlignmentFlag.AlignLeft)

    # tokens --------------------------------------------------------------------------------------------------------

    def show_tokens(self, shown: bool) -> None:
        """Open or close the token view; tells nobody."""
        if shown and self._token_box is None:
            self._build_tokens()
        self._buttons["tokens"].setChecked(shown)
        self._fit_token_box()

    @property
    def tokens_shown(self) -> bool:
        """Whether the token view is open."""
        return "tokens" in self._buttons and self._buttons["tokens"].isChecked()

    def set_rounds(self, rounds: list[ChatRound], beginning: tuple[ForcedToken, ...] = ()) -> None:
        """Hand the token view its rounds, if it is open."""
        if self.tokens is not None and self.tokens_shown:
            self.tokens.set_rounds(rounds, beginning)
            self._fit_token_box()

    def _fit_token_box(self) -> None:
        """An empty box tells nothing: it waits for the first token."""
        wanted = self.tokens_shown and self.tokens is not None and not self.tokens.empty
        if self._token_box is not None and wanted == self._token_box.isHidden():
            self._token_box.setVisible(wanted)

    def _build_tokens(self) -> None:
        self.tokens, self._token_box = TokenText(), QFrame()
        self._token_box.setProperty("role", "surface")
        self._token_box.hide()
        column = QVBoxLayout(self._token_box)
        column.setContentsMargins(8, 8, 8, 4)
        column.setSpacing(6)
        column.addWidget(FateLegend())
        column.addWidget(self.tokens)
        self._column.insertWidget(self._column.count() - 1, self._token_box)
        self.tokens.selected.connect(self._on_token)
        self.tokens.hovered.connect(self._on_hovered)
        self.tokens.ghost_clicked.connect(self._on_ghost)

    # editing -------------------------------------------------------------------------------------------------------

    def begin_edit(self) -> None:
        """Put the message into an editor."""
        if self._edit_box is None:
            self._build_editor()
        self._editor.set_text(self._whole)
        self.body.hide()
        self._edit_box.show()
        self._editor.setFocus()

    @property
    def editing(self) -> bool:
        """Whether the message is being edited."""
        return self._edit_box is not None and not self._edit_box.isHidden()

    def end_edit(self) -> None:
        """Show the message again."""
        if self._edit_box is not None:
            self._edit_box.hide()
        self.body.show()

    def _build_editor(self) -> None:
        self._editor, self._edit_box = PromptEdit("Your message", lines=EDIT_LINES), QWidget()
        self._editor.setAccessibleName("Edit the message")
        column, row = QVBoxLayout(self._edit_box), QHBoxLayout()
        column.setContentsMargins(0, 0, 0, 0)
        send, cancel = QPushButton("Send", toolTip="Send the changed message (Ctrl+Enter)"), QPushButton("Cancel")
        send.setProperty("role", "primary")
        send.clicked.connect(self._on_send)
        cancel.clicked.connect(self.end_edit)
        self._editor.submitted.connect(self._on_send)
        row.addStretch(1)
        row.addWidget(cancel)
        row.addWidget(send)
        column.addWidget(self._editor)
        column.addLayout(row)
        self._column.insertWidget(self._column.indexOf(self.body) + 1, self._edit_box)

    @Slot()
    def _on_send(self) -> None:
        text = self._editor.text()
        self.end_edit()
        self.edited.emit(self.key, text)

    def keyPressEvent(self, event) -> None:
        if event.key() == Qt.Key.Key_Escape and self.editing:
            self.end_edit()
        else:
            super().keyPressEvent(event)

    # what is asked -------------------------------------------------------------------------------------------------

    @Slot()
    def _on_unfold(self) -> None:
        self._unfold.hide()
        self.body.set_plain(self._whole)

    @Slot()
    def _on_copy(self) -> None:
        self.copied.emit(self.key)

    @Slot()
    def _on_edit(self) -> None:
        self.begin_edit()

    @Slot()
    def _on_attention(self) -> None:
        self.attention_wanted.emit(self.key)

    @Slot()
    def _on_renew(self) -> None:
        self.renewed.emit(self.key)

    @Slot()
    def _on_back(self) -> None:
        self.switched.emit(self.key, -1)

    @Slot()
    def _on_forth(self) -> None:
        self.switched.emit(self.key, 1)

    @Slot()
    def _on_footer(self) -> None:
        self.footer_clicked.emit(self.key)

    @Slot()
    def _on_tokens(self) -> None:
        self.show_tokens(self.tokens_shown)
        self.tokens_toggled.emit(self.key, self.tokens_shown)

    @Slot(int)
    def _on_token(self, token: int) -> None:
        self.token_selected.emit(self.key, token)

    @Slot(int)
    def _on_hovered(self, round_: int) -> None:
        self.round_hovered.emit(self.key, round_)

    @Slot(int, int)
    def _on_ghost(self, round_: int, place: int) -> None:
        self.ghost_clicked.emit(self.key, round_, place)
