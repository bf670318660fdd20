"""The plane lab's runners: what is told agrees with the models, networks are kept, divergence and bad input are told in a sentence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from app import runners
from app.jobs.plane import ComparePlane, Plane, PlaneMethods, read_knobs, read_points, written_knobs
from app.protocol.commands import Cancel, Submit
from app.protocol.errors import UserError
from app.protocol.events import Cancelled, Done, Failed, Preview, Record, Step
from app.protocol.payloads import Image
from app.protocol.plane import PlaneRow
from app.runners import plane_compare, plane_training
from app.runners.plane import REACH, square
from app.runners.plane_picture import SIDE, cells, picture
from app.runners.plane_referee import Referee
from app.worker import loop
from app.worker.mailbox import Mailbox
from models.diffusion import rectified_flow
from models.plane import method as table
from models.plane.data import cloud
from models.plane.method import METHODS, PlaneStep, method
from models.plane.metrics import noised_density, sliced_wasserstein
from models.solvers import SolverError, evenly, integrate

HELD_OUT = 300
SMALL = {"train_steps": 12, "batch_size": 64, "samples": 80, "map_side": 6, "grid": 5, "evaluations": 8, "device": "cpu"}


@pytest.fixture(autouse=True)
def empty_book():
    plane_training.BOOK.clear()


@pytest.fixture(autouse=True)
def small_numbers(monkeypatch):
    """Few points for the parts of a run that are not under test."""
    monkeypatch.setattr("app.runners.plane.HELD_OUT", HELD_OUT)
    monkeypatch.setattr("app.runners.plane.SCORED", 40)
    monkeypatch.setattr("app.runners.plane.REPORTED", 40)
    monkeypatch.setattr(rectified_flow, "PIECE", 32)


def small(**options) -> Plane:
    return Plane(**{**SMALL, **options})


def records(events, channel: str) -> list:
    return [event.payload for event in events if isinstance(event, Record) and event.channel == channel]


def result(events):
    assert isinstance(events[-1], Done), events[-1]
    return events[-1].result


# --- a run ---


def test_a_run_tells_training_moments_field_and_density(drive) -> None:
    events = drive(small())
    (card,), (points,) = records(events, "method"), records(events, "cloud")
    assert card.title == "Flow matching" and points.title == "Moons" and points.xy.shape == (HELD_OUT, 2)
    losses = [loss for chunk in records(events, "train") for loss in chunk]
    assert [loss.step for loss in losses] == list(range(1, 13)) and all(loss.total == 12 and loss.seconds > 0 for loss in losses)
    moments, fields = records(events, "particles"), records(events, "field")
    assert [one.index for one in moments] == [one.index for one in fields] == list(range(5))  # four Heun steps and the start
    assert [one.evaluations for one in moments] == [0, 2, 4, 6, 8] and [one.last for one in moments] == [False] * 4 + [True]
    assert all(one.xy.shape == (80, 2) and one.way == "walk" for one in moments) and "Heun" in moments[1].says
    assert [round(one.time, 2) for one in fields] == [0, 0.25, 0.5, 0.75, 1] and all(one.arrows.shape == (25, 2) for one in fields)
    (density,) = records(events, "density")
    assert density.values.shape == (6, 6) and density.kind == card.density
    assert len([event for event in events if isinstance(event, Step)]) == 12 + 4
    assert records(events, "notice") == [] and records(events, "grid") == []


def test_what_is_told_is_what_the_model_says(drive) -> None:
    job = small(seed=3)
    done = result(drive(job))
    ((page, trained),) = plane_training.BOOK.items()
    row, net = method("flow-matching"), trained.net
    noise = torch.randn(80, 2, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        end = plane_training.last(row.walk(net, noise, solver="heun", evaluations=8, generator=None, knobs={}))
    assert page[0] == "flow-matching" and np.array_equal(done.files["samples.npy"], end.x.numpy())
    held_out = cloud("moons").held_out(HELD_OUT)
    assert np.array_equal(done.files["held_out.npy"], held_out.numpy())
    assert done.facts["sliced_wasserstein"] == pytest.approx(sliced_wasserstein(end.x, held_out))
    assert done.facts["data_distance"] == pytest.approx(sliced_wasserstein(cloud("moons").held_out(80, seed=1), held_out))
    assert done.facts["nll_nats"] == pytest.approx(-float(row.log_density(net, held_out[:40], {}).mean()), abs=1e-5)
    straight, cost = rectified_flow.measures(rectified_flow.velocity_of(net), noise[:40])
    assert (done.facts["straightness"], done.facts["squared_displacement"]) == (pytest.approx(straight), pytest.approx(cost))
    assert done.facts["evaluations"] == 8 and done.facts["updates"] == 12 and done.facts["loss"] == trained.losses[-1].loss


def test_field_and_density_stand_where_they_say(drive) -> None:
    events = drive(small(seed=1))
    net, row = next(iter(plane_training.BOOK.values())).net, method("flow-matching")
    field, density = records(events, "field")[2], records(events, "density")[0]
    assert np.allclose(field.arrows, row.field(net, torch.from_numpy(np.array(field.at)), 0.5, {}).detach().numpy(), atol=1e-6)
    assert np.abs(field.at).max() == pytest.approx(REACH * 0.8)  # centres of 5 x 5 cells over [-3, 3]
    at = torch.tensor([[square(6, REACH)[6 * 4 + 1][0], 1.5]])  # row 4 from below, column 1
    assert at[0].tolist() == [-1.5, 1.5]
    assert density.values[4, 1] == pytest.approx(float(row.log_density(net, at, {})), abs=1e-4)


def test_equal_jobs_give_equal_results_and_another_seed_others(drive) -> None:
    first = result(drive(small())).files["samples.npy"]
    plane_training.BOOK.clear()
    assert np.array_equal(first, result(drive(small())).files["samples.npy"])
    assert not np.array_equal(first, result(drive(small(seed=1))).files["samples.npy"])


def test_another_sampler_costs_no_new_training(drive) -> None:
    drive(small())
    for again in (small(solver="euler"), small(evaluations=3), small(samples=20), small(back=True)):
        events = drive(again)
        assert records(events, "train") == [] and records(events, "particles") and len(plane_training.BOOK) == 1
        assert result(events).facts["updates"] == 12  # of the network, though trained before
    for other in (small(train_steps=11), small(data="rings"), small(lr=0.1), small(method="rectified-flow")):
        assert records(drive(other), "train")
    assert len(plane_training.BOOK) == 5


def test_the_book_forgets_the_oldest(drive, monkeypatch) -> None:
    monkeypatch.setattr(plane_training, "KEPT_NETS", 2)
    for seed in (0, 1, 0, 2):
        drive(small(seed=seed, map_side=0))
    assert [page[2].seed for page in plane_training.BOOK] == [0, 2]


def test_few_moments_of_many_steps_are_kept(drive) -> None:
    moments = records(drive(small(solver="euler", evaluations=100, frames=5, grid=0)), "particles")
    assert [one.evaluations for one in moments] == [0, 25, 50, 75, 100]


def test_a_lattice_walks_along_without_changing_the_particles(drive) -> None:
    plain = drive(small())
    events = drive(small(lattice=4))
    grids, moments = records(events, "grid"), records(events, "particles")
    assert [one.index for one in grids] == [one.index for one in moments] and {one.way for one in grids} == {"grid"}
    assert grids[0].xy[:5].tolist() == [[-3, -3], [-1, -3], [1, -3], [3, -3], [-3, -1]] and all(one.xy.shape == (16, 2) for one in grids)
    assert np.allclose(result(events).files["samples.npy"], result(plain).files["samples.npy"], atol=1e-6)
    net = next(iter(plane_training.BOOK.values())).net
    end = [step.x for step in integrate(rectified_flow.velocity_of(net), torch.tensor(np.array(grids[0].xy)), evenly(0, 1, 4), "heun")][-1]
    assert np.allclose(grids[-1].xy, end, atol=1e-5)


def test_a_row_of_latents_and_a_sketch_walk_along(drive) -> None:
    """The row goes from A to B and lands where the same latents land by themselves; the sketch returns to itself, by way of noise."""
    sketch = ((-1.0, 0.5), (0.0, 0.4), (1.2, -0.3))
    options = {"data": "eight-gaussians", "exact": True, "method": "ddpm", "evaluations": 200, "frames": 5}
    events = drive(small(**options, between=((1.0, 0.0), (0.0, 2.0)), sketch=sketch))
    rows, sketches, moments = (records(events, name) for name in ("between", "sketch", "particles"))
    assert [one.index for one in rows] == [one.index for one in sketches] == [one.index for one in moments]
    assert rows[0].xy.shape == (33, 2) and rows[0].xy[[0, -1]].tolist() == [[1.0, 0.0], [0.0, 2.0]]
    row = method("ddpm")
    net = row.exact(cloud("eight-gaussians").mixture)
    walk = {"solver": "ddim", "evaluations": 200, "generator": None, "knobs": row.settings({})}
    middle = torch.tensor(np.array(rows[0].xy[[16]]))
    assert float(middle.norm()) > 1.0, "not through the middle of the noise"
    assert np.allclose(rows[-1].xy[[16]], plane_training.last(row.walk(net, middle, **walk)).x, atol=1e-4)
    facts = result(events).facts
    assert np.abs(sketches[0].xy - sketches[-1].xy).max() > 0.2, "it went somewhere"
    away = np.linalg.norm(sketches[-1].xy - np.array(sketch), axis=1).mean()
    assert facts["inversion_error"] == pytest.approx(away, rel=1e-3) and away < 0.2
    assert facts["latent_size"] == pytest.approx(float(np.sqrt(np.square(sketches[0].xy).mean())), rel=1e-3)
    turned = records(drive(small(**options, between=((1.2, 0.8), (-1.3, 0.1)), between_data=True)), "between")
    assert np.allclose(turned[-1].xy[[0, -1]], [(1.2, 0.8), (-1.3, 0.1)], atol=0.15)


def test_nothing_walks_along_where_the_walk_draws_noise(drive) -> None:
    extra = {"lattice": 4, "between": ((1.0, 0.0), (0.0, 2.0)), "sketch": ((0.0, 1.0), (1.0, 0.0))}
    for options in ({"method": "vp", "solver": "euler-maruyama"}, {"method": "ddpm", "knobs": ("eta=1",)}):
        events = drive(small(**options, **extra))
        assert not [channel for channel in extra | {"grid": 0} if records(events, channel)]
        assert "inversion_error" not in result(events).facts


def test_a_schedule_is_learned_and_walked(drive) -> None:
    """Another schedule is another network; its card, levels and curves are those of the schedule."""
    drive(small(method="ddpm"))
    events = drive(small(method="ddpm", schedule="linear 0.001 0.1"))
    assert records(events, "train") and len(plane_training.BOOK) == 2
    (card,) = records(events, "method")
    assert "T = 439 links" in card.equation and [one.name for one in card.schedules] == ["linear", "cosine", "hand"]
    row = method("ddpm").with_schedule("linear 0.001 0.1")
    shown = next(plot for plot in records(events, "plot") if plot.title == "Share of the signal").curves
    assert [curve.label for curve in shown] == ["this chain", "DDPM's linear β", "cosine"]
    assert np.allclose(shown[0].y, row.levels()[1][:-1] ** 2) and records(events, "particles")[0].signal < 0.01
    assert not records(drive(small(method="ddpm", schedule="linear 0.001 0.1", evaluations=4)), "train")
    words = ("ddpm:ddim,schedule=cosine 0.008,eta=0", "ddpm")
    shared = {name: SMALL[name] for name in ("train_steps", "batch_size", "device")}
    rows = records(drive(ComparePlane(methods=words, budgets=(4,), **shared)), "row")
    assert [one.method for one in rows] == list(words) and rows[0].distance != rows[1].distance


def test_the_way_back_begins_at_held_out_data(drive) -> None:
    events = drive(small(back=True))
    back = [one for one in records(events, "particles") if one.way == "back"]
    assert np.array_equal(back[0].xy, result(events).files["held_out.npy"][:80]) and back[-1].time == 0 and back[-1].last
    assert result(events).facts["evaluations"] == 8


def test_a_quick_look_is_taken_while_it_trains(drive, monkeypatch) -> None:
    monkeypatch.setattr(plane_training, "LOOK_MS", 0)
    previews = [event for event in drive(small()) if isinstance(event, Preview)]
    assert previews and previews[0].payload.way == "training" and previews[0].payload.xy.shape == (plane_training.LOOKED_AT, 2)
    net = next(iter(plane_training.BOOK.values())).net  # the last look is at the weights that the training leaves: the averaged ones
    noise = torch.randn(plane_training.LOOKED_AT, 2, generator=torch.Generator().manual_seed(0))
    row = method("flow-matching")
    options = {"solver": "heun", "evaluations": row.evaluations, "generator": None, "knobs": row.settings({})}
    with torch.no_grad():
        *_, end = row.walk(net, noise, **options)
    assert np.allclose(previews[-1].payload.xy, end.x, atol=1e-5)
    plane_training.BOOK.clear()
    assert not [event for event in drive(small(), previews=False) if isinstance(event, Preview)]


def test_the_exact_answer_needs_no_training(drive) -> None:
    events = drive(small(data="eight-gaussians", exact=True, samples=400, evaluations=80, method="rectified-flow"))
    done = result(events)
    assert records(events, "train") == [] and done.facts["updates"] == 0 and done.facts["loss"] is None
    assert done.facts["sliced_wasserstein"] < 1.5 * done.facts["data_distance"] + 0.03
    held_out = torch.tensor(done.files["held_out.npy"][:40])
    assert done.facts["nll_nats"] == pytest.approx(-float(cloud("eight-gaussians").mixture.log_density(held_out).mean()), abs=0.02)


def test_of_a_leap_nothing_is_told_that_belongs_to_the_flow_it_does_without(drive) -> None:
    told = {}
    for solver in ("heun", "one-step"):
        events = drive(small(method="reflow", solver=solver, back=True, lattice=3, sketch=((0.0, 1.0),)))
        channels = {event.channel for event in events if isinstance(event, Record)}
        told[solver] = channels & {"field", "clean", "chords", "grid", "sketch", "density"}, result(events).facts
        ways = {moment.way for moment in records(events, "particles")}
        assert ways == ({"walk"} if solver == "one-step" else {"walk", "back"})
    assert not told["one-step"][0] and "nll_nats" not in told["one-step"][1] and told["one-step"][1]["evaluations"] == 1
    assert {"field", "clean", "chords", "grid", "density"} <= told["heun"][0] and "nll_nats" in told["heun"][1]
    entrant = plane_compare.Entrant.read("reflow:one-step")
    assert entrant.row.log_density is None and not entrant.row.ode


def test_knobs_reach_the_walk(drive) -> None:
    ends = [result(drive(small(method="reflow", knobs=(f"round={k}",)))) for k in (1, 3)]
    assert not np.array_equal(ends[0].files["samples.npy"], ends[1].files["samples.npy"]) and len(plane_training.BOOK) == 1
    assert ends[0].facts["settings"] == {"tolerance": 1e-4, "round": 1.0} and len(ends[0].facts["straightness"]) == 3


# --- what stands beside a walk ---


def test_guessed_points_marginals_chords_and_plots_are_told(drive) -> None:
    events = drive(small(method="edm", map_side=8, evaluations=7))
    moments, clean, maps = (records(events, name) for name in ("particles", "clean", "marginal"))
    assert [one.index for one in maps] == [one.index for one in clean] == [one.index for one in moments] == [0, 1, 2, 3, 4]
    assert np.array_equal(clean[-1].xy, moments[-1].xy), "no noise is left, so nothing is to be guessed"
    net, at = next(iter(plane_training.BOOK.values())).net, torch.tensor(np.array(moments[2].xy))
    with torch.no_grad():
        assert np.allclose(clean[2].xy, net(at, moments[2].time), atol=1e-4)
    assert maps[0].reach > 50 * maps[-1].reach and "300 held-out points" in maps[0].kind
    cell = 2 * maps[-1].reach / 8
    assert np.exp(maps[-1].values).sum() * cell**2 == pytest.approx(1, abs=0.02)
    titles = [plot.title for plot in records(events, "plot")]
    assert titles[:2] == ["Coefficients", "Clock of the network"] and "Error of the field" not in titles
    skip = next(curve for curve in records(events, "plot")[0].curves if curve.label == "c_skip")
    assert np.allclose(skip.y, 1 / (1 + skip.x**2))
    (chords,) = records(drive(small()), "chords")
    assert np.allclose(chords.at + chords.arrows, cloud("moons").held_out(HELD_OUT)[: len(chords.at)], atol=1e-6)


@pytest.mark.parametrize("name", ["glow", "cnf"])
def test_a_flow_tells_its_own_density_at_every_moment(drive, name) -> None:
    events = drive(small(method=name))
    moments, maps = records(events, "particles"), records(events, "marginal")
    assert [one.index for one in maps] == [one.index for one in moments] and len(maps) > 8
    net = next(iter(plane_training.BOOK.values())).net
    with torch.no_grad():
        for at in (0, len(maps) // 2, -1):
            wanted, whose = method(name).density_at(net, square(6, REACH), moments[at].time, method(name).settings({}))
            assert maps[at].kind == whose and np.allclose(maps[at].values, wanted.reshape(6, 6), atol=1e-5)
    assert len({one.kind for one in maps}) == len(maps) and records(drive(small(method=name, map_side=0)), "marginal") == []


def test_the_exact_law_judges_the_learned_field_and_draws_the_marginals(drive) -> None:
    """Guidance to one of eight Gaussians: the arrows add up to the field, and the exact field has no error against itself."""
    options = {"data": "eight-gaussians", "method": "classifier-free", "knobs": ("label=2", "guidance=3"), "map_side": 8}
    events = drive(small(**options))
    assert result(events).facts["field_error"] > 0.05 and records(events, "plot")[-1].title == "Error of the field"
    for field, parts in zip(records(events, "field"), records(events, "parts"), strict=True):
        assert [one.name for one in parts] == ["score without a label", "what guidance adds"] and parts[0].index == field.index
    row, net = method("classifier-free"), next(iter(plane_training.BOOK.values())).net
    plain, added = records(events, "parts")[2]
    at = torch.from_numpy(np.array(plain.at))
    whole = row.field(net, at, plain.time, row.settings({"label": 2, "guidance": 3})).numpy()
    assert np.allclose(plain.arrows + added.arrows, whole, atol=1e-5)
    exact = drive(small(**options, exact=True))
    assert "field_error" not in result(exact).facts and records(exact, "marginal")[-1].kind == "noised data, exact"
    law, last = cloud("eight-gaussians").mixture.given(2), records(exact, "marginal")[-1]
    moment = records(exact, "particles")[-1]
    middle = torch.tensor([[-last.reach * 7 / 8, -last.reach * 7 / 8]])
    assert last.values[0, 0] == pytest.approx(float(law.log_density(middle, moment.signal, moment.noise)), rel=1e-4)


def test_a_walk_that_ignores_its_label_is_held_against_all_data(drive) -> None:
    for w, part in ((0.0, False), (1.0, True)):
        options = {"data": "eight-gaussians", "exact": True, "method": "classifier-free", "knobs": ("label=2", f"guidance={w}")}
        done = result(drive(small(**options, samples=300, evaluations=60, map_side=0)))
        spread = done.files["held_out.npy"].std(0).max()
        assert (spread < 0.3) == part and done.facts["sliced_wasserstein"] < 0.25, (w, spread)


def test_an_exact_net_in_the_place_of_a_learned_one_has_no_error() -> None:
    row, points = method("vp"), cloud("eight-gaussians")
    referee = Referee.of(row, points, points.held_out(50), None, exact=False)
    step = PlaneStep(x=points.held_out(50), time=0.4, evaluations=1, last=False, signal=0.5, noise=0.8)
    referee.judge(row, row.exact(points.mixture), step, row.settings({}))
    assert referee.errors == [(0.4, 0.0)]


def test_a_flow_may_start_in_another_cloud(drive) -> None:
    events = drive(small(source="eight-gaussians", map_side=8, train_steps=300, lr=5e-3, samples=300, evaluations=20))
    moments, done = records(events, "particles"), result(events)
    start = cloud("eight-gaussians").sample(300, torch.Generator().manual_seed(0))
    assert all(np.isnan(one.level) for one in moments), "no noise, so no level of noise"
    assert np.array_equal(moments[0].xy, start.numpy()) and "nll_nats" not in done.facts and records(events, "density") == []
    assert done.facts["sliced_wasserstein"] < 0.6 * sliced_wasserstein(start, cloud("moons").held_out(HELD_OUT))
    first, ring = records(events, "marginal")[0], cloud("eight-gaussians").held_out(HELD_OUT, seed=2)
    assert np.allclose(np.exp(first.values), noised_density(ring, 1.0, 0.0, 8, REACH).clamp(min=1e-12), atol=1e-5)
    assert len(plane_training.BOOK) == 1 and records(drive(small(train_steps=300, lr=5e-3)), "train"), "another network than from noise"


# --- what goes wrong ---


def test_a_training_that_diverges_is_told_and_its_last_good_net_walks(drive, monkeypatch) -> None:
    monkeypatch.setattr(rectified_flow, "chord_loss", lambda net, x0, x1, g, s=0.0: (net(x0, 0.5).square().mean() * float("nan"), {}))
    events = drive(small(train_steps=500))
    (notice,) = records(events, "notice")
    done = result(events)
    assert notice.startswith("The training diverged at update 10") and notice in done.facts["notice"]
    assert np.isfinite(done.files["samples.npy"]).all() and done.facts["updates"] == 9


def test_a_walk_that_leaves_the_numbers_keeps_its_last_good_moment(drive, monkeypatch) -> None:
    row = method("flow-matching")

    def walk(net, noise, **options):
        for i, x in enumerate((noise, noise + 1, noise / 0)):
            yield PlaneStep(x=x, time=i / 2, evaluations=i, last=i == 2, says="x", signal=i / 2, noise=1 - i / 2)

    monkeypatch.setattr(rectified_flow, "FLOW_MATCHING", replace(row, walk=walk))
    events = drive(small(map_side=0))
    (notice,) = records(events, "notice")
    done = result(events)
    noise = torch.randn(80, 2, generator=torch.Generator().manual_seed(0))
    assert notice.startswith("80 of 80 particles left the numbers at step 2.") and done.facts["notice"] == notice
    assert np.array_equal(done.files["samples.npy"], (noise + 1).numpy()) and done.facts["evaluations"] == 1


@pytest.mark.parametrize("good", [0, 2])
def test_a_solver_that_gives_up_keeps_what_it_had_if_it_had_anything(drive, monkeypatch, good) -> None:
    def walk(net, noise, **options):
        for i in range(good):
            yield PlaneStep(x=noise + i, time=i / 2, evaluations=i, last=False, says="x")
        raise SolverError("The step fell to nothing.", "Choose a larger tolerance.")

    monkeypatch.setattr(rectified_flow, "FLOW_MATCHING", replace(method("flow-matching"), walk=walk, forward=walk))
    events = drive(small(map_side=0))
    if good:
        noise = torch.randn(80, 2, generator=torch.Generator().manual_seed(0))
        assert np.array_equal(result(events).files["samples.npy"], (noise + 1).numpy()) and len(records(events, "notice")) == 1
    else:
        assert isinstance(events[-1], Failed) and events[-1].report.title == "The step fell to nothing."
    end = drive(ComparePlane(methods=("flow-matching",), budgets=(2,), train_steps=12, batch_size=64, samples=30, device="cpu"))
    assert len(records(end, "notice")) == 2 and records(end, "row") == [] and isinstance(end[-1], Done)


@pytest.mark.parametrize(
    "options, sentence",
    [
        ({"method": "cnf", "knobs": ("tolerance=1e-9",)}, "Tolerance cannot be 1e-09."),
        ({"solver": "dopri5", "knobs": ("tolerance=1e-8",)}, "Tolerance cannot be 1e-08."),
        ({"method": "magic"}, "There is no method named 'magic'."),
        ({"data": "magic"}, "There is no cloud named 'magic'."),
        ({"solver": "magic"}, "Flow matching has no solver named 'magic'."),
        ({"knobs": ("churn=4",)}, "Flow matching has no knob named 'churn'."),
        ({"knobs": ("churn",)}, "'churn' is no knob."),
        ({"method": "reflow", "knobs": ("round=nan",)}, "Round cannot be nan."),
        ({"method": "ddpm", "schedule": "linear 1"}, "The schedule 'linear' takes 2 numbers, not 1."),
        ({"schedule": "cosine"}, "Flow matching has no noise schedule to set."),
        ({"between": ((0.0, 1.0),)}, "A row lies between two latents, not 1."),
        ({"sketch": ((0.0, 1e7), (1.0, 0.0))}, "A point lies at 1e+07, too far from the data."),
        ({"points": ((0.0, 1.0),) * 19}, "A cloud of 19 points is too small."),
        ({"points": ((0.0, 1.0),) * 30}, "All points of the cloud lie in the same place."),
        ({"source": "rings", "method": "vp"}, "VP starts in noise only."),
        ({"source": "magic"}, "There is no cloud named 'magic'."),
        ({"source": "rings", "data": "eight-gaussians", "exact": True}, "The exact flow from one cloud to another is not known."),
        ({"exact": True}, "The exact law of moons is not known."),
        ({"exact": True, "method": "reflow", "data": "eight-gaussians"}, "Reflow has no exact answer."),
        ({"picture": Image(np.full((9, 9, 3), 30, np.uint8))}, "The picture has one shade only"),
    ],
)
def test_bad_input_is_told_in_a_sentence(drive, options, sentence) -> None:
    end = drive(small(**options))[-1]
    assert isinstance(end, Failed) and end.report.kind == "user" and end.report.title.startswith(sentence) and end.report.hint


def test_points_that_are_no_numbers_make_no_job() -> None:
    with pytest.raises(UserError, match="finite"):
        small(points=((0.0, 1.0),) * 30 + ((float("nan"), 0.0),))


def test_own_clouds_are_learned(drive) -> None:
    spread = tuple((float(10 * i), float(i % 7)) for i in range(40))
    done = result(drive(small(points=spread)))
    assert done.facts["cloud"] == "Drawn cloud" and done.facts["centre"][0] == pytest.approx(195)
    shades = np.full((40, 40, 3), 255, np.uint8)
    shades[20:, :20] = 0
    done = result(drive(small(picture=Image(shades))))
    lower_left = done.files["held_out.npy"] * done.facts["scale"] + np.array(done.facts["centre"])
    assert done.facts["cloud"] == "Picture" and lower_left.max() < 20.1


def test_closing_at_any_moment_leaves_torch_as_it_was() -> None:
    for turns in (3, 9, 18, 27):  # a run has at least 31
        mailbox = Mailbox()
        worker = loop.GpuWorker(mailbox, runners.runner)
        worker.post(Submit(run_id=1, job=small(seed=turns)))
        for _ in range(turns):
            worker.turn()
        worker.post(Cancel(run_id=1))
        while worker.turn():
            pass
        assert isinstance(mailbox.drain()[0][-1], Cancelled) and len(plane_training.BOOK) <= (turns > 12)  # nothing half trained
        plane_training.BOOK.clear()
    assert torch.is_grad_enabled()


# --- tables, words, picture ---


def test_the_tables_list_every_method_and_cloud(drive) -> None:
    files = result(drive(PlaneMethods())).files
    assert [card.name for card in files["methods"]] == list(METHODS) and len(files["clouds"]) == 6
    assert {one.name for one in files["clouds"] if one.exact} == {"eight-gaussians"}
    reflow = next(card for card in files["methods"] if card.name == "reflow")
    assert [knob.name for knob in reflow.knobs] == ["tolerance", "round"] and reflow.field == "velocity"
    assert reflow.backwards and not reflow.exact


def test_knobs_and_points_are_read_as_written() -> None:
    assert read_knobs(written_knobs({"churn": 40, "eta": 0.25})) == {"churn": 40.0, "eta": 0.25}
    assert read_points("1,2\n\n 3 -4 \n", "x") == ((1.0, 2.0), (3.0, -4.0))
    with pytest.raises(UserError, match=r"Line 2 of cloud\.csv is no point"):
        read_points("1,2\n3\n", "cloud.csv")


def test_the_picture_shows_points_where_they_are() -> None:
    samples = np.full((500, 2), (1.5, -1.5), np.float32)
    shown = picture(samples, np.zeros((100, 2), np.float32), np.zeros((2, 5, 2), np.float32), "caption").pixels
    column, row = cells(np.array([1.5, -1.5])).round().astype(int)
    assert (column, row) == (SIDE * 3 // 4, SIDE * 3 // 4)
    left, top = 24, 48
    assert shown[top + row, left + column].tolist() != [255] * 3 and shown[top + SIDE // 4, left + SIDE // 4].tolist() == [255] * 3


# --- the comparison desk ---


def test_the_desk_shows_the_orders_of_euler_and_heun(drive) -> None:
    words = ("rectified-flow:euler", "rectified-flow:heun")
    job = ComparePlane(data="eight-gaussians", methods=words, exact=True, budgets=(16, 32, 64), samples=200, device="cpu")
    events = drive(job)
    rows, facts = records(events, "row"), result(events).facts
    assert [(row.method, row.evaluations) for row in rows] == [(name, n) for name in words for n in (16, 32, 64)]
    assert facts["slopes"]["rectified-flow:euler"] == pytest.approx(1, abs=0.2)
    assert facts["slopes"]["rectified-flow:heun"] == pytest.approx(2, abs=0.6)
    noise = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
    net = method("rectified-flow").exact(cloud("eight-gaussians").mixture)
    walk = method("rectified-flow").walk
    last = plane_training.last
    ends = [last(walk(net, noise, solver=s, evaluations=n, generator=None, knobs={})).x for s, n in (("euler", 32), ("rk4", 256))]
    assert rows[1].distance == pytest.approx(float((ends[0] - ends[1]).norm(dim=1).mean()), rel=1e-4)
    assert rows[1].wasserstein == pytest.approx(sliced_wasserstein(ends[0], cloud("eight-gaussians").held_out(10_000)))
    assert "Order of the distance" in facts["table"] and result(events).files["rows.csv"].count("\n") == 7


def test_an_order_needs_two_numbers_of_evaluations():
    """A solver that chooses its steps itself takes as many whatever the budget."""

    def rows(*evaluations):
        return [PlaneRow(method="edm:x", solver="x", evaluations=n, wasserstein=1.0, distance=1 / n**2, seconds=0.1) for n in evaluations]

    assert plane_compare.slope_of(rows(56, 56, 56)) is None and plane_compare.slope_of(rows(8)) is None
    assert plane_compare.slope_of(rows(8, 16)) == pytest.approx(2.0)


def test_the_desk_shares_the_book_and_reads_settings(drive) -> None:
    drive(small())
    shared = {name: SMALL[name] for name in ("train_steps", "batch_size", "device")}
    events = drive(ComparePlane(methods=("flow-matching:euler", "reflow:round=1"), budgets=(2,), samples=30, **shared))
    assert [page[0] for page in plane_training.BOOK] == ["flow-matching", "reflow"] and len(records(events, "row")) == 2
    entrant = plane_compare.Entrant.read("reflow:one-step,round=2")
    assert (entrant.solver, entrant.knobs) == ("one-step", {"tolerance": 1e-4, "round": 2.0})
    for words in (("reflow:euler,heun",), ("reflow:x=",), ("magic",), ()):
        end = drive(ComparePlane(methods=words, **shared))[-1]
        assert isinstance(end, Failed) and end.report.kind == "user"


def test_new_rows_need_nothing_here(drive, monkeypatch) -> None:
    """A row added to the table runs through the same runner."""
    monkeypatch.setitem(table.METHODS, "twin", "models.diffusion.rectified_flow:RECTIFIED_FLOW")
    assert np.array_equal(
        result(drive(small(method="twin"))).files["samples.npy"], result(drive(small(method="rectified-flow"))).files["samples.npy"]
    )
