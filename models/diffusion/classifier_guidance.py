"""Two ways to make one part of the data only, and more sharply than it is: classifier guidance and classifier-free guidance.

    classifier       score = s(x) + w grad_x log p(y | x, t)          (Dhariwal and Nichol 2021, arXiv 2105.05233)
    classifier-free  score = s(x) + w (s(x | y) - s(x))               (Ho and Salimans 2022, arXiv 2207.12598)

By Bayes' rule `grad log p(y | x) = s(x | y) - s(x)` at every level of noise, so with exact answers both are the same; on a mixture they
agree to rounding. Trained, they differ: one differentiates a classifier, the other subtracts two networks' answers. w = 1 is the plain
conditional law, 0 the unconditional one (the papers' w of classifier-free guidance is ours minus 1). w > 1 follows the score of
p(x) p(y | x)^w at each level, but these laws are not the noised versions of one law: it does not sample p(x) p(y | x)^w.

The classifier must know noise: it is trained on points of all levels. Its gradient is taken with respect to the point alone, never
through the steps of the sampler. The shared `cfg` is in `guidance.py`. Read next: `noise_model.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from models.diffusion import noise_model, sde
from models.diffusion.noise_model import GUIDANCE, LABEL, ExactNoise, Labelled, Level, NoiseModel, clock, column
from models.fitting import FitConfig
from models.plane.data import MOST_CLASSES, Cloud
from models.plane.errors import PlaneError
from models.plane.learn import Batch, learn
from models.plane.method import TOLERANCE, Knobs, Method, Plot, Preset
from models.plane.mixture import Mixture
from models.plane.net import PlaneNet
from models.steps import TrainStep

# --- classifiers that know noise ---


class NoisyClassifier(nn.Module):
    """p(y | x, level) from a network that sees the point and the level, as `NoiseModel` does."""

    def __init__(self, seed: int, classes: int = MOST_CLASSES) -> None:
        super().__init__()
        self.net = PlaneNet(seed, out=classes)

    def logits(self, x: Tensor, m: Level, s: Level) -> Tensor:
        """(N, classes)."""
        m, s = column(m, x), column(s, x)                                      # (N or 1, 1)
        return self.net(x / (m**2 + s**2).sqrt(), clock(m, s))

    def log_posterior(self, x: Tensor, label: int, m: Level, s: Level) -> Tensor:
        """log p(label | x), (N,)."""
        return self.logits(x, m, s).log_softmax(1)[:, label]


class ExactClassifier(nn.Module):
    """The posterior of a mixture's labels."""

    def __init__(self, mixture: Mixture) -> None:
        super().__init__()
        self.mixture = mixture

    def log_posterior(self, x: Tensor, label: int, m: Level, s: Level) -> Tensor:
        """log p(label | x), (N,)."""
        return self.mixture.log_posterior(x, label, m, s)


def pull(classifier: nn.Module, x: Tensor, label: int, m: float, s: float) -> Tensor:
    """`grad_x log p(label | x)` (N, 2): where to go for the label to become more likely. Differentiable only if x asks for it."""
    wanted = x.requires_grad
    with torch.enable_grad():
        at = x if wanted else x.detach().requires_grad_()
        return torch.autograd.grad(classifier.log_posterior(at, label, m, s).sum(), at, create_graph=wanted)[0]


# --- guided answers ---


def guided_noise(eps: Tensor, gradient: Tensor, scale: float, s: Level) -> Tensor:
    """`eps - w s grad log p(y | x)`: the score form times -s; in DDPM s is sqrt(1 - ab_t)."""
    return eps - scale * s * gradient


def guided_mean(mean: Tensor, gradient: Tensor, scale: float, variance: float) -> Tensor:
    """`mean + w Sigma_t grad log p(y | x)`: DDPM's form (algorithm 1), the same to first order in the length of a link."""
    return mean + scale * variance * gradient


class ClassifierGuided(nn.Module):
    """A noise model led by a classifier; called with (x, m, s)."""

    passes = 2

    def __init__(self, model: nn.Module, classifier: nn.Module, label: int, scale: float) -> None:
        super().__init__()
        self.model, self.classifier, self.label, self.scale = model, classifier, label, scale

    def forward(self, x: Tensor, m: float, s: float) -> Tensor:
        return guided_noise(self.model(x, m, s), pull(self.classifier, x, self.label, m, s), self.scale, s)


class Pair(nn.Module):
    """What both rows train: a noise model that knows labels and none, and a classifier beside it."""

    def __init__(self, model: nn.Module, classifier: nn.Module) -> None:
        super().__init__()
        self.model, self.classifier = model, classifier


def build(seed: int) -> Pair:
    """A fresh pair."""
    return Pair(NoiseModel(seed), NoisyClassifier(seed + 1))


def exact(mixture: Mixture) -> Pair:
    """The pair that knows the answers."""
    return Pair(ExactNoise(mixture), ExactClassifier(mixture))


