"""Counters of rounds, by the definitions in `app/protocol/chat.py`: for a reply that was stopped, or that two runs wrote.

While a run goes on it tells its counters itself, but only every now and then; what it told last may be older than the last round. When
another drafter takes over in the middle of a reply, counts and times of both parts add up, and the rates are made from them anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from app.protocol.chat import ChatRound
from app.widgets.token_layout import is_chain

ADDED = (
    "rounds", "new_tokens", "num_spec_steps", "num_draft_tokens", "num_accepted_draft_tokens", "num_tested_draft_tokens", "draft_n",
    "draft_n_accepted", "draft_s", "verify_s", "other_s",
)  # fmt: skip
RATE, TESTED = "draft_acceptance_rate", "tested_acceptance_rate"


def counted(rounds: Sequence[ChatRound], prefill_s: float = 0.0) -> dict[str, Any]:
    """The counters of rounds."""
    steps = [round_ for round_ in rounds if round_.drafted]
    kept = [sum(draft.fate == "accepted" for draft in round_.drafted) for round_ in steps]
    tested = sum(draft.fate != "untested" for round_ in steps for draft in round_.drafted)
    drafted, longest = sum(len(round_.drafted) for round_ in steps), max(kept, default=0)
    made = {
        "rounds": len(rounds), "new_tokens": sum(len(round_.tokens) for round_ in rounds), "num_spec_steps": len(steps),
        "num_draft_tokens": drafted, "num_accepted_draft_tokens": sum(kept), "num_tested_draft_tokens": tested,
        "draft_n": drafted, "draft_n_accepted": sum(kept), "acceptance_histogram": [kept.count(n) for n in range(longest + 1)],
        "prefill_s": prefill_s, "trees": any(not is_chain(round_.drafted) for round_ in steps),
    }  # fmt: skip
    made |= {f"{part}_s": sum(getattr(round_, f"{part}_s") for round_ in rounds) for part in ("draft", "verify", "other")}
    return made | _rates(made)


def together(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """The counters of both parts."""
    if not first or not second:
        return dict(first or second)
    made: dict[str, Any] = {name: first.get(name, 0) + second.get(name, 0) for name in ADDED}
    pairs = zip_longest(first["acceptance_histogram"], second["acceptance_histogram"], fillvalue=0)
    made |= {
        "prefill_s": first.get("prefill_s", 0.0), "acceptance_histogram": [a + b for a, b in pairs],
        "trees": any(part.get("num_draft_tokens") and part.get(RATE) is None for part in (first, second)),
    }  # fmt: skip
    return made | _rates(made)


def _rates(made: dict[str, Any]) -> dict[str, Any]:
    steps, kept, histogram = made["num_spec_steps"], made["num_accepted_draft_tokens"], made["acceptance_histogram"]
    by_position = [sum(histogram[place + 1 :]) / steps for place in range(len(histogram) - 1)] if steps else []
    seconds = made["draft_s"] + made["verify_s"] + made["other_s"]
    return {
        "acceptance_by_position": by_position,
        RATE: kept / made["num_draft_tokens"] if made["num_draft_tokens"] and not made["trees"] else None,
        TESTED: kept / made["num_tested_draft_tokens"] if made["num_tested_draft_tokens"] and not made["trees"] else None,
        "mean_acceptance_length": 1 + sum(by_position),
        "tokens_per_round": made["new_tokens"] / made["rounds"] if made["rounds"] else 0.0,
        "tokens_per_s": made["new_tokens"] / seconds if seconds else 0.0,
    }
