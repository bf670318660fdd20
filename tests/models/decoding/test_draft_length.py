"""How much is drafted: at given costs and rates the decisions are those that the arithmetic of `theory` calls best."""

from __future__ import annotations

import math

import pytest

from models.decoding.draft_length import Adaptive, AdaptiveBudget, Costs, FixedLength
from models.decoding.drafting import Draft
from models.decoding.theory import Teacher, expected_speedup, expected_tokens, gamma_curve, needed_acceptance, replay_rounds, replay_tree
from models.decoding.tree import best_shape

FP16 = Costs(verify_s=(1.0, 1.08, 1.22, 1.36, 1.54, 1.67, 1.87, 1.99, 2.18), draft_s=tuple(0.08 * n for n in range(1, 9)))


def chain_draft(beliefs: list[float], computed: int | None = None) -> Draft:
    n = len(beliefs)
    return Draft(tuple(range(n)), tuple(range(-1, n - 1)), tuple(beliefs), computed=n if computed is None else computed)


def drafted(budget: AdaptiveBudget, belief: float, limit: int = 8) -> int:
    """How many tokens of one belief a chain gets, asked as `drafting.chain` asks."""
    count, reach = 0, 1.0
    while count < limit and budget.ahead(count + 1, reach):
        reach *= budget.trust(belief)
        if not budget.wants(count + 1, reach):
            break
        count += 1
    return count


def taught(rate: float, costs: Costs, rounds: int = 400) -> Adaptive:
    """After many rounds of four tokens, each kept with probability `rate` if the one before was, in an even pattern."""
    policy, due = Adaptive(costs, clock=False, most=8), [0.5] * 4
    for _ in range(rounds):
        fates: list[bool | None] = [None] * 4
        for place in range(4):
            due[place] += rate
            fates[place] = due[place] >= 1
            due[place] -= fates[place]
            if not fates[place]:
                break
        policy.learn(chain_draft([rate] * 4), fates, 0.0, 0.0)
    return policy


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9])
def test_the_learned_length_is_about_the_best(rate) -> None:
    """Its speed is within 3 % of the best fixed length's, plain decoding included; where drafting does not pay, nothing is drafted."""
    policy = taught(rate, FP16)
    length = drafted(policy.begin("eagle", 8), rate)
    speeds = [expected_speedup(rate, g, FP16) for g in range(9)]
    assert speeds[length] > 0.97 * max(speeds)
    assert (length == 0) == (max(speeds) == speeds[0])


def test_equal_rounds_give_equal_decisions() -> None:
    one, two = taught(0.6, FP16), taught(0.6, FP16)
    assert [drafted(one.begin("x", 8), b / 20) for b in range(20)] == [drafted(two.begin("x", 8), b / 20) for b in range(20)]


def test_sure_tokens_are_drafted_further() -> None:
    budget = taught(0.5, FP16).begin("eagle", 8)
    assert drafted(budget, 0.2) <= drafted(budget, 0.6) <= drafted(budget, 0.97)
    assert drafted(budget, 0.97) > drafted(budget, 0.2)


def test_beliefs_are_corrected_by_what_happens() -> None:
    """A drafter that is always sure and always wrong is soon not believed, and after a while asked again."""
    policy = Adaptive(FP16, clock=False)
    before = policy.begin("x", 8).trust(0.95)
    for _ in range(50):
        policy.learn(chain_draft([0.95]), [False], 0, 0)
    low = policy.begin("x", 8).trust(0.95)
    assert before > 0.9 and low < 0.2 and drafted(policy.begin("x", 8), 0.95) == 0
    for _ in range(400):
        policy.learn(Draft(), [], 0, 0)
    assert policy.begin("x", 8).trust(0.95) > 0.85 and drafted(policy.begin("x", 8), 0.95) > 0


def test_untested_tokens_teach_nothing() -> None:
    policy = Adaptive(FP16, clock=False)
    policy.learn(chain_draft([0.5, 0.9]), [False, None], 0, 0)
    assert policy.belief_rate(0.9).seen == 0 and policy.belief_rate(0.5).seen == 1
    assert [rate.seen for rate in policy.by_depth[:3]] == [1, 0, 0]


def test_tokens_computed_but_not_proposed_count_as_vain() -> None:
    policy = Adaptive(FP16, clock=False)
    policy.learn(chain_draft([], computed=1), [], 0, 0)
    assert (policy.by_depth[0].seen, policy.by_depth[0].kept) == (1, 0)
    policy.learn(chain_draft([0.5], computed=2), [False], 0, 0)
    assert policy.by_depth[1].seen == 0  # behind a rejection it says nothing


def test_a_hump_in_the_cost_is_jumped_over() -> None:
    """fp32 on a CPU: passes over 2 and 3 rows cost more than over 4, so three sure tokens are better than one or two."""
    fp32 = Costs(verify_s=(1.0, 1.43, 1.80, 1.19, 1.32, 1.33), draft_s=tuple(0.02 * n for n in range(1, 6)))
    assert drafted(Adaptive(fp32, clock=False, most=5, first_guess=0.7).begin("x", 5), 0.7) >= 3


