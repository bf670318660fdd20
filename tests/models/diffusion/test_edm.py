"""The EDM table: every row is the same denoiser, its targets and scales are what they claim, its walks have their order."""

import math
from collections import deque

import pytest
import torch

from models.diffusion import edm as framework
from models.diffusion import samplers, sde
from models.diffusion.edm import FORMULAS, Churn, ExactDenoiser, Preconditioned, grid, log_likelihood, rates, velocity_of, walk, walk_own
from models.diffusion.noise_model import ExactNoise
from models.diffusion.schedule import SCHEDULES, NoiseSchedule
from models.plane.metrics import sliced_wasserstein, slope
from models.plane.mixture import Mixture
from tests.models.diffusion.plane_cases import TWO, assert_same_law, normal, seeded

ROWS = [framework.EDM, framework.NOISE_ROW, framework.V_ROW, framework.VE_ROW, framework.FLOW_ROW]
EXACT = ExactDenoiser(TWO)


def levels(formula, n=9):
    return torch.logspace(math.log10(formula.sigma_min), math.log10(formula.sigma_max), n, dtype=torch.float64)[:, None]


def last(steps):
    return deque(steps, maxlen=1)[0]


# --- the table ---


@pytest.mark.parametrize("name", FORMULAS)
def test_targets_lead_to_the_data_and_back(name):
    """D built from the target is x0; and from any F, the target of its D is F again."""
    formula = FORMULAS[name]()
    sigma, x0 = levels(formula), normal(9)
    y = x0 + sigma * normal(9, seed=1)
    target = formula.target(x0, y, sigma)
    torch.testing.assert_close(formula.skip(sigma) * y + formula.out(sigma) * target, x0, atol=1e-10, rtol=1e-10)
    F = normal(9, seed=2)
    D = formula.skip(sigma) * y + formula.out(sigma) * F
    torch.testing.assert_close(formula.target(D, y, sigma), F, atol=1e-8, rtol=1e-8)


@pytest.mark.parametrize(
    ("name", "named"),
    [
        ("ddpm", lambda x0, eps, sigma: eps),
        ("v", lambda x0, eps, sigma: (eps - sigma * x0) / (1 + sigma**2).sqrt()),  # sqrt(ab) eps - sqrt(1 - ab) x0
        ("ve", lambda x0, eps, sigma: -eps),
        ("flow", lambda x0, eps, sigma: eps - x0),
        ("edm", lambda x0, eps, sigma: (0.5**2 * -eps + sigma * x0) / (0.5 * (sigma**2 + 0.5**2).sqrt())),
    ],
)
def test_each_row_predicts_what_it_is_named_after(name, named):
    formula = FORMULAS[name]()
    sigma, x0, eps = levels(formula), normal(9), normal(9, seed=1)
    torch.testing.assert_close(formula.target(x0, x0 + sigma * eps, sigma), named(x0, eps, sigma), atol=1e-10, rtol=1e-9)


@pytest.mark.parametrize("sd", [0.5, 1.0])
def test_edms_input_and_target_have_unit_variance(sd):
    """At every level, for data of deviation sd; and its weight is the paper's."""
    formula, n = framework.edm(sd), 200_000
    for sigma in (0.005, 0.3, 1.0, 40.0):
        level = torch.full((1, 1), sigma, dtype=torch.float64)
        x0 = sd * normal(n)
        y = x0 + sigma * normal(n, seed=1)
        assert float(formula.target(x0, y, level).var()) == pytest.approx(1, abs=0.01)
        assert float((formula.scale(level) * y).var()) == pytest.approx(1, abs=0.01)
        assert float(formula.weight(level)) == pytest.approx((sigma**2 + sd**2) / (sigma * sd) ** 2)


@pytest.mark.parametrize("name", FORMULAS)
def test_time_and_sigma_lead_back_to_each_other(name):
    formula = FORMULAS[name]()
    sigma = levels(formula)
    torch.testing.assert_close(formula.sigma(formula.time(sigma)), sigma, atol=1e-9, rtol=1e-7)


