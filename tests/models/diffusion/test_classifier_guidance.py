"""Guidance with the exact mixture as referee: both ways agree, w means what it says, the trained classifier knows noise."""

import math
from collections import deque
from itertools import pairwise

import pytest
import torch

from models.diffusion import classifier_guidance as guidance
from models.diffusion import ddpm, sde
from models.diffusion.classifier_guidance import ClassifierGuided, ExactClassifier, NoisyClassifier, guided_mean, guided_noise, pull
from models.diffusion.noise_model import ExactNoise, Guided, NoiseModel, dropped, under
from models.diffusion.schedule import NoiseSchedule
from models.fitting import FitConfig
from models.plane.data import Cloud
from models.plane.errors import PlaneError
from tests.models.diffusion.plane_cases import FOUR, assert_same_law, normal, seeded

ROWS = [guidance.CLASSIFIER, guidance.CLASSIFIER_FREE]
LEVELS = [(0.999, 0.03), (0.9, 0.44), (0.3, 0.95), (0.01, 1.0), (1.0, 5.0)]


def ends(row, w, n=2000, label=0, evaluations=120):
    knobs = row.settings({"guidance": w, "label": label})
    steps = row.walk(guidance.exact(FOUR), normal(n), solver="heun", evaluations=evaluations, generator=seeded(1), knobs=knobs)
    return deque(steps, maxlen=1)[0]


# --- Bayes ---


@pytest.mark.parametrize(("m", "s"), LEVELS)
@pytest.mark.parametrize("label", [0, 1])
def test_the_classifiers_pull_is_the_difference_of_scores(m, s, label):
    """Autograd of log p(y | x) against the closed-form scores, at every level."""
    x = 2 * normal(50)
    difference = FOUR.given(label).score(x, m, s) - FOUR.score(x, m, s)
    torch.testing.assert_close(pull(ExactClassifier(FOUR), x, label, m, s), difference, atol=1e-6, rtol=1e-6)
    assert float(difference.norm(dim=1).mean()) > 1e-3


@pytest.mark.parametrize("w", [0.5, 1.0, 4.0])
def test_both_ways_give_the_same_guided_noise(w):
    x, model = 2 * normal(50), ExactNoise(FOUR)
    for m, s in LEVELS:
        led = ClassifierGuided(model, ExactClassifier(FOUR), 1, w)(x, m, s)
        torch.testing.assert_close(led, Guided(model, 1, w)(x, m, s), atol=1e-6, rtol=1e-6)


def test_both_rows_walk_alike_on_exact_answers():
    a, b = (ends(row, 3.0, n=30, evaluations=60) for row in ROWS)
    torch.testing.assert_close(a.x, b.x, atol=1e-5, rtol=0)
    assert a.evaluations == b.evaluations == 60


# --- w ---


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_w_1_is_the_conditional_law_and_w_0_the_whole(row):
    """Not w against 1 + w."""
    m, s = sde.vp().at(sde.vp().t_end)
    assert_same_law(ends(row, 1.0).x, FOUR.given(0).at(m, s).sample(2000, seeded(9))[0])
    assert_same_law(ends(row, 0.0).x, FOUR.at(m, s).sample(2000, seeded(9))[0])


def test_guidance_sharpens_but_does_not_sample_the_tilted_law():
    """At w = 4 the label is surer than at 1; p(x) p(y | x)^4, sampled by rejection, is another law (KS p < 1e-6)."""
    from scipy.stats import ks_2samp

    plain, strong = (ends(guidance.CLASSIFIER_FREE, w).x for w in (1.0, 4.0))
    sure = [float(FOUR.log_posterior(x, 0, 1.0, 0.01).exp().mean()) for x in (plain, strong)]
    assert sure[1] > sure[0]
    x = FOUR.sample(40_000, seeded(9))[0]
    kept = torch.rand(len(x), generator=seeded(8), dtype=torch.float64) < FOUR.log_posterior(x, 0).exp() ** 4
    tilted = x[kept][:2000]
    pairs = [ks_2samp(strong[:, d].numpy(), tilted[:, d].numpy()).pvalue for d in (0, 1)]
    assert min(pairs) < 1e-6


