"""Balance losses against hand computation and transformers, and what the selection bias does to a skewed gate."""

from __future__ import annotations

import pytest
import torch
from transformers.models.mixtral.modeling_mixtral import load_balancing_loss_func as mixtral_loss
from transformers.models.switch_transformers.modeling_switch_transformers import load_balancing_loss_func as switch_loss
from transformers.models.switch_transformers.modeling_switch_transformers import router_z_loss_func

from models.language.balancing import importance_loss, load, load_balance_loss, sequence_balance_loss, update_bias, z_loss
from models.language.gating import choose
from models.language.routing import Balance


def logits(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_load_balance_loss_by_hand():
    """3 experts, 2 tokens on expert 0 and 1 on expert 1: f = 2/3, 1/3, 0; E sum f P."""
    p = torch.tensor([[0.5, 0.3, 0.2], [0.6, 0.2, 0.2], [0.1, 0.8, 0.1]])
    value = load_balance_loss(p, torch.tensor([[0], [0], [1]]))
    assert float(value) == pytest.approx(3 * (2 / 3 * 1.2 / 3 + 1 / 3 * 1.3 / 3))


@pytest.mark.parametrize("k", [1, 2, 4])
def test_load_balance_loss_is_one_when_even(k):
    experts = torch.stack([(torch.arange(k) + t) % 8 for t in range(64)])
    assert float(load_balance_loss(torch.full((64, 8), 1 / 8), experts)) == pytest.approx(1)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_load_balance_loss_is_that_of_mixtral_over_k(k):
    raw = logits(50, 6)
    p = raw.softmax(-1)
    assert float(load_balance_loss(p, p.topk(k).indices)) == pytest.approx(float(mixtral_loss((raw,), 6, k)) / k, abs=1e-6)


def test_switch_losses_equal_transformers():
    raw = logits(3, 20, 5)
    p = raw.softmax(-1)
    chosen = p.argmax(-1)
    per_sequence = sum(load_balance_loss(p[b], chosen[b, :, None]) for b in range(3)) / 3
    assert float(per_sequence) == pytest.approx(float(switch_loss(p, chosen)), abs=1e-6)
    assert float(z_loss(raw)) == pytest.approx(float(router_z_loss_func(raw)), abs=1e-6)


def test_gradients_flow_through_probabilities_and_favour_the_unused():
    raw = logits(40, 4).requires_grad_()
    p = raw.softmax(-1)
    load_balance_loss(p, torch.zeros(40, 1, dtype=torch.long)).backward()
    assert (raw.grad[:, 0] > 0).all() and (raw.grad[:, 1:] < 0).all()


def test_importance_loss_is_the_squared_coefficient_of_variation():
    p = torch.tensor([[0.7, 0.3], [0.5, 0.5]])
    assert float(importance_loss(p)) == pytest.approx((0.2 / 1.0) ** 2)


def test_sequence_loss_by_hand():
    """Two sequences of two tokens, 4 experts, k = 2; affinities are normalised token by token before they are averaged."""
    s = torch.tensor([[[0.2, 0.2, 0.2, 0.2], [0.4, 0.4, 0.1, 0.1]], [[0.9, 0.3, 0.3, 0.3], [0.9, 0.3, 0.3, 0.3]]])
    experts = torch.tensor([[[0, 1], [0, 1]], [[0, 1], [0, 2]]])
    first = 4 / 4 * (2 * (0.25 + 0.4) / 2 + 2 * (0.25 + 0.4) / 2)
    second = 4 / 4 * (2 * 0.5 + 1 / 6 + 1 / 6)
    assert float(sequence_balance_loss(s, experts)) == pytest.approx((first + second) / 2)
    even = torch.full((1, 8, 4), 0.3)
    assert float(sequence_balance_loss(even, torch.tensor([[[0, 1], [2, 3]] * 4]))) == pytest.approx(1)


def test_update_moves_by_the_sign_of_what_is_missing():
    bias = torch.tensor([0.0, 0.5, -0.5, 0.0])
    update_bias(bias, torch.tensor([4.0, 8.0, 0.0, 4.0]), 0.1)
    assert bias.tolist() == pytest.approx([0.0, 0.4, -0.4, 0.0])


def test_the_bias_evens_out_a_skewed_gate():
    """Affinities of 16 experts with very different means, top 4: MaxVio above 1.5 falls below 0.2, and none stays dead."""
    lean, bias, history = torch.linspace(-1.5, 1.5, 16), torch.zeros(16), []
    for step in range(400):
        s = (logits(512, 16, seed=step) + lean).sigmoid()
        counts = load(choose(s + bias, 4).experts, 16)
        history.append(Balance.of(counts))
        update_bias(bias, counts, 3e-3)
    assert history[0].max_vio > 1.5 and history[0].dead == 0
    assert sum(one.max_vio for one in history[-20:]) / 20 < 0.2
    assert (bias.diff() < 0).all()  # the most favoured is held back most
