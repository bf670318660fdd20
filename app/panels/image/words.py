"""The words the model knows, on the window's side: for completion, and for naming the words it does not know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

_WORD = re.compile(r"\w+")
MOST_NAMED = 4


class Words:
    """Answers which words of a text are unknown; knows nothing, and so complains of nothing, until told."""

    def __init__(self) -> None:
        self.groups: dict[str, list[str]] = {}
        self._known: frozenset[str] = frozenset()

    def learn(self, groups: Mapping[str, Sequence[str]], known: Iterable[str]) -> None:
        """Take over the result of the job `Vocabulary`."""
        self.groups = {heading: list(phrases) for heading, phrases in groups.items()}
        self._known = frozenset(known)

    def unknown(self, text: str) -> list[str]:
        """Each unknown word once, in order."""
        if not self._known:
            return []
        return list(dict.fromkeys(word for word in _WORD.findall(text.lower()) if word not in self._known))


def unknown_note(words: Sequence[str]) -> str:
    """One quiet sentence about unknown words; "" if there are none."""
    if not words:
        return ""
    named = ", ".join(f"“{word}”" for word in words[:MOST_NAMED])
    more = f" and {len(words) - MOST_NAMED} more" if len(words) > MOST_NAMED else ""
    return f"The model does not know {named}{more}; Ctrl+Space lists its words."