def test_the_clock_is_read_only_if_allowed() -> None:
    free, blind = Adaptive(FP16, clock=True), Adaptive(FP16, clock=False)
    for policy in (free, blind):
        for _ in range(3):
            policy.learn(chain_draft([0.5] * 2), [True, False], 0.2, 3.66)
    assert blind.costs().verify(3) == 1.22 and blind.costs().draft(2) == pytest.approx(0.16)
    assert free.costs().verify(3) == 3.66 and free.costs().verify(1) == pytest.approx(3.0)  # by the shape of the table
    assert free.costs().draft(2) == 0.2 and free.costs().draft(4) == pytest.approx(0.4)


def test_a_budget_ends_with_the_text() -> None:
    assert drafted(taught(0.9, FP16).begin("x", 2), 0.99) == 2
    assert FixedLength(5).begin("x", 3).depth == 3 and FixedLength(5).begin("x", -1).depth == 0


# --- the arithmetic ---


def test_expected_tokens_is_the_geometric_sum() -> None:
    for a in (0.0, 0.3, 0.9):
        assert expected_tokens(a, 4) == pytest.approx((1 - a**5) / (1 - a))
    assert expected_tokens(1.0, 4) == 5
    assert expected_speedup(0.7, 2, FP16) == pytest.approx((1 - 0.7**3) / 0.3 / (1.22 + 0.16))


def test_needed_acceptance_breaks_even() -> None:
    for length in range(1, 8):
        needed = needed_acceptance(length, FP16, other_s=0.02)
        assert 0 < needed < 1 and expected_speedup(needed, length, FP16, other_s=0.02) == pytest.approx(1.0, abs=1e-6)
    assert needed_acceptance(1, Costs(verify_s=(1.0, 0.9), draft_s=(0.05,))) == 0.0
    assert needed_acceptance(1, Costs(verify_s=(1.0, 1.5), draft_s=(1.0,))) == pytest.approx(1.25)


def test_the_curve_needs_what_its_own_costs_say_the_rest_of_a_round_included() -> None:
    """With an acceptance of exactly what a point needs, its round lasts as long as the plain rounds it saves."""
    teacher, other_s = Teacher(runs=(2, 1, 0) * 30, offered=(3,) * 90), 0.5
    for point in gamma_curve(teacher, FP16, 5, other_s)[1:]:
        round_s = FP16.draft(point.length) + FP16.verify(point.length + 1) + other_s
        assert expected_tokens(point.needed, point.length) * (FP16.verify(1) + other_s) == pytest.approx(round_s, rel=1e-6)
        assert point.needed == needed_acceptance(point.length, FP16, other_s) != needed_acceptance(point.length, FP16)
    assert expected_speedup(0.0, 0, FP16, other_s) == 1.0, "plain rounds have their rest too"


def test_costs_go_on_beyond_their_table() -> None:
    costs = Costs(verify_s=(1.0, 1.5), draft_s=(0.2,))
    assert costs.verify(4) == 2.5 and costs.draft(3) == pytest.approx(0.6) and costs.draft(0) == 0


def test_replayed_rounds_by_hand() -> None:
    teacher = Teacher(runs=(2, 1, 0, 3, 2, 1, 0), offered=(3, 3, 0, 3, 3, 3, 3))
    assert replay_rounds(teacher, 0) == [(0, 1)] * 7
    assert replay_rounds(teacher, 1) == [(1, 2), (0, 1), (1, 2), (1, 2)]
    assert replay_rounds(teacher, 3) == [(3, 3), (3, 4)]
    assert teacher.acceptance == pytest.approx(5 / 6) and teacher.accepted_at(2) == pytest.approx(3 / 7)
    assert replay_rounds(Teacher((), ()), 3) == []


def test_the_curve_begins_at_plain_decoding() -> None:
    teacher = Teacher(runs=(2, 1, 0) * 30, offered=(3,) * 90)
    points = gamma_curve(teacher, FP16, 4)
    assert points[0].speedup == points[0].tokens_per_round == points[0].tokens_per_s == 1.0
    assert points[2].tokens_per_round == pytest.approx(3.0)
    assert points[2].speedup == pytest.approx(3.0 / (FP16.verify(3) + FP16.draft(2)), rel=0.02)  # the last round is shorter
    assert max(points, key=lambda point: point.speedup).length == 2
    assert all(math.isfinite(point.needed) for point in points)


def test_replayed_trees_by_hand() -> None:
    shape = [(0,), (1,), (0, 1)]
    ranks = [[0, 1], [9, 9], [9, 9], [1, 0], [9, 9], [0, 0], [0, 0]]
    assert replay_tree(ranks, shape) == [3, 2, 2]
    assert replay_tree(ranks, best_shape([[0.9]], 1)) == [2, 1, 1, 1, 2]