@pytest.mark.parametrize("variance", ["small", "large"])
def test_the_forms_of_ddpm_agree_for_short_links(variance):
    """Guided eps, put through the posterior, against the mean shifted by w Sigma grad: equal to a hundredth of the shift."""
    schedule, x, w, t = NoiseSchedule.linear(), normal(40), 2.0, 600
    ab_t, ab_s = ddpm.signal_share(schedule, t), ddpm.signal_share(schedule, t - 1)
    m, s = math.sqrt(ab_t), math.sqrt(1 - ab_t)
    eps, gradient = ExactNoise(FOUR)(x, m, s), pull(ExactClassifier(FOUR), x, 0, m, s)

    def mean(noise):
        return ddpm.posterior(x, ddpm.clean_and_noise("epsilon", noise, x, ab_t)[0], ab_t, ab_s, variance)

    plain, spread = mean(eps)
    through_noise = mean(guided_noise(eps, gradient, w, s))[0]
    shifted = guided_mean(plain, gradient, w, spread)
    shift = float((shifted - plain).norm(dim=1).mean())
    assert shift > 1e-3
    assert float((shifted - through_noise).norm(dim=1).mean()) < 0.02 * shift


def test_the_report_tells_what_guidance_buys_and_costs():
    """On exact answers: w = 0 leaves the label's share, w = 1 the conditional law's spread; with w the label gets surer."""
    row = guidance.CLASSIFIER_FREE
    found = row.report(guidance.exact(FOUR), normal(1500), row.settings({"label": 1}))
    assert found["guidance"] == [0.0, 1.0, 2.0, 4.0, 8.0]
    share = float(FOUR.weights[FOUR.labels == 1].sum())
    assert found["label_probability"][0] == pytest.approx(share, abs=0.04)
    assert all(a < b for a, b in pairwise(found["label_probability"]))
    x = FOUR.given(1).sample(4000, seeded(3))[0]
    assert found["spread"][1] == pytest.approx(float((x - x.mean(0)).square().sum(1).mean().sqrt()), rel=0.05)


# --- the network's side ---


def test_the_classifiers_gradient_is_that_of_finite_differences():
    """In float64, for a trained-looking network (random weights), at several levels."""
    net, x, h = NoisyClassifier(0).double(), normal(8), 1e-5
    for m, s in LEVELS[:3]:
        found = pull(net, x, 2, m, s)
        for d in range(2):
            step = h * torch.eye(2, dtype=torch.float64)[d]
            with torch.no_grad():
                slope = (net.log_posterior(x + step, 2, m, s) - net.log_posterior(x - step, 2, m, s)) / (2 * h)
            torch.testing.assert_close(found[:, d], slope, atol=1e-6, rtol=1e-6)


def test_no_gradient_runs_through_the_sampler():
    net = guidance.build(0)
    knobs = guidance.CLASSIFIER.settings({})
    for step in guidance.CLASSIFIER.walk(net, normal(4).float(), solver="euler", evaluations=8, generator=seeded(), knobs=knobs):
        assert not step.x.requires_grad and step.x.grad_fn is None
    assert all(p.grad is None for p in net.parameters())


