"""A text as it was routed so far: the passes that were told, token by token, and what they add up to. No Qt in here."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from app.protocol.routing import RoutedModel, RoutedPass, RoutingSummary
from app.widgets.routed_text import RoutedToken


@dataclass
class Reading:
    """Grows while a run tells; `position` is the token looked at, from 1; 0: none."""

    looked: RoutedModel
    passes: list[RoutedPass] = field(default_factory=list)
    summary: RoutingSummary | None = None
    position: int = 0
    facts: dict = field(default_factory=dict)
    _owners: list[tuple[int, int]] = field(default_factory=list)  # per token: its pass, and its place in it

    def add(self, told: RoutedPass) -> list[RoutedToken]:
        """Take in a pass; returns its tokens as the text shows them."""
        self._owners += [(len(self.passes), t) for t in range(len(told.tokens.ids))]
        self.passes.append(told)
        return [
            RoutedToken(
                shown(told.tokens.texts[t]), told.experts[:, t], told.weights[:, t], told.flips[:, t], told.dropped[:, t],
                told.phase == "generation",
            )
            for t in range(len(told.tokens.ids))
        ]  # fmt: skip

    def __len__(self) -> int:
        return len(self._owners)

    def at(self, token: int) -> tuple[RoutedPass, int]:
        """The pass of a token, and its place in it."""
        number, place = self._owners[token]
        return self.passes[number], place

    def text_of(self, token: int) -> str:
        """A token as it is shown."""
        told, t = self.at(token)
        return shown(told.tokens.texts[t])

    def texts(self) -> list[str]:
        """All tokens as they are shown."""
        return [shown(text) for told in self.passes for text in told.tokens.texts]

    def column(self, name: str) -> np.ndarray:
        """A field of all passes, tokens along axis 1."""
        return np.concatenate([getattr(told, name) for told in self.passes], axis=1)

    @property
    def prompt_tokens(self) -> int:
        """Tokens that were given."""
        return sum(len(told.tokens.ids) for told in self.passes if told.phase == "prompt")


def shown(text: str) -> str:
    """A token with its blanks and line breaks visible."""
    return text.replace("\n", "↵").replace("\t", "⇥").replace(" ", "·") or "∅"
