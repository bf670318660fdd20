"""What the rounds of a text add up to, under vLLM's names, with llama.cpp's `draft_n` and `draft_n_accepted` beside them.

A *speculative step* is a round that proposed something. Then `mean_acceptance_length` = 1 + accepted / steps = 1 + the sum of
`acceptance_by_position`, a position's share counting all steps. Only tokens that became text count as accepted: what lies behind a stop
token or the length limit does not. For trees accepted / proposed says nothing, since most nodes exclude each other: the rate is None.
Read next: `models/decoding/theory.py`.
"""

from __future__ import annotations

from models.steps import Round


class Counters:
    """Folds rounds, one after the other."""

    def __init__(self) -> None:
        self.rounds = self.new_tokens = 0
        self.num_spec_steps = self.num_draft_tokens = self.num_accepted_draft_tokens = self.num_tested_draft_tokens = 0
        self.draft_s = self.verify_s = self.other_s = 0.0
        self.trees = False
        self._lengths: list[int] = []  # accepted tokens of every speculative step
        self._reached: list[int] = []  # steps in which a token of depth i + 1 was tested
        self._longest = 0

    def add(self, done: Round) -> None:
        self.rounds += 1
        self.new_tokens += len(done.committed)
        self.draft_s += done.draft_s
        self.verify_s += done.verify_s
        self.other_s += done.other_s
        if not done.drafted:
            return
        self.num_spec_steps += 1
        self.num_draft_tokens += len(done.drafted)
        self.num_accepted_draft_tokens += done.accepted
        tested = [node for node in done.drafted if node.fate != "untested"]
        self.num_tested_draft_tokens += len(tested)
        self.trees |= any(node.parent != index - 1 for index, node in enumerate(done.drafted))
        self._longest = max(self._longest, done.draft_length)
        self._lengths.append(done.accepted)
        self._reached += [0] * (self._longest - len(self._reached))
        for depth in {node.depth for node in tested}:
            self._reached[depth - 1] += 1

    @property
    def acceptance_histogram(self) -> list[int]:
        """Entry n: steps that kept exactly n tokens; n up to the longest draft."""
        return [self._lengths.count(n) for n in range(self._longest + 1)] if self._lengths else []

    @property
    def acceptance_by_position(self) -> list[float]:
        """Entry i: share of steps that kept their token i + 1."""
        return [sum(length > i for length in self._lengths) / self.num_spec_steps for i in range(self._longest)]

    @property
    def acceptance_given_tested(self) -> list[float | None]:
        """Entry i: of the steps in which token i + 1 was tested, the share that kept it; None if it never was."""
        kept = [sum(length > i for length in self._lengths) for i in range(self._longest)]
        return [k / reached if reached else None for k, reached in zip(kept, self._reached, strict=True)]

    @property
    def mean_acceptance_length(self) -> float:
        """Tokens a speculative step makes, the target's own included; 1 without such steps."""
        return 1 + self.num_accepted_draft_tokens / self.num_spec_steps if self.num_spec_steps else 1.0

    @property
    def draft_acceptance_rate(self) -> float | None:
        """Accepted / proposed, as vLLM counts."""
        return None if self.trees or not self.num_draft_tokens else self.num_accepted_draft_tokens / self.num_draft_tokens

    @property
    def tested_acceptance_rate(self) -> float | None:
        """Accepted / (accepted + rejected): what lay behind a rejection is left out."""
        return None if self.trees or not self.num_tested_draft_tokens else self.num_accepted_draft_tokens / self.num_tested_draft_tokens

    @property
    def tokens_per_round(self) -> float:
        """New tokens / all rounds, plain ones too."""
        return self.new_tokens / self.rounds if self.rounds else 0.0

    @property
    def tokens_per_s(self) -> float:
        """New tokens / time of the rounds, without reading the prompt."""
        seconds = self.draft_s + self.verify_s + self.other_s
        return self.new_tokens / seconds if seconds > 0 else 0.0

    def as_dict(self) -> dict[str, object]:
        """All of it, under the names it is known by."""
        names = (
            "rounds", "new_tokens", "num_spec_steps", "num_draft_tokens", "num_accepted_draft_tokens", "num_tested_draft_tokens",
            "draft_acceptance_rate", "tested_acceptance_rate", "mean_acceptance_length", "acceptance_histogram", "acceptance_by_position",
            "acceptance_given_tested", "tokens_per_round", "tokens_per_s", "draft_s", "verify_s", "other_s",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names} | {
            "draft_n": self.num_draft_tokens, "draft_n_accepted": self.num_accepted_draft_tokens,
        }  # fmt: skip
