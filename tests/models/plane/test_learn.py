"""Training on a cloud: deterministic, averaged weights at the end, and a way back when the loss is lost."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from models.fitting import FitConfig
from models.plane.data import cloud
from models.plane.errors import DivergedError
from models.plane.learn import KEPT_EVERY, PATIENCE, learn
from models.plane.net import PlaneNet
from models.solvers import SolverError

CONFIG = FitConfig(steps=30, lr=1e-2, warmup=5, bf16=False, ema=0.9, seed=4)


def loss(net):
    def of(batch, generator):
        x, labels = batch
        assert x.shape == (64, 2) and labels.shape == (64,)
        target = torch.randn(x.shape, generator=generator)
        return (net(x, 0.5) - target * 0.1 - x).square().mean(), {}

    return of


def trained(config: FitConfig = CONFIG, stop: int = 10**6) -> tuple[PlaneNet, list[float]]:
    net, losses = PlaneNet(0, width=16), []
    steps = learn(net, loss(net), cloud("moons"), config, 64)
    for step in steps:
        losses.append(step.loss)
        if step.step == stop:
            steps.close()
    return net, losses


def test_training_learns_and_depends_on_the_seed_alone() -> None:
    net, losses = trained()
    again, same = trained()
    assert losses == same and sum(losses[-5:]) < 0.5 * sum(losses[:5])
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    assert trained(replace(CONFIG, seed=5))[1] != losses


def test_the_network_ends_with_averaged_weights_even_when_closed_early() -> None:
    raw, _ = trained(replace(CONFIG, ema=0.0))  # an average without memory: the last weights
    assert any(not torch.equal(a, b) for a, b in zip(trained()[0].parameters(), raw.parameters(), strict=True))
    early, losses = trained(stop=10)
    assert len(losses) == 10 and not torch.equal(early.out.weight, PlaneNet(0, width=16).out.weight)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e9])
def test_a_lost_run_ends_with_a_sentence_and_its_last_good_weights(bad) -> None:
    net, good_steps = PlaneNet(0, width=16), 2 * KEPT_EVERY + 20
    count, kept = 0, None

    def of(batch, generator):
        nonlocal count
        count += 1
        value, _ = loss(net)(batch, generator)
        return value * (bad if count > good_steps else 1.0), {}

    config = replace(CONFIG, steps=1000, ema=0.0, cooldown=0.0)
    with pytest.raises(DivergedError) as found:
        for step in learn(net, of, cloud("moons"), config, 64):
            if step.step == 2 * KEPT_EVERY:
                kept = net.out.weight.detach().clone()
    assert found.value.step == good_steps + PATIENCE and "diverged at update" in found.value.message and found.value.hint
    assert str(2 * KEPT_EVERY) in found.value.hint and torch.isfinite(net.out.weight).all()
    assert torch.allclose(net.out.weight, kept, atol=0.02) and not torch.equal(net.out.weight, PlaneNet(0, width=16).out.weight)


def test_a_run_lost_from_its_second_update_on_is_told_as_well() -> None:
    net, count = PlaneNet(0, width=16), 0

    def of(batch, generator):
        nonlocal count
        count += 1
        return loss(net)(batch, generator)[0] * (1.0 if count == 1 else 1e12), {}

    with pytest.raises(DivergedError) as found:
        list(learn(net, of, cloud("moons"), CONFIG, 64))
    assert found.value.step == 1 + PATIENCE and "update 0 are kept" in found.value.hint


def test_one_bad_update_is_survived() -> None:
    net, count = PlaneNet(0, width=16), 0

    def of(batch, generator):
        nonlocal count
        count += 1
        value, metrics = loss(net)(batch, generator)
        return value * (float("nan") if count % 7 == 0 else 1.0), metrics

    losses = [step.loss for step in learn(net, of, cloud("moons"), CONFIG, 64)]
    assert len(losses) == 30 and torch.isfinite(net.out.weight).all() and losses[-1] < losses[0]


def test_a_solve_that_goes_astray_ends_the_training_with_its_sentence() -> None:
    net, count = PlaneNet(0, width=16), 0

    def of(batch, generator):
        nonlocal count
        count += 1
        if count > KEPT_EVERY + 3:
            raise SolverError("The step fell to nothing.", "Choose a larger tolerance.")
        return loss(net)(batch, generator)

    with pytest.raises(DivergedError, match="cannot go on: the step fell to nothing") as found:
        list(learn(net, of, cloud("moons"), replace(CONFIG, steps=200), 64))
    assert str(KEPT_EVERY) in found.value.hint and not torch.equal(net.out.weight, PlaneNet(0, width=16).out.weight)
