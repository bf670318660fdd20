"""The training loop: resuming changes nothing, rates and averages are what they claim to be."""

import pytest
import torch
from torch import nn

from models.fitting import Average, FitConfig, averaged_weights, checkpoint_step, fit


def _model() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def _run(model: nn.Module, config: FitConfig, stop: int | None = None) -> list[float]:
    def batches(step: int):
        return torch.randn(16, 4, generator=torch.Generator().manual_seed(step))

    def loss(x, generator):
        target = x[:, :2] + 0.1 * torch.randn(16, 2, generator=generator)
        return (model(x) - target).square().mean(), {}

    out = []
    for step in fit(model, loss, batches, config):
        out.append(step.loss)
        if step.step == stop:
            break
    return out


def test_a_resumed_run_equals_an_unbroken_one(tmp_path):
    whole, broken = _model(), _model()
    base = {"steps": 30, "lr": 1e-2, "bf16": False, "save_every_s": 0.0}
    losses = _run(whole, FitConfig(folder=tmp_path / "a", **base))
    first = _run(broken, FitConfig(folder=tmp_path / "b", **base), stop=13)
    assert checkpoint_step(tmp_path / "b") == 13
    fresh = _model()
    second = _run(fresh, FitConfig(folder=tmp_path / "b", **base))
    assert first + second == losses
    for a, b in zip(whole.parameters(), fresh.parameters(), strict=True):
        assert torch.equal(a, b)
    for name, value in averaged_weights(tmp_path / "a").items():
        assert torch.equal(value, averaged_weights(tmp_path / "b")[name])


def test_training_learns_and_the_averaged_weights_are_between(tmp_path):
    model = _model()
    losses = _run(model, FitConfig(steps=300, lr=1e-2, bf16=False))
    assert sum(losses[-20:]) < 0.2 * sum(losses[:20])


def test_the_rate_warms_up_stays_and_cools_down():
    config = FitConfig(steps=1000, lr=2.0, warmup=10, cooldown=0.25)
    assert config.rate(0) == pytest.approx(0.2)
    assert config.rate(9) == config.rate(500) == config.rate(749) == 2.0
    assert config.rate(875) == pytest.approx(1.0)
    assert config.rate(999) == pytest.approx(2.0 / 250)


def test_a_look_at_the_averaged_weights_leaves_the_training_as_it_was():
    def run(look: bool) -> tuple[list[float], nn.Module]:
        model, losses = _model(), []
        x = torch.randn(16, 4, generator=torch.Generator().manual_seed(1))
        average = Average(model, 0.9)
        for step in fit(model, lambda x, _: (model(x).square().mean(), {}), lambda _: x, FitConfig(steps=12, lr=1e-2, bf16=False), average):
            losses.append(step.loss)
            if look:
                own = model[0].weight.clone()
                with step.averaged():
                    assert torch.equal(model[0].weight, average.state["0.weight"])
                    assert step.step < 3 or not torch.equal(model[0].weight, own)
        return losses, model

    (plain, a), (looked, b) = run(False), run(True)
    assert plain == looked and all(torch.equal(p, q) for p, q in zip(a.parameters(), b.parameters()))


def test_the_average_follows_its_definition():
    model = nn.Linear(1, 1, bias=False)
    average = Average(model, decay=0.9)
    nn.init.zeros_(model.weight)
    average.state["weight"].fill_(1.0)
    average.update(model, step=1000)
    assert average.state["weight"].item() == pytest.approx(0.9)
    average.update(model, step=0)  # a young run forgets faster: (1 + 0) / (10 + 0)
    assert average.state["weight"].item() == pytest.approx(0.09)


def test_frozen_parameters_stay(tmp_path):
    model = _model()
    model[0].requires_grad_(False)
    before = model[0].weight.clone()
    _run(model, FitConfig(steps=5, lr=0.1, bf16=False))
    assert torch.equal(model[0].weight, before)


def test_an_infinite_gradient_is_not_applied():
    model = nn.Linear(1, 1, bias=False)
    before = model.weight.clone()
    steps = fit(
        model, lambda x, g: ((model(x) * float("inf")).sum(), {}), lambda step: torch.ones(1, 1), FitConfig(steps=1, lr=1.0, bf16=False)
    )
    record = next(steps)
    assert torch.equal(model.weight, before)
    assert record.metrics["grad_norm"] != record.metrics["grad_norm"] or record.metrics["grad_norm"] == float("inf")
