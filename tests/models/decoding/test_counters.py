"""The identities that the counters must satisfy, and the figures that vLLM and llama.cpp print for the same counts."""

from __future__ import annotations

import pytest

from models.decoding.counters import Counters
from models.steps import Committed, Drafted, Round


def a_round(proposed: int, accepted: int, *, cut: bool = False, parents: list[int] | None = None) -> Round:
    """A round that kept `accepted` of a chain; `cut`: the text ended with the last of them."""
    parents = list(range(-1, proposed - 1)) if parents is None else parents
    fates = ["accepted"] * accepted + ["rejected"] * (not cut and accepted < proposed)
    fates += ["untested"] * (proposed - len(fates))
    nodes = tuple(
        Drafted(token=1, q=1.0, p=None if fate == "untested" else 1.0, u=None, fate=fate, parent=parent, depth=place + 1)
        for place, (fate, parent) in enumerate(zip(fates, parents))
    )
    kinds = ["accepted"] * accepted + [] if cut else ["accepted"] * accepted + ["corrected" if accepted < proposed else "bonus"]
    tokens = tuple(Committed(token=1, kind=kind, p=1.0, p_raw=1.0, q=None, u=None, top=(), entropy=0.0) for kind in kinds)
    return Round(
        index=0, drafter="x", draft_length=proposed, position=0, drafted=nodes, committed=tokens,
        draft_s=0.25, verify_s=0.5, other_s=0.25, lossless=True,
    )  # fmt: skip


def counted(*rounds: Round) -> Counters:
    counters = Counters()
    for done in rounds:
        counters.add(done)
    return counters


def test_vllms_sample() -> None:
    """43 steps of 3, 10 of 129 accepted: 1.2326 and 0.0775, histogram [39, 1, 0, 3]."""
    counters = counted(*[a_round(3, 0)] * 39, a_round(3, 1), *[a_round(3, 3)] * 3)
    told = counters.as_dict()
    assert (told["num_spec_steps"], told["num_draft_tokens"], told["num_accepted_draft_tokens"]) == (43, 129, 10)
    assert told["acceptance_histogram"] == [39, 1, 0, 3]
    assert told["mean_acceptance_length"] == pytest.approx(1.2326, abs=5e-5)
    assert told["draft_acceptance_rate"] == pytest.approx(0.0775, abs=5e-5)
    assert (told["draft_n"], told["draft_n_accepted"]) == (129, 10)
    assert told["num_tested_draft_tokens"] == 39 + 2 + 9 and told["tested_acceptance_rate"] == pytest.approx(10 / 50)


def test_llama_cpps_sample() -> None:
    """87 steps of 3, 167 accepted, shares 0.805, 0.632, 0.483: 1 + their sum = 1 + 167 / 87 = 2.92."""
    counters = counted(*[a_round(3, 0)] * 17, *[a_round(3, 1)] * 15, *[a_round(3, 2)] * 13, *[a_round(3, 3)] * 42)
    assert counters.num_accepted_draft_tokens == 167
    assert [round(rate, 3) for rate in counters.acceptance_by_position] == [0.805, 0.632, 0.483]
    assert counters.mean_acceptance_length == pytest.approx(1 + sum(counters.acceptance_by_position)) == pytest.approx(2.92, abs=0.005)
    assert counters.acceptance_given_tested == pytest.approx([70 / 87, 55 / 70, 42 / 55])


def test_drafts_of_all_lengths_keep_the_identity() -> None:
    rounds = [a_round(n, k) for n in range(5) for k in range(n + 1)]
    counters = counted(*rounds)
    assert counters.mean_acceptance_length == pytest.approx(1 + sum(counters.acceptance_by_position))
    assert sum(counters.acceptance_histogram) == counters.num_spec_steps == len(rounds) - 1
    assert sum(n * steps for n, steps in enumerate(counters.acceptance_histogram)) == counters.num_accepted_draft_tokens
    assert counters.new_tokens == counters.num_accepted_draft_tokens + counters.rounds


def test_a_cut_round_counts_what_became_text() -> None:
    counters = counted(a_round(4, 2, cut=True))
    assert counters.new_tokens == counters.num_accepted_draft_tokens == 2
    assert counters.acceptance_histogram == [0, 0, 1, 0, 0]
    assert counters.acceptance_given_tested == [1.0, 1.0, None, None] and counters.tested_acceptance_rate == 1.0


def test_plain_decoding_has_length_one() -> None:
    counters = counted(*[a_round(0, 0)] * 5)
    assert counters.mean_acceptance_length == counters.tokens_per_round == 1.0
    assert counters.draft_acceptance_rate is None and counters.acceptance_histogram == [] and counters.acceptance_by_position == []
    assert counters.tokens_per_s == pytest.approx(1.0)
    assert Counters().as_dict()["tokens_per_s"] == 0.0


def test_no_rate_is_told_of_trees() -> None:
    counters = counted(a_round(3, 1, parents=[-1, 0, 0]))
    assert counters.draft_acceptance_rate is None and counters.tested_acceptance_rate is None
    assert counters.mean_acceptance_length == 2.0
