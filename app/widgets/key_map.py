"""The keys of one editor, in one table: what a key does, whether it is ours, and the list a help page prints.

They are handled as key presses of the widget that has the focus, not as window shortcuts: so letters are dead while
a text field is being typed in, and two editors side by side do not fight over Ctrl+Z. Where the window has a
shortcut on the same key (Space, the arrows), `claim` answers Qt's question first.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent, QKeySequence

_BY_TEXT = frozenset("[]")  # on many keyboards these need AltGr: go by what is typed


Action = Callable[[], None]
When = Callable[[], bool]


def _always() -> bool:
    return True


class KeyMap:
    """Maps key presses to actions."""

    def __init__(self) -> None:
        self._actions: dict[int | str, list[tuple[When, Action]]] = {}
        self._listed: list[tuple[str, str]] = []

    def bind(self, keys: str, what: str, action: Action, when: When = _always) -> None:
        """Let each of `keys` ("Ctrl+Z", or several with spaces between) do `action` while `when()` holds.

        `what` is for the list. A key bound twice does the first action whose time it is.
        """
        for key in keys.split():
            combined = key if key in _BY_TEXT else QKeySequence(key)[0].toCombined()
            self._actions.setdefault(combined, []).append((when, action))
        self._listed.append((", ".join(keys.split()), what))

    def listed(self) -> list[tuple[str, str]]:
        """(keys, what they do), in the order they were bound."""
        return list(self._listed)

    def find(self, event: QKeyEvent) -> Action | None:
        """The action of a key press, if any."""
        plain = event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier
        bound = self._actions.get(event.text()) or self._actions.get(event.key() | plain.value, [])
        return next((action for when, action in bound if when()), None)

    def press(self, event: QKeyEvent) -> bool:
        """Do what the key stands for; False when it is not ours."""
        action = self.find(event)
        if action is not None:
            action()
        return action is not None

    def claim(self, event: QEvent) -> bool:
        """Accept a `ShortcutOverride` for one of our keys, so that no shortcut of the window takes it away."""
        if event.type() != QEvent.Type.ShortcutOverride or self.find(event) is None:
            return False
        event.accept()
        return True
