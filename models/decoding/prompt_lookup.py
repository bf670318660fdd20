"""Prompt lookup: what followed the last tokens when they stood in the text before, proposed again (n-gram drafting, no network).

Known from github.com/apoorvumang/prompt-lookup-decoding (2023) and "LLMA" (arXiv 2304.04487). The longest n-gram at the end of the text
that occurred before is looked up, its latest occurrence counts, and copying may run on into the copied tokens themselves, so a loop
is followed round and round. The longer the match, the surer: with every copied token the match is one longer.
Read next: `models/decoding/draft_model.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from models.decoding.drafting import Context, Draft

BELIEF = (0.15, 0.4, 0.6, 0.7, 0.8, 0.9)
"""How often a token copied behind a match of 1, 2, … tokens is right: what 20 chats of SmolLM2 gave, smoothed. A first guess only."""


class PromptLookup:
    """Copies from the text itself."""

    name = "lookup"

    def __init__(self, longest: int = 4, shortest: int = 1) -> None:
        if not 1 <= shortest <= longest:
            raise ValueError(f"n-grams of {shortest} to {longest} tokens cannot be looked up")
        self.sizes = range(longest, shortest - 1, -1)
        self._after: dict[tuple[int, ...], int] = {}  # n-gram -> the place behind its latest occurrence
        self._indexed = 0

    def observe(self, start: int, ids: Sequence[int], hidden: Tensor) -> None:
        pass

    def propose(self, context: Context) -> Draft:
        found = self.find(context.ids)
        return Draft() if found is None else self.copy(context, *found)

    def find(self, ids: list[int]) -> tuple[int, int] | None:
        """Where the longest match of the text's end goes on, and how long it is."""
        self._index(ids)
        for size in self.sizes:
            if len(ids) > size and (place := self._after.get(tuple(ids[-size:]))) is not None:
                return place, size
        return None

    def copy(self, context: Context, place: int, match: int) -> Draft:
        """The tokens from `place` on, behind a match of `match` tokens, as many as the budget wants."""
        tokens, beliefs, reach = [], [], 1.0
        while len(tokens) < context.budget.depth:
            belief = BELIEF[min(match + len(tokens), len(BELIEF)) - 1]
            reach *= context.budget.trust(belief)
            if not context.budget.wants(len(tokens) + 1, reach):
                break
            source = place + len(tokens)
            tokens.append(context.ids[source] if source < len(context.ids) else tokens[source - len(context.ids)])
            beliefs.append(belief)
        return Draft(tokens=tuple(tokens), parents=tuple(range(-1, len(tokens) - 1)), beliefs=tuple(beliefs), computed=len(tokens))

    def _index(self, ids: list[int]) -> None:
        """Note the n-grams that end before the last token: those at the very end have nothing behind them yet."""
        for end in range(self._indexed + 1, len(ids)):
            for size in self.sizes:
                if size <= end:
                    self._after[tuple(ids[end - size : end])] = end
        self._indexed = max(self._indexed, len(ids) - 1)
