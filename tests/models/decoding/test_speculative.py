"""The theorem: whatever the drafter proposes, the text has the target's law. All seeds are fixed, so a test that passes always passes.

With p > .001 for each chi-square, one run in about a hundred seeds would fail by chance; the seeds here were not chosen.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from models.decoding.draft_length import Adaptive, Costs, FixedLength
from models.decoding.drafting import Context, Draft, chain
from models.decoding.generate import Generation
from models.decoding.ngram_memory import NgramDrafter, remember
from models.decoding.sampling import SamplingConfig, law, pick, uniform
from models.decoding.speculative import Typical, accept_chain, residual, verify_chosen, verify_typical
from tests.models.decoding.toys import TableNet, V, table, text

N = 100_000
SETTINGS = [
    SamplingConfig(temperature=1.0),
    SamplingConfig(temperature=0.6),
    SamplingConfig(temperature=1.2, top_p=0.8),
    SamplingConfig(temperature=0.9, top_k=4),
]


def chi_square_p(counts: Tensor, expected: Tensor) -> float:
    """Probability of a larger chi-square if `expected` is true; cells of law 0 must be empty, rare ones are joined."""
    assert counts[expected == 0].sum() == 0, "a token of probability 0 was made"
    rare = (expected > 0) & (expected < 10)
    usual = expected >= 10
    seen, wanted = counts[usual], expected[usual]
    if expected[rare].sum() >= 5:
        seen, wanted = torch.cat([seen, counts[rare].sum()[None]]), torch.cat([wanted, expected[rare].sum()[None]])
    statistic = ((seen - wanted) ** 2 / wanted).sum()
    return float(torch.special.gammaincc(torch.tensor((len(wanted) - 1) / 2, dtype=torch.float64), statistic / 2))


def joint_law(target: Tensor, config: SamplingConfig, start: int) -> Tensor:
    """Exact probabilities (V, V) of the two tokens after `start`."""
    p = law(target, config).double()
    return p[start][:, None] * p


def two_tokens(target: Tensor, draft: Tensor, config: SamplingConfig, start: int, length: int) -> Tensor:
    """The first two tokens of N texts (N, 2), made by rounds of `accept_chain` like those of `Generation`, all texts at once."""
    noise = torch.Generator().manual_seed(5)
    p, q = law(target, config), law(draft, config)
    done, out = torch.zeros(N, dtype=torch.long), torch.zeros(N, 2 + length + 1, dtype=torch.long)
    while bool((open_ := (done < 2).nonzero().squeeze(-1)).numel()):
        pending = torch.where(done[open_] > 0, out[open_, (done[open_] - 1).clamp_min(0)], start)
        tokens, last = [], pending
        for _ in range(length):
            last = pick(q[last], torch.rand(len(open_), generator=noise, dtype=torch.float64))
            tokens.append(last)
        drafted = torch.stack(tokens, 1)                                    # (n, length)
        before = torch.cat([pending[:, None], drafted], 1)
        u = torch.rand(len(open_), length, generator=noise, dtype=torch.float64)
        kept, left = accept_chain(p[before], q[before[:, :-1]], drafted, u)
        final = pick(left, torch.rand(len(open_), generator=noise, dtype=torch.float64))
        for row in range(length + 1):
            token = final if row == length else torch.where(kept > row, drafted[:, row], final)
            write = kept >= row
            out[open_[write], done[open_[write]] + row] = token[write]
        done[open_] += kept + 1
    return out[:, :2]


@pytest.mark.parametrize("config", SETTINGS, ids=str)
@pytest.mark.parametrize("length", [1, 2, 3])
def test_the_joint_law_of_two_tokens_is_the_targets(config, length) -> None:
    target, draft = table(0), table(1)
    made = two_tokens(target, draft, config, start=3, length=length)
    counts = torch.bincount(made[:, 0] * V + made[:, 1], minlength=V * V).double()
    assert chi_square_p(counts, N * joint_law(target, config, 3).flatten()) > 0.001


def test_the_chi_square_sees_a_wrong_residual() -> None:
    """Drawing from p instead of the residual after a rejection, the classic mistake, is caught at once."""
    config = SETTINGS[0]
    p, q = law(table(0), config)[3], law(table(1), config)[3]
    noise = torch.Generator().manual_seed(5)
    drafted = pick(q.expand(N, V), torch.rand(N, generator=noise, dtype=torch.float64))
    u = torch.rand(N, 1, generator=noise, dtype=torch.float64)
    kept, _ = accept_chain(p.expand(N, 2, V), q.expand(N, 1, V), drafted[:, None], u)
    wrong = torch.where(kept > 0, drafted, pick(p.expand(N, V), torch.rand(N, generator=noise, dtype=torch.float64)))
    assert chi_square_p(torch.bincount(wrong, minlength=V).double(), N * p.double()) < 1e-6


@pytest.mark.parametrize("config", SETTINGS, ids=str)
def test_acceptance_is_one_minus_total_variation(config) -> None:
    p, q = law(table(0), config)[2], law(table(1), config)[2]
    noise = torch.Generator().manual_seed(9)
    drafted = pick(q.expand(N, V), torch.rand(N, generator=noise, dtype=torch.float64))
    u = torch.rand(N, 1, generator=noise, dtype=torch.float64)
    kept, _ = accept_chain(p.expand(N, 2, V), q.expand(N, 1, V), drafted[:, None], u)
    rate, expected = float(kept.double().mean()), 1 - 0.5 * float((p - q).abs().sum())
    assert abs(rate - expected) < 3 * (expected * (1 - expected) / N) ** 0.5
    assert expected == pytest.approx(float(torch.minimum(p, q).sum()), abs=1e-6)


def test_equal_uniforms_give_what_transformers_gives(monkeypatch) -> None:
    """Their draws are replaced by ours: the same tokens, the same number of matches, over many random laws and drafts."""
    from transformers.generation.utils import _speculative_sampling

    noise = torch.Generator().manual_seed(2)
    seen = set()
    for trial in range(300):
        n = 1 + trial % 4
        target, draft = (1.2 * torch.randn(1, rows, V, generator=noise) for rows in (n + 1, n))
        p, q = target.softmax(-1), draft.softmax(-1)
        tokens = torch.stack([pick(q[0, row], float(torch.rand((), generator=noise))) for row in range(n)])[None]
        u, u_last = torch.rand(1, n, generator=noise), float(torch.rand((), generator=noise))
        kept, left = accept_chain(p, q, tokens, u.double())
        ours = [*tokens[0, : int(kept)].tolist(), int(pick(left[0], u_last))]
        monkeypatch.setattr(torch, "rand_like", lambda like: u.squeeze(0))  # noqa: B023 (used at once)
        monkeypatch.setattr(torch, "multinomial", lambda law, num_samples: pick(law, torch.tensor([u_last])).reshape(1, 1))  # noqa: B023
        theirs, matches = _speculative_sampling(torch.cat([torch.zeros(1, 1, dtype=torch.long), tokens], 1), draft, n, target)
        monkeypatch.undo()
        assert theirs[0].tolist() == ours and int(matches) == int(kept)
        seen.add((n, int(kept)))
    assert len(seen) == 2 + 3 + 4 + 5, "every number of matches should have come up"


class TableDrafter:
    """Draws from a table of its own, over all tokens or some."""

    name = "draft"

    def __init__(self, logits: Tensor, kept: Tensor | None = None) -> None:
        self.table, self.kept = (logits if kept is None else logits[:, kept]), kept

    def observe(self, start, ids, hidden) -> None:
        pass

    def propose(self, context: Context) -> Draft:
        return chain(context, lambda: self.table[context.ids[-1]], lambda token: self.table[token], self.kept)


class FixedTree:
    """Always the same tree of chosen tokens: two siblings, the first with two children."""

    name = "medusa"

    def observe(self, start, ids, hidden) -> None:
        pass

    def propose(self, context: Context) -> Draft:
        return Draft(tokens=(1, 4, 6, 2), parents=(-1, -1, 0, 0), beliefs=(0.5,) * 4, computed=4)


def by_confidence() -> Adaptive:
    """Drafts on where the drafter is sure, so that draft lengths depend on the text."""
    return Adaptive(Costs(verify_s=(1.0, 1.3, 1.6, 1.9)), clock=False, most=3)


OTHER = np.where(np.random.default_rng(4).random((20, 50)) < 0.7, 1, np.random.default_rng(5).integers(0, V, (20, 50))).cumsum(1) % V
MEMORY = NgramDrafter(remember(OTHER, np.ones(OTHER.shape, bool), V, orders=(1, 2)))
"""Counted in other text than the target writes: often wrong, and sure of it."""


@pytest.mark.parametrize(
    ("drafter", "policy", "config"),
    [
        (MEMORY, lambda: FixedLength(2), SETTINGS[0]),
        (MEMORY, by_confidence, SETTINGS[2]),
        (TableDrafter(table(1)), lambda: FixedLength(2), SETTINGS[0]),
        (TableDrafter(table(1, 3.0), torch.tensor([0, 2, 3, 5, 6])), by_confidence, SETTINGS[2]),
        (FixedTree(), lambda: FixedLength(4), SETTINGS[0]),
        (FixedTree(), lambda: FixedLength(4), SETTINGS[2]),
    ],
    ids=[
        "n-grams", "n-grams, adaptive, top-p", "drawn chain", "drawn chain, few tokens, adaptive, top-p", "chosen tree",
        "chosen tree, top-p",
    ],
)
def test_whole_generations_have_the_targets_law(drafter, policy, config) -> None:
    """The same through `Generation` itself, draws by seed and place, with fewer texts."""
    net, count = TableNet(table(0)), 2500
    counts, lengths = torch.zeros(V * V, dtype=torch.float64), set()
    for seed in range(count):
        sampling = replace(config, seed=seed)
        rounds = list(Generation(net, [5, 3], drafter, sampling, policy(), max_new_tokens=2, context=64, top=1).rounds())
        first, second = text(rounds)
        counts[first * V + second] += 1
        lengths.add(rounds[-1].draft_length)
    assert chi_square_p(counts, count * joint_law(table(0), config, 3).flatten()) > 0.001
    assert policy is not by_confidence or len(lengths) > 1


def test_the_record_holds_the_numbers_that_decided() -> None:
    """p, q, u and the verdict of every token can be checked from the outside, untested ones excepted."""
    target, draft, config = table(0), table(1), SamplingConfig(temperature=1.1, top_p=0.9, seed=3)
    p, q, raw = law(target, config), law(draft, config), target.softmax(-1)
    run = Generation(TableNet(target), [5, 3], TableDrafter(draft), config, FixedLength(2), max_new_tokens=100, context=128)
    kinds = set()
    for done in run.rounds():
        before = run.ids[done.position - 1]
        chain_of = [before, *(node.token for node in done.drafted)]
        fates = [node.fate for node in done.drafted]
        assert fates == sorted(fates, key=["accepted", "rejected", "untested"].index) and fates.count("rejected") <= 1
        for index, node in enumerate(done.drafted):
            assert node.q == pytest.approx(float(q[chain_of[index], node.token]), abs=1e-7)
            assert (node.p is None) == (node.u is None) == (node.p_raw is None) == (node.fate == "untested")
            if node.fate != "untested":
                assert node.p == pytest.approx(float(p[chain_of[index], node.token]), abs=1e-7)
                assert node.p_raw == pytest.approx(float(raw[chain_of[index], node.token]), abs=1e-6)
                assert node.u == uniform(config.seed, done.position + index, "accept")
                assert (node.fate == "accepted") == (node.u <= node.p / node.q)
        for index, token in enumerate(done.committed):
            assert token.p == pytest.approx(float(p[before, token.token]), abs=1e-7)
            assert token.p_raw == pytest.approx(float(raw[before, token.token]), abs=1e-6)
            assert token.top[0][0] == int(raw[before].argmax())
            if token.kind == "accepted":
                assert token.u == done.drafted[index].u and token.q == done.drafted[index].q
            else:
                assert token.u == uniform(config.seed, done.position + index, "sample")
                left = residual(p[before], q[before]) if token.kind == "corrected" else p[before]
                assert token.token == int(pick(left, token.u))
            kinds.add(token.kind)
            before = token.token
    assert kinds == {"accepted", "corrected", "bonus"}


def test_a_residual_without_mass_is_the_law_itself() -> None:
    p = torch.tensor([0.25, 0.75])
    assert torch.equal(residual(p, p), p)


def test_chosen_siblings_are_tested_in_turn() -> None:
    p = torch.tensor([0.5, 0.3, 0.2])
    draft = Draft(tokens=(0, 1), parents=(-1, -1), beliefs=(0.5, 0.5))
    draws = {0: 0.51, 1: 0.6}
    verdict = verify_chosen(draft, lambda row: p, lambda depth, sibling: draws[sibling], lambda depth: 0.1)
    assert verdict.path == [1] and verdict.p == pytest.approx([0.5, 0.6]) and verdict.u == [0.51, 0.6]
    assert verdict.path_p == pytest.approx([0.3, 0.5]) and verdict.token == 0 and not verdict.corrected
    draws[1] = 0.61
    verdict = verify_chosen(draft, lambda row: p, lambda depth, sibling: draws[sibling], lambda depth: 0.1)
    assert verdict.path == [] and verdict.token == 2 and verdict.corrected and verdict.path_p == pytest.approx([0.2])


def test_typical_acceptance_takes_the_longest_path_and_then_the_likeliest() -> None:
    p = torch.tensor([[0.5, 0.4, 0.1], [0.05, 0.9, 0.05], [0.6, 0.38, 0.02], [0.4, 0.3, 0.3], [0.9, 0.05, 0.05], [1.0, 0, 0]])
    draft = Draft(tokens=(0, 1, 1, 0, 2), parents=(-1, -1, 0, 1, 1), beliefs=(0.5,) * 5)
    verdict = verify_typical(draft, p, Typical(), lambda depth: 0.0)
    assert verdict.path == [0, 2]  # 0.5 * 0.9 beats 0.4 * 0.6; token 2 behind node 1 fails: 0.02 < 0.09
    assert verdict.p[4] == pytest.approx(0.02) and verdict.token == 0 and not verdict.corrected
    flat, sharp = torch.full((8,), 0.125), torch.tensor([0.92, 0.08, 0, 0, 0, 0, 0, 0])  # bars 0.3 / 8 and 0.09
    for law_of, kept in ((flat, [0]), (sharp, [])):
        assert verify_typical(Draft((1,), (-1,), (0.5,)), law_of.expand(2, 8), Typical(), lambda depth: 0.5).path == kept