@pytest.mark.parametrize("name", FORMULAS)
def test_training_levels_and_clock_suit_the_network(name):
    """Drawn levels lie where walks go; the clock the network is told is a few units long (not an index of hundreds)."""
    formula = FORMULAS[name]()
    drawn = formula.draw(4000, seeded())
    assert drawn.shape == (4000,) and bool((drawn > 0).all()) and bool(drawn.isfinite().all())
    assert float(drawn.quantile(0.01)) < 0.2 and float(drawn.quantile(0.99)) > 0.8
    assert float(formula.clock(levels(formula)).abs().max()) < 6


def test_edm_draws_a_log_normal():
    log = framework.edm().draw(10_000, seeded()).log()
    assert float(log.mean()) == pytest.approx(-1.2, abs=0.02) and float(log.std()) == pytest.approx(1.2, abs=0.02)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_derivatives_are_the_curves(name):
    formula, h = FORMULAS[name](), 1e-6
    for t in formula.time(torch.tensor([0.1, 1.0, 5.0], dtype=torch.float64)).tolist():
        _, _, ds, dsigma = rates(formula, t)
        plus, minus = (torch.tensor(t + k * h, dtype=torch.float64) for k in (1, -1))
        assert ds == pytest.approx(float((formula.signal(plus) - formula.signal(minus)) / (2 * h)), rel=1e-5, abs=1e-7)
        assert dsigma == pytest.approx(float((formula.sigma(plus) - formula.sigma(minus)) / (2 * h)), rel=1e-5)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_network_answers_by_the_formula(name):
    """float32, a batch with a level for each point, labels; both halves in one batch equal two passes."""
    formula, y = FORMULAS[name](), normal(5).float()
    net, sigma = Preconditioned(formula, 0), levels(formula, 5)
    label = torch.tensor([0, 1, 2, 8, 8])
    column = sigma.float()
    F = net.net(formula.scale(column) * y, formula.clock(column), label)
    torch.testing.assert_close(net(y, sigma[:, 0], label), formula.skip(column) * y + formula.out(column) * F)
    null, cond = net.both(y, 0.7, 1)
    torch.testing.assert_close(null, net(y, 0.7), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(cond, net(y, 0.7, 1), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(null, cond, atol=1e-4)


# --- one ODE under every name ---


@pytest.mark.parametrize("name", FORMULAS)
def test_every_row_walks_the_same_lines(name):
    """Solved finely in its own scale and time, from the same y at the same level: the same end as in (y, sigma)."""
    formula, y = FORMULAS[name](), 5 * normal(40)
    sigmas = torch.logspace(math.log10(5), math.log10(0.05), 200, dtype=torch.float64)
    times = formula.time(sigmas).tolist()
    start = float(formula.signal(torch.tensor(times[0], dtype=torch.float64)))
    own = last(walk_own(formula, EXACT, start * y, times, "rk4"))
    plain = last(walk(EXACT, y, sigmas.tolist(), seeded()))
    torch.testing.assert_close(own.x / own.signal, plain.x, atol=2e-4, rtol=0)
    assert own.level == pytest.approx(plain.level)


def test_the_ode_in_vps_own_time_is_the_probability_flow():
    """Equation 81 with VP's curves against `f - g^2 score / 2`."""
    vp, formula, x = sde.vp(), framework.ddpm(), normal(30)
    theirs = sde.flow_of(vp, sde.score_of(vp, ExactNoise(TWO)))
    for t in (0.05, 0.4, 0.9):
        torch.testing.assert_close(velocity_of(formula, EXACT)(x, t), theirs(x, t), atol=1e-8, rtol=1e-8)


def test_euler_is_ddim_and_heun_is_the_sampler_of_pictures():
    """To 1e-6 and better, on the levels of EDM's grid."""
    y, sigmas = 80 * normal(20), torch.tensor(grid(12), dtype=torch.float64)
    for order, name in ((1, "ddim"), (1, "euler"), (2, "heun")):
        theirs = [s.x_next for s in samplers.SAMPLERS[name].function(EXACT, y, sigmas, noise=None, eta=0.0)]
        ours = [s.x for s in walk(EXACT, y, grid(12), seeded(), order=order)]
        for a, b in zip(ours[1:], theirs, strict=True):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-9)


def test_the_grid_is_the_papers():
    levels = grid(18)
    assert levels[0] == pytest.approx(80) and levels[-2] == pytest.approx(0.002) and levels[-1] == 0 and len(levels) == 19
    i = 5
    assert levels[i] == pytest.approx((80 ** (1 / 7) + i / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7)
    schedule = NoiseSchedule.linear()
    assert grid(18, schedule.sigma_max, schedule.sigma_min) == pytest.approx(SCHEDULES["karras"](schedule, 18).tolist())
    assert grid(1) == pytest.approx([80.0, 0.0])


# --- walks ---


@pytest.mark.parametrize(("order", "solver"), [(1, "euler"), (2, "heun")])
def test_the_order_of_convergence(order, solver):
    """Error against a fine solution on the exact mixture, levels 20 .. 0.05, in sigma and in a row's own time."""
    y, formula = 20 * normal(60, seed=4), framework.flow()
    counts = [40, 80, 160] if order == 1 else [20, 40, 80]

    def levels_of(n):
        return framework.karras_grid(20.0, 0.05, n + 1).tolist()

    def own(n, kind=solver):
        times = formula.time(torch.tensor(levels_of(n), dtype=torch.float64)).tolist()
        start = float(formula.signal(torch.tensor(times[0], dtype=torch.float64)))
        end = last(walk_own(formula, EXACT, start * y, times, kind))
        return end.x / end.signal

    reference = own(250, "rk4")
    plain = [float((last(walk(EXACT, y, levels_of(n), seeded(), order=order)).x - reference).norm(dim=1).mean()) for n in counts]
    assert slope(counts, plain) == pytest.approx(order, abs=0.2)
    assert slope(counts, [float((own(n) - reference).norm(dim=1).mean()) for n in counts]) == pytest.approx(order, abs=0.2)


def test_heun_takes_2n_minus_1_evaluations_and_none_at_0():
    asked, answers = [], []

    def denoise(y, sigma):
        asked.append(sigma)
        answers.append(EXACT(y, sigma))
        return answers[-1]

    steps = list(walk(denoise, 80 * normal(5), grid(10), seeded()))
    assert len(asked) == steps[-1].evaluations == 19 and min(asked) > 0
    assert bool(steps[-1].x.isfinite().all()) and steps[-1].last and steps[-1].noise == 0
    torch.testing.assert_close(steps[-1].x, answers[-1])  # the last step lands on D


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("churn", [0.0, 20.0])
def test_walks_end_in_the_data_with_and_without_churn(order, churn):
    n, steps = 4000, 160
    end = last(walk(EXACT, 80 * normal(n), grid(steps), seeded(1), order=order, churn=Churn(amount=churn)))
    assert_same_law(end.x, TWO.sample(n, seeded(9))[0])


def test_churn_raises_the_variance_to_the_new_level():
    """From y at level sigma to level sigma (1 + gamma): the law of that level, not more and not less."""
    sigma, n = 0.3, 4000
    y = TWO.at(1.0, sigma).sample(n, seeded(2))[0]
    share = Churn(amount=1e9).share(sigma, 20)
    assert share == math.sqrt(2) - 1
    raised, level = framework.churned(y, sigma, share, 1.0, seeded(3))
    assert level == pytest.approx(sigma * math.sqrt(2))
    assert_same_law(raised, TWO.at(1.0, level).sample(n, seeded(9))[0])
    added = float((raised - y).var())
    assert added == pytest.approx(level**2 - sigma**2, rel=0.05)


def test_churn_stays_within_its_levels():
    churn = Churn(amount=10, low=0.05, high=50)
    assert churn.share(80.0, 40) == 0 and churn.share(0.01, 40) == 0 and churn.share(1.0, 40) == 0.25
    plain = last(walk(EXACT, 80 * normal(5), grid(10), seeded()))
    outside = last(walk(EXACT, 80 * normal(5), grid(10), seeded(), churn=Churn(amount=10, low=100.0, high=200.0)))
    assert torch.equal(plain.x, outside.x)


def test_the_presets_tell_the_truth():
    """A wrong start ends wrong, and churn repairs it; Heun beats Euler at 39 evaluations and loses at 9. On the exact mixture."""
    row, truth, noise = framework.EDM, TWO.sample(2000, seeded(9))[0], normal(2000)

    def end(preset):
        settings = {"evaluations": 40} | preset.settings  # a preset with a tolerance names no number
        knobs = row.settings({name: value for name, value in settings.items() if name not in ("solver", "evaluations")})
        options = {"solver": settings["solver"], "evaluations": settings["evaluations"], "generator": seeded(1), "knobs": knobs}
        return last(row.walk(EXACT, noise, **options)).x

    ends = {preset.title: end(preset) for preset in row.presets}
    assert sliced_wasserstein(ends["Churn repairs"], truth) < 0.5 * sliced_wasserstein(ends["Wrong start"], truth)
    fine = last(walk(EXACT, 80 * noise, grid(150), seeded())).x

    def error(solver, evaluations):
        end = last(row.walk(EXACT, noise, solver=solver, evaluations=evaluations, generator=seeded(), knobs=row.settings({})))
        return float((end.x - fine).norm(dim=1).mean())

    assert error("heun", 39) < error("euler", 39) and error("heun", 9) > error("euler", 9)
    assert (ends["To a tolerance"] - fine).norm(dim=1).mean() < error("euler", 39)


# --- likelihood ---


def test_the_likelihood_is_the_mixtures():
    x = TWO.sample(200, seeded(5))[0]
    for solver in ("dopri5", "rk4"):
        found, evaluations = log_likelihood(EXACT, x, 0.002, 80.0, solver=solver)
        torch.testing.assert_close(found, TWO.log_density(x, 1.0, 0.002), atol=0.01, rtol=0)
        assert evaluations > 30
    sharp = Mixture(torch.ones(1), torch.tensor([[1.0, -0.5]]), 0.05**2 * torch.eye(2)[None])
    found, _ = log_likelihood(ExactDenoiser(sharp), sharp.means, 0.002, 80.0)
    assert float(found) == pytest.approx(float(sharp.log_density(sharp.means, 1.0, 0.002)), abs=0.02)


def test_it_agrees_with_the_sdes_likelihood():
    x, vp = TWO.sample(100, seeded(6))[0], sde.vp()
    theirs, _ = sde.log_likelihood(vp, sde.score_of(vp, ExactNoise(TWO)), x)
    torch.testing.assert_close(log_likelihood(EXACT, x, 0.0105, 80.0)[0], theirs, atol=0.01, rtol=0)


# --- against diffusers ---


def test_preconditioning_equals_diffusers():
    diffusers = pytest.importorskip("diffusers")
    theirs, formula = diffusers.EDMEulerScheduler(sigma_data=0.5), framework.edm(0.5)
    sigma, y, F = levels(formula), normal(9), normal(9, seed=1)
    torch.testing.assert_close(formula.scale(sigma) * y, theirs.precondition_inputs(y, sigma), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(formula.clock(sigma), theirs.precondition_noise(sigma), atol=1e-5, rtol=1e-5)
    D = formula.skip(sigma) * y + formula.out(sigma) * F
    torch.testing.assert_close(D, theirs.precondition_outputs(y, F, sigma), atol=1e-5, rtol=1e-5)
    theirs.set_timesteps(18)
    torch.testing.assert_close(torch.tensor(grid(18)), theirs.sigmas, atol=1e-5, rtol=1e-5)
    assert theirs.init_noise_sigma == pytest.approx(math.sqrt(80**2 + 1))  # the paper, and we, start at 80


@pytest.mark.parametrize("churn", [0.0, 5.0])
def test_euler_steps_equal_diffusers(monkeypatch, churn):
    """`EDMEulerScheduler.step` on a network of ours, with churn of equal noise."""
    diffusers = pytest.importorskip("diffusers")
    formula = framework.edm(0.5)
    net = Preconditioned(formula, 0).requires_grad_(False)
    theirs, drawn = diffusers.EDMEulerScheduler(sigma_data=0.5), seeded(1)
    monkeypatch.setattr("diffusers.schedulers.scheduling_edm_euler.randn_tensor", lambda shape, **_: torch.randn(shape, generator=drawn))
    theirs.set_timesteps(12)
    y = x = 80 * normal(10).float()
    for i, t in enumerate(theirs.timesteps):
        share = min(churn / 11, math.sqrt(2) - 1)  # theirs divides by the number of levels less one
        answer = net.answer(*_raised(y, float(theirs.sigmas[i]), share, drawn))
        y = theirs.step(answer, t, y, s_churn=churn, s_noise=1.0).prev_sample
    n = len(theirs.timesteps)
    for step in walk(net, x, theirs.sigmas.tolist(), seeded(1), order=1, churn=Churn(amount=churn * n / 11)):
        x = step.x
    torch.testing.assert_close(x, y, atol=1e-5, rtol=1e-5)


def _raised(y, sigma, share, drawn):
    """Where theirs will stand after its churn: it asks the network before, and we want it asked there."""
    state = drawn.get_state()
    raised, level = framework.churned(y, sigma, share, 1.0, drawn)
    drawn.set_state(state)
    return raised, level


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_heun_steps_equal_diffusers():
    """`HeunDiscreteScheduler` on its own Karras levels."""
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.HeunDiscreteScheduler(beta_schedule="linear", beta_start=1e-4, beta_end=0.02, use_karras_sigmas=True)
    theirs.set_timesteps(12)
    sigmas = [*theirs.sigmas[0:1].tolist(), *theirs.sigmas[1:-1:2].tolist(), 0.0]
    y = x = sigmas[0] * normal(10).float()
    asked = [theirs.sigmas[0], *theirs.sigmas[1:-1]]
    for t, sigma in zip(theirs.timesteps, asked):
        eps = (y - EXACT(y, float(sigma))) / sigma
        y = theirs.step(eps, t, y).prev_sample
    end = last(walk(EXACT, x, sigmas, seeded()))
    torch.testing.assert_close(end.x, y, atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_stochastic_heun_equals_karras_ve(monkeypatch):
    """Every step of the deprecated `KarrasVeScheduler` (its model output is (D - y) / sigma), with equal noise."""
    pytest.importorskip("diffusers")
    from diffusers.schedulers.deprecated.scheduling_karras_ve import KarrasVeScheduler

    theirs, drawn = KarrasVeScheduler(s_churn=3.0, s_noise=1.007, s_min=0.05, s_max=50), seeded(1)
    monkeypatch.setattr(
        "diffusers.schedulers.deprecated.scheduling_karras_ve.randn_tensor",
        lambda shape, **_: torch.randn(shape, generator=drawn, dtype=torch.float64),
    )
    sigmas = grid(10, 60.0, 0.03)
    theirs.num_inference_steps = 10
    x = 60 * normal(10)
    ours = list(walk(EXACT, x, sigmas, seeded(1), churn=Churn(amount=3.0, low=0.05, high=50, noise=1.007)))
    for i, (sigma, sigma_next) in enumerate(zip(sigmas, sigmas[1:])):
        churns = theirs.config.s_min <= sigma <= theirs.config.s_max
        state = drawn.get_state()
        raised, level = theirs.add_noise_to_input(x, sigma)
        if not churns:
            drawn.set_state(state)  # theirs draws noise it does not use
        out = theirs.step((EXACT(raised, level) - raised) / level, level, sigma_next, raised)
        x = out.prev_sample
        if sigma_next > 0:
            slope_there = (EXACT(x, sigma_next) - x) / sigma_next
            x = theirs.step_correct(slope_there, level, sigma_next, raised, x, out.derivative).prev_sample
        torch.testing.assert_close(ours[i + 1].x, x, atol=1e-5, rtol=1e-5)


# --- the rows ---


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
@pytest.mark.parametrize("solver", framework.SOLVERS)
def test_a_row_walks_within_its_budget(row, solver):
    net = row.exact(TWO)
    for knobs in ({}, {"churn": 10.0}, {"guidance": 3.0, "label": 1}, {"label": 0}):
        settings = row.settings(knobs)
        steps = list(row.walk(net, normal(6).float(), solver=solver, evaluations=41, generator=seeded(), knobs=settings))
        assert steps[0].evaluations == 0 and steps[-1].last and not any(step.last for step in steps[:-1])
        if solver == "dopri5":
            ideal = list(row.walk(net, normal(6).float(), solver="heun", evaluations=399, generator=seeded(), knobs=settings))[-1].x
            assert 50 < steps[-1].evaluations < 500 and (knobs.get("churn") or float((steps[-1].x - ideal).abs().max()) < 0.02)
            continue
        assert 36 <= steps[-1].evaluations <= 41 or (knobs.get("guidance") and 36 <= steps[-1].evaluations <= 42)
        assert all(a.level > b.level for a, b in zip(steps, steps[1:]))
        assert all(step.signal == 1.0 and step.time == step.noise for step in steps)
