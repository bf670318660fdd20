"""The flows as rows of the plane lab: what their walks yield, that they lead back, and that a little training already helps."""

import pytest
import torch

from models.fitting import FitConfig
from models.flows import plane
from models.flows.coupling import ActNorm
from models.plane.data import cloud
from models.plane.errors import DivergedError, PlaneError
from models.plane.method import method
from models.solvers import final

COUPLINGS, ALL = ("realnvp", "glow", "nice", "nice-two"), ("realnvp", "glow", "nice", "cnf")


def noise(n=64):
    return torch.randn(n, 2, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module", params=ALL)
def trained(request):
    """A row, its net after a few updates, and what they did to the negative log-likelihood of held-out points."""
    row, points = method(request.param), cloud("moons")
    net, held_out = row.build(0), points.held_out(500)
    config = FitConfig(steps=20, lr=3e-3, warmup=1, weight_decay=0.0, ema=0.5, bf16=False, seed=3)
    with torch.no_grad():  # as the runner calls it
        before = -row.log_density(net, held_out, row.settings({})).mean().item()
        steps = list(row.train(net, points, config, 128))
        after = -row.log_density(net, held_out, row.settings({})).mean().item()
    return request.param, row, net, (before, after, steps[-1].metrics["nll"])


def way(row, net, start, name="walk", solver="", evaluations=None, **changes):
    options = {"solver": row.check_solver(solver), "evaluations": evaluations or row.evaluations, "generator": torch.Generator()}
    with torch.no_grad():
        return list(getattr(row, name)(net, start, knobs=row.settings(changes), **options))


def test_training_lowers_the_loss_and_leaves_a_set_actnorm(trained):
    name, _, net, (before, after, told) = trained
    assert after < before - 0.02 and told == pytest.approx(after, abs=0.3)
    norms = [m for m in net.modules() if isinstance(m, ActNorm)]
    assert (len(norms) > 0) == (name == "glow") and all(bool(m.initialised) for m in norms)
    assert all(p.isfinite().all() for p in net.parameters())


def test_a_walk_begins_with_the_noise_and_the_way_back_ends_with_it(trained):
    _, row, net, _ = trained
    steps = way(row, net, noise())
    assert torch.equal(steps[0].x, noise()) and steps[0].evaluations == 0 and steps[0].time == 1
    assert [step.last for step in steps] == [False] * (len(steps) - 1) + [True]
    assert steps[-1].time == 0 and all(a.time > b.time for a, b in zip(steps, steps[1:]))
    assert all(a.evaluations <= b.evaluations for a, b in zip(steps, steps[1:])) and steps[-1].evaluations > 0
    assert all(step.says for step in steps[1:])
    back = way(row, net, steps[-1].x, "forward")
    assert back[0].time == 0 and back[-1].time == 1
    assert (back[-1].x - noise()).abs().max() < 2e-3  # the continuous flow's tolerance is 1e-4


def test_log_densities_belong_to_the_walk(trained):
    """The mass near a sample: the density there equals the noise's times the change of volume that the walk itself makes."""
    _, row, net, _ = trained
    knobs = row.settings({})
    start = noise(5).double()
    net = row.build(0).double()
    net.load_state_dict(trained[2].state_dict())

    def carried(z):
        with torch.no_grad():
            return way(row, net, z)[-1].x

    h = 1e-4
    columns = [(carried(start + h * e) - carried(start - h * e)) / (2 * h) for e in torch.eye(2, dtype=torch.float64)]
    log_volume = torch.stack(columns, 2).det().abs().log()
    wanted = torch.distributions.Normal(0, 1).log_prob(start).sum(1) - log_volume
    with torch.no_grad():
        assert torch.allclose(row.log_density(net, carried(start), knobs), wanted, atol=2e-2)


def test_the_density_of_every_moment_is_that_of_the_walk(trained):
    """log N(z) less the change of volume that the walk has made by then; from noise to data it ends at the flow's own density."""
    _, row, _, _ = trained
    knobs, start = row.settings({}), noise(5).double()
    net = row.build(0).double()
    net.load_state_dict(trained[2].state_dict())

    def moments(z):
        return way(row, net, z, **({"tolerance": 1e-6} if "tolerance" in knobs else {}))

    h, middle = 1e-4, moments(start)
    turned = [[(a.x - b.x) / (2 * h) for a, b in zip(moments(start + h * e), moments(start - h * e))] for e in torch.eye(2).double()]
    prior = torch.distributions.Normal(0, 1).log_prob(start).sum(1)
    words = set()
    with torch.no_grad():
        for step, columns in list(zip(middle, zip(*turned)))[:: max(1, len(middle) // 6)] + [(middle[-1], [way[-1] for way in turned])]:
            found, whose = row.density_at(net, step.x, step.time, knobs)
            wanted = prior - torch.stack(list(columns), 2).det().abs().log()
            torch.testing.assert_close(found, wanted, atol=5e-3, rtol=0)
            words.add(whose)
        torch.testing.assert_close(found, row.log_density(net, middle[-1].x, knobs), atol=5e-3, rtol=0)
    assert len(words) > 4 and all("the flow's own density" in one for one in words)
    assert row.density_at(net, start, 1.0, row.settings({"temperature": 0.5}))[1].endswith("at temperature 1")


def test_temperature_scales_the_noise(trained):
    _, row, net, _ = trained
    cold = way(row, net, noise(), temperature=0.0)[-1].x
    assert (cold - cold[0]).abs().max() < 1e-5
    assert torch.equal(way(row, net, noise(), temperature=0.5)[0].x, 0.5 * noise())
    with pytest.raises(PlaneError, match="Temperature"):
        row.settings({"temperature": 3.0})


def test_reports_tell_how_exact_the_inverse_is(trained):
    name, row, net, _ = trained
    facts = row.report(net, noise(), row.settings({}))
    assert 0 <= facts["inverse_error"] < (1e-3 if name == "cnf" else 1e-4)
    if name == "nice":
        spectrum = facts["scaling_spectrum"]
        assert spectrum == sorted(spectrum, reverse=True) and len(spectrum) == 2
    if name == "cnf":
        assert facts["evaluations_forward"] > 6 and 0 < facts["hutchinson_error"] < 5
        assert facts["solver_times"][-1] == 0 and sum(facts["solver_steps"]) == pytest.approx(1)
        steps, trace = row.plots(net, facts, row.settings({}))
        assert steps.clock == trace.clock == "time" and steps.curves["noise to data"][0] == (1.0, facts["solver_steps"][0])
        moments, (times, values) = way(row, net, noise()[:1]), zip(*trace.curves["exact"])
        at = len(moments) // 2
        jacobian = torch.autograd.functional.jacobian(lambda x: net.field(x, moments[at].time)[0], moments[at].x)[:, 0]
        assert times[at] == moments[at].time and values[at] == pytest.approx(jacobian.trace().item(), abs=1e-4)
        one = [y for _, y in trace.curves["one probe"]]
        both = jacobian[0, 1] + jacobian[1, 0]  # for a probe of signs, e^T J e is the trace plus or minus these
        assert min(abs(one[at] - values[at] - sign * both.item()) for sign in (-1, 1)) < 1e-4


@pytest.mark.parametrize("name", COUPLINGS)
def test_a_grid_is_warped_layer_by_layer(name):
    row = method(name)
    net = row.build(0)
    grid = torch.cartesian_prod(torch.linspace(-2, 2, 5), torch.linspace(-2, 2, 5))
    steps = list(row.layers(net, grid, row.settings({})))
    assert len(steps) == len(net.layers) + 1 and torch.equal(steps[0].x, grid)
    assert steps[-1].last and row.field is None


@pytest.mark.parametrize("solver", ["dopri5", "rk4"])
def test_moments_of_the_continuous_flow_lie_on_its_way(solver):
    row = method("cnf")
    net = row.build(2)
    steps = way(row, net, noise(8), solver=solver, evaluations=160, tolerance=1e-5)
    assert len(steps) == plane.FRAMES + 1
    for step in steps[1::7]:
        with torch.no_grad():
            exact = final(net.steps(noise(8), 1.0, step.time, tolerance=1e-6)).x[:, :-1]
        assert (step.x - exact).abs().max() < 1e-4


def test_the_continuous_flows_arrows_point_the_way_particles_go():
    row = method("cnf")
    net = row.build(2)
    a, b = way(row, net, noise(8))[19:21]
    with torch.no_grad():
        arrows = row.field(net, (a.x + b.x) / 2, (a.time + b.time) / 2, row.settings({}))
    assert torch.allclose((b.x - a.x) / (a.time - b.time), arrows, atol=1e-2)
    assert (arrows.norm(dim=1) > 0.05).any()


def test_probes_change_the_estimate_and_not_its_mean():
    row = method("cnf")
    net, x = row.build(2), noise(400)
    with torch.no_grad():
        exact, one, many = (row.log_density(net, x, row.settings({"probes": k})) for k in (0, 1, 32))
    assert (one - exact).std() > 2 * (many - exact).std() > 0
    assert (many - exact).mean().abs() < 4 * (many - exact).std() / 20


def test_a_field_grown_wild_ends_the_training_with_a_sentence():
    row = method("cnf")
    net, first = row.build(0), row.build(0)
    config = FitConfig(steps=400, lr=100.0, warmup=1, weight_decay=0.0, ema=0.5, bf16=False)
    with pytest.raises(DivergedError, match="The training cannot go on") as found:
        list(row.train(net, cloud("moons"), config, 32))
    assert "The weights of update 0 are kept" in found.value.hint
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), first.parameters()))


def test_a_field_that_explodes_is_said_and_not_shown():
    row = method("cnf")
    net = row.build(0)
    net.field.layers[-1].linear.weight.data.fill_(float("nan"))
    with pytest.raises(DivergedError, match="cannot begin"):
        way(row, net, noise(4))
    with pytest.raises(PlaneError, match="Tolerance cannot be 1e-09"):
        row.settings({"tolerance": 1e-9})