def test_two_passes_are_one_batch():
    net, x = NoiseModel(0), normal(6).float()
    null, cond = net.both(x, 0.8, 0.6, 3)
    torch.testing.assert_close(null, net(x, 0.8, 0.6), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(cond, net(x, 0.8, 0.6, torch.full((6,), 3)), atol=1e-5, rtol=1e-5)
    assert not torch.allclose(null, cond, atol=1e-4)


def test_a_sixth_of_the_labels_is_dropped_and_the_rest_kept():
    labels = torch.arange(6000) % 8
    found = dropped(labels, 8, seeded())
    assert float((found == 8).float().mean()) == pytest.approx(1 / 6, abs=0.02)
    assert torch.equal(found[found != 8], labels[found != 8])


def test_a_label_the_data_do_not_have_is_refused():
    net = NoiseModel(0)
    net.seen.fill_(2)
    with pytest.raises(PlaneError, match="part number 5") as caught:
        under(net, {"label": 5, "guidance": 2.0})
    assert "0 to 1" in caught.value.hint
    with pytest.raises(PlaneError):
        guidance.by_classifier(guidance.Pair(net, NoisyClassifier(0)), {"label": 2, "guidance": 2.0})


def cloud_of(mixture, classes):
    def draw(n, generator):
        x, labels = mixture.sample(n, generator)
        return x.float(), labels

    return Cloud("test", "Test", classes, draw, (0.0, 0.0), 1.0, mixture)


def test_data_without_labels_cannot_be_guided():
    with pytest.raises(PlaneError, match="one part only"):
        next(guidance.train(guidance.build(0), cloud_of(FOUR, 1), FitConfig(steps=2, lr=1e-3, bf16=False), 16, labelled=True))


def test_a_short_training_nears_the_exact_posterior_at_every_level():
    """300 updates: the classifier is calibrated from nearly clean to nearly noise (one trained on clean data is sure of noise, too)."""
    net = guidance.build(0)
    config = FitConfig(steps=300, lr=2e-3, bf16=False, ema=0.98, warmup=20)
    losses = [step.metrics for step in guidance.train(net, cloud_of(FOUR, 2), config, 256, labelled=True)]
    assert losses[-1]["noise"] < losses[0]["noise"] and losses[-1]["classifier"] < losses[0]["classifier"]
    assert net.model.classes == 2
    with torch.no_grad():
        for m, s in LEVELS[:4]:
            x = FOUR.at(m, s).sample(1000, seeded(5))[0].float()
            found = net.classifier.log_posterior(x, 0, m, s).exp()
            assert float((found - FOUR.log_posterior(x, 0, m, s).exp()).abs().mean()) < 0.1
        x = FOUR.sample(1000, seeded(6))[0].float()
        m, s = 0.9, 0.44
        here = m * x + s * torch.randn(x.shape, generator=seeded(7))
        error = (net.model(here, m, s) - ExactNoise(FOUR)(here, m, s)).square().mean()
        truth = ExactNoise(FOUR)(here, m, s, 1)
        told, untold = ((net.model(here, m, s, label) - truth).square().mean() for label in (1, None))
        assert float(error) < 0.2 and float(told) < 0.5 * float(untold)


def test_a_classifier_leads_a_score_that_was_taught_without_labels():
    """The row's own training: nothing moves what the network keeps for labels, and the plain score is nearer to the exact one than that of
    a network that learns from dropped labels only."""
    config = FitConfig(steps=200, lr=2e-3, bf16=False, ema=0.98, warmup=20, weight_decay=0.0)
    nets = {row.title: guidance.build(0) for row in ROWS}
    untouched = nets["Classifier guidance"].model.net.label.weight.detach().clone()
    for row in ROWS:
        for _ in row.train(nets[row.title], cloud_of(FOUR, 2), config, 256):
            pass
    moved = [(net.model.net.label.weight.detach() - untouched).abs().amax(1) for net in nets.values()]
    assert bool((moved[0][:-1] == 0).all()) and float(moved[0][-1]) > 0 and bool((moved[1][:2] > 0).all())
    m, s = 0.9, 0.44
    x = FOUR.at(m, s).sample(1500, seeded(4))[0].float()
    with torch.no_grad():
        plain, shared = ((net.model(x, m, s) - ExactNoise(FOUR)(x, m, s)).square().mean() for net in nets.values())
    assert float(plain) < float(shared)
