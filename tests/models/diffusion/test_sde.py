"""Score SDEs on exact mixtures: marginals, both ways back, likelihood, and the steps of diffusers."""

import math
import re
from collections import deque
from functools import partial

import pytest
import torch

from models.diffusion import sde as sdes
from models.diffusion.ddpm import clean_and_noise, posterior, signal_share
from models.diffusion.noise_model import ExactNoise, under
from models.diffusion.schedule import NoiseSchedule
from models.diffusion.sde import SDES, by_level, correct, euler_maruyama, log_likelihood, reverse_diffusion, score_of, walk_ode, walk_sde
from models.plane.errors import PlaneError
from models.solvers import evenly
from tests.models.diffusion.plane_cases import TWO, assert_same_law, covariance, normal, seeded

ALL = list(SDES)


def exact(sde, mixture=TWO):
    return score_of(sde, ExactNoise(mixture))


def given(score, x, t):
    return score


def last(steps):
    return deque(steps, maxlen=1)[0]


# --- the forward equation ---


@pytest.mark.parametrize("name", ALL)
def test_the_simulated_equation_has_the_moments_of_the_closed_form(name):
    """dx = f dt + g dw step by step, 1e5 points, against m_t and s_t: means and covariances within 1 %."""
    sde, g, n, steps = SDES[name](), seeded(3), 100_000, 400
    x = TWO.sample(n, g)[0].float()
    for i, (t, t_next) in enumerate(zip(times := evenly(0.0, 0.8, steps), times[1:])):
        rate, g2 = sde.forward_field((t + t_next) / 2)
        dt = t_next - t
        half = math.exp(rate * dt / 2)
        x = half * (half * x + math.sqrt(g2 * dt) * torch.randn(x.shape, generator=g))  # the noise in the middle of the step
        if i + 1 in (steps // 4, steps // 2, steps):
            m, s = sde.at(t_next)
            mean, cov = covariance(TWO.at(m, s))
            size = float(cov.diagonal().mean())
            torch.testing.assert_close(x.double().mean(0), mean, atol=0.01 * math.sqrt(size), rtol=0)
            torch.testing.assert_close(torch.cov(x.double().T), cov, atol=0.01 * size, rtol=0)


@pytest.mark.parametrize("name", ALL)
def test_marginals_solve_the_equations_of_their_moments(name):
    """m' = rate m and (s^2)' = 2 rate s^2 + g^2, by differences: the table's columns belong together (VE: s^2 is sigma^2 itself)."""
    sde, h = SDES[name](), 1e-5
    for t in (0.01, 0.1, 0.5, 0.9):
        (m0, s0), (m1, s1), (m, s) = sde.at(t - h), sde.at(t + h), sde.at(t)
        rate, g2 = sde.forward_field(t)
        assert (m1 - m0) / (2 * h) == pytest.approx(rate * m, rel=1e-5, abs=1e-8)
        assert (s1**2 - s0**2) / (2 * h) == pytest.approx(2 * rate * s**2 + g2, rel=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_time_and_level_lead_back_to_each_other(name):
    sde = SDES[name]()
    for t in (2e-3, 0.05, 0.4, 1.0):
        m, s = sde.at(t)
        assert sde.time_at(s / m) == pytest.approx(t, rel=1e-9)


def test_sub_vp_is_the_square_of_vp():
    """s without the root: VP's variance is sub-VP's deviation; the variance never exceeds VP's."""
    for t in (0.01, 0.2, 0.7, 1.0):
        (m, s), (m_sub, s_sub) = sdes.vp().at(t), sdes.subvp().at(t)
        assert m == m_sub and s_sub == pytest.approx(s**2) and s_sub <= s


def test_vp_is_the_limit_of_the_chain():
    """DDPM's 1000 links with beta 1e-4 .. 0.02 are VP with b = 1000 beta, to a hundredth."""
    chain = NoiseSchedule.linear()
    for t in (99, 499, 999):
        m, s = sdes.vp().at((t + 1) / 1000)
        ab = signal_share(chain, t)
        assert m**2 == pytest.approx(ab, rel=0.12) and s**2 == pytest.approx(1 - ab, rel=0.01)


# --- both ways back ---


@pytest.mark.parametrize("predictor", sdes.PREDICTORS)
@pytest.mark.parametrize("name", ALL)
def test_the_reverse_sde_ends_in_the_data(name, predictor):
    sde, n = SDES[name](), 4000
    times = sdes.times_of(sde, predictor, 500)
    end = last(walk_sde(sde, exact(sde), sde.start_deviation * normal(n), times, seeded(1), predictor=predictor))
    assert end.evaluations == 500
    assert_same_law(end.x, TWO.sample(n, seeded(9))[0])


@pytest.mark.parametrize("name", ALL)
def test_the_ode_ends_in_the_data_and_meets_every_marginal(name):
    sde, n = SDES[name](), 4000
    for step in walk_ode(sde, exact(sde), sde.start_deviation * normal(n), evenly(1.0, sde.t_end, 100), "heun"):
        if step.evaluations in (50, 100, 160, 200):
            assert_same_law(step.x, TWO.at(step.signal, step.noise).sample(n, seeded(9))[0])
    assert step.last and step.time == sde.t_end


@pytest.mark.parametrize("name", ALL)
def test_the_corrector_repairs_few_predictor_steps(name):
    """25 predictor steps miss the law (KS sees it for VP); the same with 8 Langevin steps at each level come closer, at every SDE."""
    from models.plane.metrics import sliced_wasserstein

    sde, n = SDES[name](), 4000
    times, truth = sdes.times_of(sde, "reverse-diffusion", 12), TWO.sample(n, seeded(9))[0]
    start = sde.start_deviation * normal(n)
    plain = last(walk_sde(sde, exact(sde), start, times, seeded(1), predictor="reverse-diffusion"))
    fixed = last(walk_sde(sde, exact(sde), start, times, seeded(1), predictor="reverse-diffusion", corrections=8, ratio=0.3))
    assert fixed.evaluations == 12 + 8 * 11
    assert sliced_wasserstein(fixed.x, truth) < 0.8 * sliced_wasserstein(plain.x, truth)


def test_the_corrector_leaves_the_law_of_its_level():
    """Langevin with the score of the level it is at keeps that level's law; with the score of another level it would not."""
    sde, n, t = sdes.vp(), 4000, 0.3
    m, s = sde.at(t)
    x, g = TWO.at(m, s).sample(n, seeded(2))[0], seeded(3)
    for _ in range(50):
        x = correct(sde, exact(sde), x, t, torch.randn(x.shape, generator=g, dtype=x.dtype), 1.0, 0.1)
    assert_same_law(x, TWO.at(m, s).sample(n, seeded(9))[0])


def test_the_corrector_runs_at_the_level_the_predictor_has_reached():
    """The times the score is asked at: predict from t_i, correct at t_{i+1}; none after the last step."""
    sde, asked = sdes.ve(), []

    def score(x, t):
        asked.append(t)
        return exact(sde)(x, t)

    steps = list(walk_sde(sde, score, 10 * normal(5), [1.0, 0.7, 0.4, 0.1], seeded(), corrections=2))
    assert asked == [1.0, 0.7, 0.7, 0.7, 0.4, 0.4, 0.4]
    assert [step.evaluations for step in steps] == [0, 3, 6, 7] and steps[-1].last


def test_the_last_step_returns_the_mean():
    """Two noises, the same last state before it: one end. And reverse diffusion's end is the posterior mean (VE: Tweedie's formula)."""
    sde, x = sdes.ve(), 0.1 * normal(50)
    for predictor in sdes.PREDICTORS:
        ends = [last(walk_sde(sde, exact(sde), x, [0.1, 0.05], seeded(k), predictor=predictor)).x for k in (1, 2)]
        assert torch.equal(*ends)
    m, s = sde.at(0.1)
    end = last(walk_sde(sde, exact(sde), x, [0.1, 0.0], seeded(), predictor="reverse-diffusion")).x
    torch.testing.assert_close(end, TWO.denoise(x, m, s), atol=1e-10, rtol=1e-10)


def test_noise_of_a_step_backward_in_time_is_real():
    """dt is negative; the deviation is g sqrt(|dt|)."""
    for name in ALL:
        sde = SDES[name]()
        _, deviation = euler_maruyama(sde, exact(sde), normal(3), 0.5, -0.01)
        assert deviation == pytest.approx(0.1 * math.sqrt(sde.forward_field(0.5)[1]))


def test_reverse_diffusion_of_vp_is_a_link_of_ddpm():
    """For small links its mean is DDPM's posterior mean with x0 from the score, to second order in beta."""
    sde, x = sdes.vp(), normal(20)
    for dt, bound in ((1e-3, 3e-4), (1e-4, 3e-6)):
        (m, s), (m_next, _) = sde.at(0.5), sde.at(0.5 - dt)
        mean, _ = reverse_diffusion(sde, exact(sde), x, 0.5, 0.5 - dt)
        eps = -s * exact(sde)(x, 0.5)
        x0, _ = clean_and_noise("epsilon", eps, x, m**2)
        assert float((mean - posterior(x, x0, m**2, m_next**2)[0]).abs().max()) < bound


def test_reverse_diffusion_is_the_papers_formula_however_long_the_step():
    """VP: `(2 - sqrt(1 - beta)) x + beta s`, VE: `x + (sigma_i^2 - sigma_{i-1}^2) s` (equations 46 and 47)."""
    x = normal(20)
    vp, ve = sdes.vp(), sdes.ve()
    beta = 1 - (vp.at(0.5)[0] / vp.at(0.3)[0]) ** 2
    mean, deviation = reverse_diffusion(vp, exact(vp), x, 0.5, 0.3)
    torch.testing.assert_close(mean, (2 - math.sqrt(1 - beta)) * x + beta * exact(vp)(x, 0.5), atol=1e-9, rtol=1e-9)
    assert deviation == pytest.approx(math.sqrt(beta))
    gained = ve.at(0.5)[1] ** 2 - ve.at(0.3)[1] ** 2
    mean, deviation = reverse_diffusion(ve, exact(ve), x, 0.5, 0.3)
    torch.testing.assert_close(mean, x + gained * exact(ve)(x, 0.5), atol=1e-9, rtol=1e-9)
    assert deviation == pytest.approx(math.sqrt(gained))


@pytest.mark.parametrize("name", ALL)
def test_up_and_down_the_ode_is_the_identity(name):
    sde, x = SDES[name](), TWO.sample(200, seeded())[0]
    up = last(walk_ode(sde, exact(sde), x, by_level(sde, 0.05)[::-1], "rk4"))
    down = last(walk_ode(sde, exact(sde), up.x, by_level(sde, 0.05), "rk4"))
    torch.testing.assert_close(down.x, x, atol=1e-5, rtol=0)
    assert up.time == 1.0 and down.time == sde.t_end


# --- likelihood ---


@pytest.mark.parametrize("solver", ["dopri5", "rk4"])
@pytest.mark.parametrize("name", ALL)
def test_the_likelihood_is_the_mixtures(name, solver):
    """Within 0.01 nat at every point (for VE from a start of smax 100, where the base law is that close), and in the mean."""
    x = TWO.sample(400, seeded(5))[0]
    sde = sdes.ve(smax=100) if name == "ve" else SDES[name]()
    found, _ = log_likelihood(sde, exact(sde), x, solver=solver)
    m, s = sde.at(sde.t_end)
    torch.testing.assert_close(found, TWO.log_density(x, m, s), atol=0.01, rtol=0)
    sde = SDES[name]()
    torch.testing.assert_close(log_likelihood(sde, exact(sde), x, solver=solver)[0].mean(), TWO.log_density(x).mean(), atol=0.01, rtol=0)


@pytest.mark.parametrize("name", ALL)
def test_dopri5_takes_the_ode_to_its_tolerance_and_counts(name):
    """A finer tolerance costs more evaluations, each of them counted, and comes nearer to the exact end; so does the likelihood."""
    sde, x = SDES[name](), TWO.sample(20, seeded(5))[0]
    start = sde.start_deviation * normal(20)
    ideal = last(walk_ode(sde, exact(sde), start, by_level(sde, 0.1), "rk4")).x
    nearer = log_likelihood(sde, exact(sde), x, solver="rk4", step=0.1)[0]
    errors, costs, lawful = [], [], []
    for tolerance in (1e-3, 1e-5):
        asked = []

        def score(x, t):
            asked.append(t)  # noqa: B023
            return exact(sde)(x, t)

        end = last(walk_ode(sde, score, start, [1.0, sde.t_end], "dopri5", tolerance))
        assert end.evaluations == len(asked) and end.time == sde.t_end
        errors.append(float((end.x - ideal).abs().max()))
        costs.append(len(asked))
        found, evaluations = log_likelihood(sde, exact(sde), x, tolerance=tolerance)
        lawful.append(float((found - nearer).abs().max()))
        assert evaluations > 30
    assert costs[0] < costs[1] < 400 and errors[1] < 1e-3 < 0.2 > errors[0] > errors[1]
    assert lawful[1] < 1e-3 and lawful[1] < lawful[0]


def test_the_likelihood_does_not_hide_behind_its_base():
    """One narrow Gaussian far from the origin: the integral of the divergence is most of the answer."""
    from models.plane.mixture import Mixture

    narrow = Mixture(torch.ones(1), torch.tensor([[1.0, -0.5]]), 0.05**2 * torch.eye(2)[None])
    for name in ALL:
        sde = SDES[name]()
        found, _ = log_likelihood(sde, exact(sde, narrow), narrow.means)
        m, s = sde.at(sde.t_end)
        assert float(found) == pytest.approx(float(narrow.log_density(narrow.means, m, s)), abs=0.02)
        assert float(found) > 3


# --- against diffusers ---


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_ve_steps_equal_diffusers(monkeypatch):
    """`ScoreSdeVeScheduler.step_pred` and `step_correct`, every level of a chain of 20, fed the score."""
    diffusers = pytest.importorskip("diffusers")
    N, noise = 20, normal(30, seed=7).float()
    monkeypatch.setattr("diffusers.schedulers.scheduling_sde_ve.randn_tensor", lambda *_, **__: noise)
    theirs = diffusers.ScoreSdeVeScheduler(num_train_timesteps=N, snr=0.16, sigma_min=0.01, sigma_max=10.0, sampling_eps=1e-5)
    sde, x = sdes.ve(0.01, 10.0), normal(30).float()
    for i in range(N - 1, -1, -1):
        t, before = i / (N - 1), max(0.0, (i - 1) / (N - 1))
        score = exact(sde)(x, max(t, 1e-12))
        constant = partial(given, score)
        there = theirs.step_pred(score, torch.tensor(t) + 1e-6, x)
        ours, deviation = reverse_diffusion(sde, constant, x, max(t, 1e-12), before if i > 1 else 1e-12 if i else 0.0)
        torch.testing.assert_close(ours, there.prev_sample_mean, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(ours + deviation * noise, there.prev_sample, atol=1e-5, rtol=1e-5)
        corrected = theirs.step_correct(score, x).prev_sample
        torch.testing.assert_close(correct(sde, constant, x, t, noise, 1.0, 0.16), corrected, atol=1e-5, rtol=1e-5)
        x = there.prev_sample_mean


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_vp_steps_equal_diffusers(monkeypatch):
    """`ScoreSdeVpScheduler.step_pred` is Euler-Maruyama with dt = -1 / N; it is fed eps."""
    pytest.importorskip("diffusers")
    from diffusers.schedulers.deprecated.scheduling_sde_vp import ScoreSdeVpScheduler

    noise = normal(30, seed=7)
    monkeypatch.setattr("diffusers.schedulers.deprecated.scheduling_sde_vp.randn_tensor", lambda *_, **__: noise)
    theirs, sde, x = ScoreSdeVpScheduler(), sdes.vp(), normal(30)
    theirs.set_timesteps(50)
    for t in theirs.timesteps.double():
        eps = ExactNoise(TWO)(x, *sde.at(float(t)))
        there, mean_there = theirs.step_pred(eps, x, t)
        mean, deviation = euler_maruyama(sde, exact(sde), x, float(t), -1 / 50)
        torch.testing.assert_close(mean, mean_there, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(mean + deviation * noise, there, atol=1e-5, rtol=1e-5)
        x = there


# --- what is shown ---


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("predictor", [*sdes.PREDICTORS, "ode"])
def test_the_equation_shown_is_the_step_taken(name, predictor):
    """The numbers in `says`, put into the formula by hand, give the next point (to the three digits shown)."""
    sde, x, times = SDES[name](), normal(20), [0.6, 0.55]
    if predictor == "ode":
        end = last(walk_ode(sde, exact(sde), x, times, "euler"))
    else:
        end = last(walk_sde(sde, exact(sde), x, times, seeded(), predictor=predictor))
    score = exact(sde)(x, 0.6)
    kept, pulled, share, dt = numbers(end.says)
    shown = kept * x + pulled * score if dt is None else x + (kept * x - pulled * share * score) * dt
    torch.testing.assert_close(shown, end.x, atol=0.01, rtol=0)


def numbers(says):
    """(factor of x, factor of the score, share, dt) of an equation as `says` writes it."""
    chain = re.fullmatch(r"x = ([-.\d]+) x \+ ([-.\de]+) score", says)
    if chain:
        return float(chain[1]), float(chain[2]), 1.0, None
    found = re.fullmatch(r"(?:Euler: )?x \+= \[(?:([-.\d]+) x )?− ([.\de+]+)(/2)? score\] · \((.+)\)", says)
    return float(found[1] or 0), float(found[2]), 0.5 if found[3] else 1.0, float(found[4])


# --- the rows ---


@pytest.mark.parametrize("row", [sdes.VP, sdes.SUBVP, sdes.VE], ids=ALL)
@pytest.mark.parametrize("solver", [*sdes.ODE_SOLVERS, *sdes.PREDICTORS])
def test_a_row_walks_within_its_budget(row, solver):
    net = row.exact(TWO)
    for knobs in ({}, {"corrections": 2}, {"guidance": 3.0, "label": 1}, {"label": 0}):
        settings = row.settings(knobs)
        steps = list(row.walk(net, normal(6).float(), solver=solver, evaluations=41, generator=seeded(), knobs=settings))
        assert steps[0].evaluations == 0 and steps[-1].last and not any(step.last for step in steps[:-1])
        assert all(a.level > b.level for a, b in zip(steps, steps[1:]))
        if solver == "dopri5":
            assert steps[-1].time == row_end(row) and 50 < steps[-1].evaluations / under(net, settings).passes < 300
            continue
        assert 30 <= steps[-1].evaluations <= 41
        assert under(net, settings).passes * (len(steps) - 1) <= 41


def row_end(row):
    """Where the row's ODE stops."""
    return SDES[ALL[[sdes.VP, sdes.SUBVP, sdes.VE].index(row)]]().t_end


# --- schedules ---


@pytest.mark.parametrize(("row", "words"), [(sdes.VP, "linear 1 12"), (sdes.SUBVP, "linear 0.5 30"), (sdes.VE, "geometric 0.02 30")])
def test_another_schedule_is_another_sde_with_the_same_end(row, words):
    """Its levels are those of the SDE with these numbers, its equation says them, and the exact answer still ends in the mixture."""
    other, (low, high) = row.with_schedule(words), map(float, words.split()[1:])
    made = SDES[ALL[[sdes.VP, sdes.SUBVP, sdes.VE].index(row)]](low, high)
    t, m, s = other.levels()
    torch.testing.assert_close(torch.stack([m, s]), torch.stack([made.signal(t), made.noise(t)]))
    assert f"{low:g}" in other.equation and other.equation != row.equation
    *_, end = other.walk(other.exact(TWO), normal(3000), solver="heun", evaluations=300, generator=seeded(), knobs=other.settings({}))
    assert (end.signal, end.noise) == made.at(made.t_end)
    assert_same_law(end.x, TWO.at(end.signal, end.noise).sample(3000, seeded(3))[0])


def test_a_schedule_must_rise():
    for row, words in ((sdes.VP, "linear 5 1"), (sdes.VE, "geometric 0.1 0.05")):
        with pytest.raises(PlaneError):
            row.with_schedule(words)
