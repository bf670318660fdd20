"""Flow matching and rectified flow: closed forms, equal marginals, straighter after reflow, diffusers' scheduler."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from scipy.stats import ks_2samp

from models.diffusion import rectified_flow as flow
from models.fitting import FitConfig
from models.plane.data import Cloud, cloud
from models.plane.learn import guarded
from models.plane.mixture import Mixture
from models.plane.net import PlaneNet
from models.solvers import SolverError, evenly, integrate, solve

D = torch.float64
MEAN, STD = (0.8, -0.5), 0.4
GAUSS = Mixture(torch.ones(1), torch.tensor([MEAN]), STD**2 * torch.eye(2)[None])
SMALL = FitConfig(steps=500, lr=1e-2, warmup=30, cooldown=0.5, weight_decay=0.0, ema=0.98, bf16=False)


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int, seed: int = 0, dtype: torch.dtype = D) -> torch.Tensor:
    return torch.randn(n, 2, generator=source(seed), dtype=dtype)


def gauss_cloud() -> Cloud:
    draw = lambda n, g: (torch.tensor(MEAN) + STD * torch.randn(n, 2, generator=g), torch.zeros(n).long())  # noqa: E731
    return Cloud("gauss", "Gauss", 1, draw, (0, 0), 1)


# --- the optimum in closed form ---


@pytest.mark.parametrize("t", [0.0, 0.3, 0.77, 1.0])
def test_the_velocity_of_a_gaussian_is_the_closed_form(t) -> None:
    x = noise(200) * 2
    assert torch.allclose(flow.ExactVelocity(GAUSS)(x, t), flow.gaussian_velocity(x, t, torch.tensor(MEAN, dtype=D), STD), atol=1e-10)


@pytest.mark.parametrize("sigma_min", [0.0, 0.01, 0.3])
def test_the_exact_velocity_is_the_regression_of_the_chords(sigma_min) -> None:
    law = cloud("eight-gaussians").mixture
    x1, _ = law.sample(400_000, source(1))
    x0, t = noise(400_000, 2), 0.6
    x, target = flow.on_chord(x0, x1, torch.tensor(t, dtype=D), sigma_min)
    assert torch.allclose(x, t * x1 + (1 - (1 - sigma_min) * t) * x0) and torch.allclose(target, x1 - (1 - sigma_min) * x0)
    for place in (torch.tensor([0.7, 0.1], dtype=D), torch.tensor([-0.3, 0.5], dtype=D)):
        near = (x - place).norm(dim=1) < 0.05
        expected = flow.ExactVelocity(law, sigma_min)(x[near], t).mean(0)
        error = target[near].std(0) / math.sqrt(int(near.sum()))
        assert ((target[near].mean(0) - expected).abs() < 4 * error).all()


def test_a_trained_network_matches_the_closed_form() -> None:
    net = PlaneNet(0, width=24)
    for _ in flow.train(net, gauss_cloud(), replace(SMALL, steps=900, ema=0.99), 2048):
        pass
    for t in (0.1, 0.5, 0.9):
        x = t * (torch.tensor(MEAN) + STD * noise(2000, 1, torch.float32)) + (1 - t) * noise(2000, 2, torch.float32)
        expected = flow.gaussian_velocity(x, t, torch.tensor(MEAN), STD)
        assert float((flow.velocity_of(net)(x, t) - expected).square().mean().sqrt()) < 0.03


# --- the flow ---


@pytest.mark.parametrize("sigma_min", [0.0, 0.05])
def test_the_flow_keeps_the_marginals_of_the_chords(sigma_min) -> None:
    """KS on 8 projections at four times, p > 0.001 each: the false alarm of all 32 is below 4 %, once for fixed seeds."""
    law = cloud("eight-gaussians").mixture
    v = flow.ExactVelocity(law, sigma_min)
    x1, _ = law.sample(4000, source(3))
    x0 = noise(4000, 4)
    path = {round(s.t, 6): s.x for s in integrate(v, noise(4000, 5), evenly(0.0, 1.0, 40), "rk4")}
    for t in (0.25, 0.5, 0.75, 1.0):
        x, _ = flow.on_chord(x0, x1, torch.tensor(t, dtype=D), sigma_min)
        for k in range(8):
            line = torch.tensor([math.cos(k * math.pi / 8), math.sin(k * math.pi / 8)], dtype=D)
            assert ks_2samp((path[t] @ line).numpy(), (x @ line).numpy()).pvalue > 0.001, (t, k)


def test_walking_back_returns_the_noise_and_the_density_is_exact() -> None:
    law = cloud("eight-gaussians").mixture
    net, start = flow.ExactVelocity(law), noise(300)
    options = {"solver": "rk4", "evaluations": 400, "generator": None, "knobs": {}}
    end = list(flow.walk(net, start, **options))[-1]
    back = list(flow.forward(net, end.x, **options))[-1]
    assert (end.time, end.signal, end.noise, back.time, back.level) == (1.0, 1.0, 0.0, 0.0, math.inf)
    assert torch.allclose(back.x, start, atol=1e-3)
    x, _ = law.sample(300, source(7))
    assert (flow.log_density(net, x, {}) - law.log_density(x)).abs().mean() < 0.01
    exact = flow.ExactVelocity(GAUSS)
    x = GAUSS.sample(300, source(8))[0]
    assert torch.allclose(flow.log_density(exact, x, {}), GAUSS.log_density(x), atol=1e-4)


def test_euler_is_diffusers_scheduler_with_time_reversed() -> None:
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=1.0)
    scheduler.set_timesteps(12)
    net, x = PlaneNet(3), noise(40, 6, torch.float32)
    v = flow.velocity_of(net)
    mine = list(integrate(v, x, [1 - float(s) for s in scheduler.sigmas], "euler"))
    even = flow.follow(v, x, 0.0, 1.0, "euler", 12, {})
    assert [step.time for step in even] == pytest.approx([k / 12 for k in range(13)])
    for i, timestep in enumerate(scheduler.timesteps):
        sigma = float(timestep) / 1000
        x = scheduler.step(-v(x, 1 - sigma), timestep, x).prev_sample  # its velocity points to the noise
        assert torch.allclose(mine[i + 1].x, x, atol=1e-6)


def test_the_adaptive_solver_meets_its_tolerance() -> None:
    net, start = flow.ExactVelocity(cloud("eight-gaussians").mixture), noise(100)
    options = {"evaluations": 0, "generator": None}
    end = solve(net, start, evenly(0.0, 1.0, 400), "rk4")
    counts = []
    for tolerance in (1e-2, 1e-4, 1e-6):
        steps = list(flow.walk(net, start, solver="dopri5", knobs={"tolerance": tolerance}, **options))
        assert (steps[-1].x - end).abs().max() < 60 * tolerance and steps[-1].last and "of the tolerance" in steps[-1].says
        counts.append(steps[-1].evaluations)
    assert counts == sorted(set(counts))
    with pytest.raises(SolverError, match="finer than float32"):
        list(flow.walk(net, start.float(), solver="dopri5", knobs={"tolerance": 1e-8}, **options))


# --- reflow ---


def test_pairs_are_the_flows_own_and_stay_pairs() -> None:
    v = flow.velocity_of(PlaneNet(1))
    pairs = flow.Pairs(v, cloud("moons").start, 0, 32)
    for step in (0, 1, flow.PIECES + 5):
        z0, z1 = pairs(step)
        assert z0.shape == z1.shape == (32, 2)
        assert torch.allclose(z1, solve(v, z0, evenly(0.0, 1.0, flow.PAIR_STEPS), "heun"), atol=1e-6)
    assert len(pairs.bank) == 3


def test_reflow_straightens_and_makes_no_coupling_dearer() -> None:
    """Starting from the exact flow of eight Gaussians: S falls at least threefold, E|Z1 - Z0|^2 grows by less than 1 %."""
    v = flow.ExactVelocity(cloud("eight-gaussians").mixture)
    student = PlaneNet(0)
    pairs = flow.Pairs(v, cloud("moons").start, 0, 256)
    for _ in guarded(student, lambda batch, g: flow.chord_loss(student, *batch, g), pairs, SMALL):
        pass
    z = noise(1000, 9, torch.float32)
    before, after = flow.measures(v, z), flow.measures(flow.velocity_of(student), z)
    assert after[0] < before[0] / 3 and after[1] < 1.01 * before[1]


def test_reflow_trains_its_rounds_one_after_the_other() -> None:
    net = flow.Reflow(0)
    config = FitConfig(steps=40, lr=1e-3, warmup=2, bf16=False)
    steps, looked_at = [], []
    for step in flow.train_reflow(net, cloud("moons"), config, 64):
        steps.append(step)
        looked_at.append(next(k for k, one in enumerate(net.rounds, 1) if net.at({"round": 3}) is one))
    assert looked_at == [min(int(step.metrics["round"]), 3) for step in steps], "a look meets no round that has learned nothing"
    assert [step.step for step in steps] == list(range(1, 41)) and {step.total for step in steps} == {40}
    assert [step.metrics["round"] for step in steps] == [1] * 22 + [2] * 8 + [3] * 8 + [4] * 2
    weights = [one.out.weight.detach() for one in (*net.rounds, net.one_step)]
    assert all(0 < float((a - b).abs().max()) < 0.05 for a, b in zip(weights, weights[1:]))  # each goes on from the one before
    z = noise(20, 0, torch.float32)
    options = {"evaluations": 8, "generator": None}
    ends = [list(flow.walk_reflow(net, z, solver="heun", knobs={"round": k}, **options))[-1].x for k in (1, 2, 3)]
    assert torch.equal(ends[1], list(flow.walk(net.rounds[1], z, solver="heun", knobs={}, **options))[-1].x)
    one = list(flow.walk_reflow(net, z, solver="one-step", knobs={"round": 3}, **options))
    assert len(one) == 2 and one[-1].evaluations == 1 and torch.equal(one[-1].x, z + flow.velocity_of(net.one_step)(z, 0.0))
    assert len(flow.report_reflow(net, z, {})["straightness"]) == 3


def test_distillation_takes_the_flow_in_one_step() -> None:
    v = lambda x, t: flow.gaussian_velocity(x, t, torch.tensor(MEAN), STD)  # noqa: E731
    student = PlaneNet(0, width=48)
    loss = lambda batch, g: ((batch[0] + student(batch[0], 0.0) - batch[1]).square().mean(), {})  # noqa: E731
    for _ in guarded(student, loss, flow.Pairs(v, cloud("moons").start, 0, 512), SMALL):
        pass
    z = noise(500, 3, torch.float32)
    end = solve(v, z, evenly(0.0, 1.0, 50), "rk4")
    assert float((z + flow.velocity_of(student)(z, 0.0) - end).square().mean().sqrt()) < 0.03
