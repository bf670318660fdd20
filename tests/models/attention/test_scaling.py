"""Why scores are divided by sqrt(d): variances, entropy, the softmax's Jacobian, and the theory's curve."""

import math

import pytest
import torch

from models.attention.scaling import SCALES, jacobian_norm, measure, over_scales, over_widths, random_heads, theory_entropy
from models.attention.signature import AttentionError
from tests.models.parity import normal


@pytest.mark.parametrize("d", [4, 64, 256])
def test_scores_spread_like_the_root_of_the_width(d):
    q, k = random_heads(d, keys=800, queries=800)
    assert (q @ k.T).std().item() == pytest.approx(math.sqrt(d), rel=0.03)
    assert measure(q, k, 1.0).score_std == pytest.approx(math.sqrt(d), rel=0.04)


def test_dividing_keeps_entropy_and_gradient_for_every_width():
    divided = list(over_widths([16, 64, 256]))
    plain = list(over_widths([16, 64, 256], "none"))
    assert all(point.entropy == pytest.approx(theory_entropy(1, 256), abs=0.06) for point in divided)
    assert max(p.jacobian for p in divided) < 1.1 * min(p.jacobian for p in divided)
    assert all(p.saturated == 0 for p in divided)
    assert plain[0].entropy > plain[1].entropy > plain[2].entropy and plain[2].evenness < 0.1
    assert plain[0].saturated < plain[1].saturated < plain[2].saturated
    assert plain[0].jacobian > plain[1].jacobian > plain[2].jacobian  # q.k saturates, and its Jacobian goes to 0
    too_much = list(over_widths([16, 256], "1/d"))
    assert too_much[1].evenness > 0.999 and too_much[1].gradient < too_much[0].gradient < divided[0].gradient
    assert list(SCALES) == ["1/sqrt(d)", "none", "1/d"]


def test_entropy_follows_the_random_energy_model():
    """Within 0.15 nats below the point of freezing, for 4,096 keys; finite numbers of keys blur the point itself."""
    q, k = random_heads(64, keys=4096, queries=64)
    for sigma in (0.0, 0.5, 1.0, 1.5, 2.0):
        assert measure(q, k, sigma / 8).entropy == pytest.approx(theory_entropy(sigma, 4096), abs=0.15)
    assert theory_entropy(5, 4096) == 0 and measure(q, k, 10 / 8).entropy < 1


def test_the_jacobians_norm_is_that_of_autograd():
    scores = normal(5).double()
    jacobian = torch.autograd.functional.jacobian(lambda s: s.softmax(-1), scores)
    assert jacobian_norm(scores.softmax(-1)).item() == pytest.approx(jacobian.norm().item(), rel=1e-9)
    assert jacobian_norm(torch.tensor([0.5, 0.5])).item() == pytest.approx(0.5)
    assert jacobian_norm(torch.tensor([1.0, 0.0])).item() == 0


def test_the_gradient_is_that_of_autograd():
    q, k = normal(7, 4).requires_grad_(), normal(9, 4, seed=2)
    g = torch.randn(7, 9, generator=torch.Generator().manual_seed(3))
    ((q @ k.T * 0.6).softmax(-1) * g).sum().backward()
    assert measure(q.detach(), k, 0.6, seed=3).gradient == pytest.approx(q.grad.square().mean().sqrt().item(), rel=1e-5)


def test_one_head_under_many_scales():
    q, k = normal(2, 3, 30, 16), normal(2, 3, 30, 16, seed=2)
    points = list(over_scales(q, k, [0.1, 1, 4], causal=True))
    assert points[0].entropy > points[1].entropy > points[2].entropy and points[0].largest < points[2].largest
    assert [p.scale for p in points] == pytest.approx([0.025, 0.25, 1.0])
    even = measure(q, k, 0.0, causal=True)  # all weights equal: the entropy of row i is log i
    assert even.entropy == pytest.approx(sum(math.log(n) for n in range(2, 31)) / 29, rel=1e-5)
    assert even.evenness == pytest.approx(1, rel=1e-5) and even.score_std == 0 and even.keys == 30


def test_bad_input_is_refused():
    with pytest.raises(AttentionError, match="at least two keys"):
        measure(normal(1, 4), normal(1, 4), 1.0)
    with pytest.raises(AttentionError, match="no scale '1/e'"):
        next(over_widths([4], "1/e"))
