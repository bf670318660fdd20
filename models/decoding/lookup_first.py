"""Two drafters for one text: copied where the text repeats itself, guessed by another drafter where it does not.

Prompt lookup costs nothing and is nearly always right behind a long match; a trained drafter knows something everywhere. A match of at
least `sure` tokens is copied; else the other one proposes; if it has nothing, a shorter match will do. Every record names the one that
proposed. Read next: `models/decoding/ngram_memory.py`, `models/decoding/eagle.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from models.decoding.drafting import Context, Draft, Drafter
from models.decoding.prompt_lookup import PromptLookup


class LookupFirst:
    """Prompt lookup where the match is long, else `other`."""

    def __init__(self, other: Drafter, sure: int = 3, longest: int = 4) -> None:
        self.lookup, self.other, self.sure = PromptLookup(longest), other, sure
        self.name = other.name
        if (rule := getattr(other, "typical", None)) is not None:
            self.typical = rule

    def observe(self, start: int, ids: Sequence[int], hidden: Tensor) -> None:
        self.other.observe(start, ids, hidden)

    def propose(self, context: Context) -> Draft:
        found = self.lookup.find(context.ids)
        if found is None or found[1] < self.sure:
            self.name = self.other.name
            draft = self.other.propose(context)
            if draft.tokens or found is None:
                return draft
        self.name = self.lookup.name
        return self.lookup.copy(context, *found)