def train(net: Pair, cloud: Cloud, config: FitConfig, batch_size: int, *, labelled: bool) -> Iterator[TrainStep]:
    """Both at once, on the same noised points: squared error of the noise plus cross-entropy of the label, VP's levels.

    Unless `labelled`, the noise model never sees a label: a classifier leads the plain score, and a network that learns it from a sixth
    of its examples only (those whose label is dropped) makes twice the error there, which no classifier mends.
    """
    if cloud.classes < 2:
        raise PlaneError(f"{cloud.title} has one part only: there is nothing to guide to.", hint="Choose data with labels, such as moons.")
    net.model.seen.fill_(cloud.classes)

    def loss(batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        x0, labels = batch
        m, s = _VP.levels(len(x0), generator)
        eps = torch.randn(x0.shape, generator=generator)
        x = column(m, x0) * x0 + column(s, x0) * eps
        given = noise_model.dropped(labels, net.model.net.null, generator) if labelled else None
        noise = (net.model(x, m, s, given) - eps).square().mean()
        told = nn.functional.cross_entropy(net.classifier.logits(x, m, s), labels)
        return noise + told, {"noise": float(noise.detach()), "classifier": float(told.detach())}

    yield from learn(net, loss, cloud, config, batch_size)


def by_classifier(net: Pair, knobs: Knobs) -> nn.Module:
    """The noise model without a label, led by the classifier."""
    label, scale = int(knobs["label"]), knobs["guidance"]
    if label == noise_model.NO_LABEL or scale == 0:
        return Labelled(net.model, None)
    noise_model.check_label(net.model, label)
    return ClassifierGuided(net.model, net.classifier, label, scale)


def by_difference(net: Pair, knobs: Knobs) -> nn.Module:
    """Classifier-free guidance."""
    return noise_model.under(net.model, knobs)


def against_scale(guide: sde.Guide, net: Pair, noise: Tensor, knobs: Knobs) -> dict[str, list[float]]:
    """What guidance buys and costs, for each w: how sure the classifier is of the label, how far the points spread about their middle."""
    label = max(0, int(knobs["label"]))
    m, s = _VP.at(_VP.t_end)
    found: dict[str, list[float]] = {"guidance": list(SCALES), "label_probability": [], "spread": []}
    for scale in SCALES:
        settings = {**knobs, "label": label, "guidance": scale}
        *_, end = sde.walk(_VP, guide, net, noise, solver="heun", evaluations=60, generator=torch.Generator(), knobs=settings)
        with torch.no_grad():
            found["label_probability"].append(float(net.classifier.log_posterior(end.x, label, m, s).exp().mean()))
        found["spread"].append(float((end.x - end.x.mean(0)).square().sum(1).mean().sqrt()))
    return found


def plots(net: Pair, facts: dict, knobs: Knobs) -> tuple[Plot, ...]:
    """Accuracy and diversity over w."""
    curves = {name: tuple(zip(facts["guidance"], facts[key])) for name, key in (("p(label)", "label_probability"), ("spread", "spread"))}
    return (Plot(title="Bought and paid", x="w", y="p(label), spread", curves=curves),)


def parts(guide: sde.Guide, net: Pair, x: Tensor, time: float, knobs: Knobs) -> dict[str, Tensor]:
    """The score without a label and what guidance adds to it: their sum is the field."""
    t = max(time, _VP.t_end)
    plain, whole = (torch.no_grad()(sde.score_of(_VP, guide(net, {**knobs, "guidance": w})))(x, t) for w in (0.0, knobs["guidance"]))
    return {"score without a label": plain, "what guidance adds": whole - plain}


# --- the plane's rows ---

SCALES = (0.0, 1.0, 2.0, 4.0, 8.0)
_VP = sde.vp()
_SCALE = replace(GUIDANCE, default=3.0)
_PART = replace(LABEL, default=0)
_PRESETS = (
    Preset(title="No guidance", sentence="w = 0: the label is ignored and all parts appear.", settings={"guidance": 0.0}),
    Preset(title="Plain label", sentence="w = 1: one part of the data, as it is.", settings={"guidance": 1.0}),
    Preset(title="Strong", sentence="w = 6: the points leave the places where another label could be meant.", settings={"guidance": 6.0}),
)


def _row(title: str, arxiv: str, equation: str, watch_for: str, guide: sde.Guide, *, labelled: bool) -> Method:
    return replace(
        sde.row(_VP, equation, watch_for, _PRESETS, guide), title=title, arxiv=arxiv, build=build, exact=exact,
        train=partial(train, labelled=labelled),
        knobs=(_SCALE, _PART, TOLERANCE, sde.CORRECTIONS, sde.RATIO), log_density=None, density_says="",
        report=partial(against_scale, guide), plots=plots, parts=partial(parts, guide),
    )  # fmt: skip


CLASSIFIER = _row(
    "Classifier guidance", "2105.05233", "score = s(x) + w ∇ log p(y | x, t), on the VP path",
    "As w grows the points move away from where the classifier doubts, towards the far side of their part and beyond it. That is not "
    "the law p(x) p(y | x)^w, although each step follows its score.",
    by_classifier, labelled=False,
)  # fmt: skip
CLASSIFIER_FREE = _row(
    "Classifier-free guidance", "2207.12598", "score = s(x) + w (s(x | y) − s(x)), on the VP path",
    "No classifier: the push is the difference of two answers of one network. With exact scores the points are those of classifier "
    "guidance; trained, compare them on the same noise.",
    by_difference, labelled=True,
)  # fmt: skip
