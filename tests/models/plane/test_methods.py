"""The contract that every row of the table of methods keeps, whoever wrote it: the lab's runner relies on nothing else."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch

from models.fitting import FitConfig
from models.plane.data import cloud
from models.plane.errors import PlaneError
from models.plane.method import METHODS, Method, PlaneStep, method
from models.plane.mixture import Mixture

N = 48
BROAD = Mixture(torch.tensor([0.4, 0.6]), torch.tensor([[-0.6, 0.3], [0.4, -0.2]]), 0.7 * torch.eye(2).expand(2, 2, 2))


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def nets() -> dict:
    """Every method after six small updates, so that nothing is still exactly zero."""
    made = {}
    for name in METHODS:
        row = method(name)
        net = row.build(0)
        config = FitConfig(steps=6, lr=1e-3, warmup=2, bf16=False, seed=1)
        with torch.no_grad():  # as the worker has it
            steps = list(row.train(net, cloud("moons"), config, 64))
        assert steps[-1].step == steps[-1].total, name
        made[name] = net
    return made


def walk(name: str, nets, solver: str = "", seed: int = 0) -> list[PlaneStep]:
    row = method(name)
    options = {"solver": row.check_solver(solver), "evaluations": 12, "generator": source(seed), "knobs": row.settings({})}
    with torch.no_grad():
        return list(row.walk(nets[name], torch.randn(N, 2, generator=source(9)), **options))


@pytest.mark.parametrize("name", METHODS)
def test_rows_are_complete(name) -> None:
    row = method(name)
    assert isinstance(row, Method) and row.title and row.equation and row.solvers and row.evaluations > 0
    assert row.watch_for.count(". ") == 1 and row.watch_for.endswith("."), "two sentences"
    assert (row.field is None) == (row.field_name == "") and (row.log_density is None) == (row.density_says == "")
    assert len({knob.name for knob in row.knobs}) == len(row.knobs)
    for knob in row.knobs:
        assert knob.lo <= knob.default <= knob.hi and knob.help.endswith(".")
    job_fields = {"data", "solver", "evaluations", "samples", "train_steps", "seed", "back", "exact", "batch_size", "lr", "schedule"}
    for preset in row.presets:
        assert preset.sentence.endswith(".")
        row.settings({name: value for name, value in preset.settings.items() if name not in job_fields})
        row.check_solver(str(preset.settings.get("solver", "")))
        row.with_schedule(str(preset.settings.get("schedule", "")))
    assert not row.schedules or row.levels is not None


@pytest.mark.parametrize("name", METHODS)
def test_walks_lead_from_the_noise_to_a_last_step(name, nets) -> None:
    for solver in method(name).solvers:
        steps = walk(name, nets, solver)
        assert len(steps) > 1 and [step.last for step in steps] == [False] * (len(steps) - 1) + [True]
        assert steps[0].evaluations == 0 and sorted(step.evaluations for step in steps) == [step.evaluations for step in steps]
        assert steps[-1].evaluations > 0
        for step in steps:
            assert step.x.shape == (N, 2) and step.x.dtype == torch.float32 and torch.isfinite(step.x).all() and not step.x.requires_grad
            assert all(isinstance(getattr(step, item.name), int | float | str | bool | torch.Tensor | None) for item in fields(step))
        assert all(step.says for step in steps[1:]), solver
        levels = [step.level for step in steps if step.level == step.level]
        assert levels == sorted(levels, reverse=True), solver


@pytest.mark.parametrize("name", METHODS)
def test_walks_depend_on_noise_and_generator_alone(name, nets) -> None:
    for solver in method(name).solvers:
        a, b, other = walk(name, nets, solver), walk(name, nets, solver), walk(name, nets, solver, seed=1)
        assert torch.equal(a[-1].x, b[-1].x)
        if method(name).ode and solver == method(name).solvers[0]:
            assert torch.equal(a[-1].x, other[-1].x)


@pytest.mark.parametrize("name", METHODS)
def test_a_walk_is_called_noisy_if_and_only_if_it_draws_noise(name, nets) -> None:
    row = method(name)
    turned = [{"eta": 0.5}, {"churn": 20.0}, {"corrections": 1}]
    for given in ({}, *(one for one in turned if set(one) <= {knob.name for knob in row.knobs})):
        for solver in row.solvers:
            generator, knobs = source(), row.settings(given)
            before = generator.get_state()
            with torch.no_grad():
                for _ in row.walk(nets[name], torch.randn(4, 2), solver=solver, evaluations=12, generator=generator, knobs=knobs):
                    pass
            drew = not torch.equal(generator.get_state(), before)
            assert drew == bool(row.noisy and row.noisy(solver, knobs)), (solver, given)
            assert row.walks_alone(solver, knobs) != drew


@pytest.mark.parametrize("name", METHODS)
def test_fields_densities_and_ways_back_have_their_shapes(name, nets) -> None:
    row, net, x = method(name), nets[name], cloud("moons").sample(N, source())
    knobs, options = row.settings({}), {"solver": row.solvers[0], "evaluations": 12, "generator": source()}
    with torch.no_grad():
        if row.field is not None:
            steps = walk(name, nets)
            for step in (steps[0], steps[len(steps) // 2], steps[-1]):
                found = row.field(net, step.x, step.time, knobs)
                assert found.shape == (N, 2) and torch.isfinite(found).all()
        if row.log_density is not None:
            log = row.log_density(net, x, knobs)
            assert log.shape == (N,) and torch.isfinite(log).all() and not log.requires_grad
        assert row.density_at is None or row.log_density is not None
        if row.density_at is not None:
            for time in (0.0, 0.4, 1.0):
                log, whose = row.density_at(net, x, time, knobs)
                assert log.shape == (N,) and torch.isfinite(log).all() and whose
        if row.forward is not None:
            back = list(row.forward(net, x, **options, knobs=knobs))
            assert torch.equal(back[0].x, x) and back[-1].last and torch.isfinite(back[-1].x).all()
        if row.layers is not None:
            layers = list(row.layers(net, x, knobs))
            assert len(layers) > 2 and layers[-1].last and all(step.x.shape == x.shape for step in layers)
        facts = row.report(net, x, knobs) if row.report is not None else {}
        assert facts or row.report is None
        for plot in row.plots(net, facts, knobs) if row.plots is not None else ():
            assert plot.title and plot.x and plot.y and plot.clock in ("", "level", "time") and plot.curves
            assert all(len(points) > 1 and torch.tensor(points).isfinite().all() for points in plot.curves.values())
        if row.parts is not None:
            given = row.settings({"label": 1, "guidance": 3.0})
            whole = row.field(net, x, 0.5, given)
            torch.testing.assert_close(sum(row.parts(net, x, 0.5, given).values()), whole, atol=1e-4, rtol=1e-4)
        if row.chords is not None:
            start, end = row.chords(net, torch.randn(N, 2, generator=source(3)), x, knobs)
            assert start.shape == end.shape == (N, 2)


@pytest.mark.parametrize("name", [name for name in METHODS if method(name).clean])
def test_the_guess_of_the_data_is_the_posterior_mean_at_every_step_of_every_solver(name, nets) -> None:
    """On exact answers, against the mixture's own E[x0 | x] at the signal and noise that the step says; and without noise, x itself."""
    row = method(name)
    net = row.exact(BROAD) if row.exact else nets[name]
    knobs = row.settings({knob.name: -1 for knob in row.knobs if knob.name == "label"})
    for solver in row.solvers:
        options = {"solver": solver, "evaluations": 12, "generator": source(), "knobs": knobs}
        with torch.no_grad():
            for step in row.walk(net, torch.randn(N, 2, generator=source(9)), **options):
                found = row.clean(net, step.x, step.time, knobs)
                wanted = BROAD.denoise(step.x, step.signal, step.noise) if row.exact and step.noise else step.x
                assert found.shape == (N, 2) and torch.isfinite(found).all()
                if row.exact or step.noise == 0:
                    torch.testing.assert_close(found, wanted, atol=2e-3, rtol=1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_a_density_has_the_mass_one(name, nets) -> None:
    row = method(name)
    if row.log_density is None:
        pytest.skip("no density")
    side, reach = 28, 7.0
    at = (torch.arange(side) + 0.5) / side * 2 * reach - reach
    grid = torch.stack(torch.meshgrid(at, at, indexing="ij"), -1).reshape(-1, 2)
    with torch.no_grad():
        net = row.exact(BROAD) if row.exact else nets[name]  # six updates leave a noise predictor's density spread over hundreds of units
        mass = float(row.log_density(net, grid, row.settings({})).double().exp().sum()) * (2 * reach / side) ** 2
    assert mass == pytest.approx(1, abs=0.03)


def test_unknown_names_and_values_are_told() -> None:
    row = method("reflow")
    assert row.settings({"round": 2}) == {"tolerance": 1e-4, "round": 2} and row.settings({})["round"] == 3
    for call, sentence in (
        (lambda: method("refloww"), "There is no method named 'refloww'."),
        (lambda: row.settings({"churn": 1}), "Reflow has no knob named 'churn'."),
        (lambda: row.settings({"round": 9}), "Round cannot be 9."),
        (lambda: row.settings({"round": 1.5}), "Round cannot be 1.5."),
        (lambda: row.check_solver("magic"), "Reflow has no solver named 'magic'."),
    ):
        with pytest.raises(PlaneError) as found:
            call()
        assert found.value.message == sentence and found.value.hint
