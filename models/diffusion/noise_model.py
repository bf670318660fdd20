"""What the plane's diffusion methods train: a network that finds the noise in a point, or the exact answer in its place.

`eps(x, m, s, label)` with `x = m x0 + s eps`. It is told the level (m, s) and nothing else: not which method asks, nor at which step.
VP, sub-VP, VE and DDPM differ only in the levels they pass through, so a network of one serves all. The score is `-eps / s`, the
denoiser `(x - s eps) / m`.

Labels: in a sixth of the examples the label is dropped (Ho and Salimans 2022, arXiv 2207.12598), so that the network knows each class
and all of them; `Guided` asks for both and stretches the difference.
Read next: `sde.py`, `ddpm.py`, `classifier_guidance.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from models.diffusion.guidance import cfg
from models.fitting import FitConfig
from models.plane.data import MOST_CLASSES, Cloud
from models.plane.errors import PlaneError
from models.plane.learn import Batch, learn
from models.plane.method import PlaneKnob
from models.plane.mixture import Mixture
from models.plane.net import PlaneNet
from models.steps import TrainStep

Level = float | Tensor
"""m or s: one number for all points, or (N,)."""
DROPPED = 1 / 6
"""Share of labels that the network does not get to see."""
NO_LABEL = -1
"""Of the knob."""

GUIDANCE = PlaneKnob(
    name="guidance", title="Guidance", default=1.0, lo=0.0, hi=10.0,
    help="How far the answer for the label is pushed away from the answer without one; 1 is the plain label, 0 ignores it.",
)  # fmt: skip
LABEL = PlaneKnob(
    name="label", title="Label", default=NO_LABEL, lo=NO_LABEL, hi=MOST_CLASSES - 1, whole=True,
    help="Which part of the data to make (the number of the moon, ring or spot); -1 makes all.",
)  # fmt: skip


class NoiseModel(nn.Module):
    """The trained kind: the point, scaled to unit variance for data of unit variance, and ln(sigma) / 4 as the clock."""

    passes = 1
    """Network evaluations a call costs."""

    def __init__(self, seed: int, classes: int = MOST_CLASSES) -> None:
        super().__init__()
        self.net = PlaneNet(seed, classes=classes)
        self.register_buffer("seen", torch.tensor(classes))

    @property
    def classes(self) -> int:
        """Labels in the data it was trained on."""
        return int(self.seen)

    def forward(self, x: Tensor, m: Level, s: Level, label: Tensor | int | None = None) -> Tensor:
        """eps (N, 2); `label` None: any."""
        m, s = column(m, x), column(s, x)                                      # (N or 1, 1)
        return self.net(x / (m**2 + s**2).sqrt(), clock(m, s), label)

    def both(self, x: Tensor, m: float, s: float, label: int) -> tuple[Tensor, Tensor]:
        """eps without and with the label, in one batch."""
        null, cond = self(torch.cat([x, x]), m, s, labels_for_both(len(x), self.net.null, label)).chunk(2)
        return null, cond


class ExactNoise(nn.Module):
    """The exact kind: the noise that the mixture's own score implies, `eps = -s grad log p(x)`."""

    passes = 1

    def __init__(self, mixture: Mixture) -> None:
        super().__init__()
        self.mixture = mixture
        self.classes = int(mixture.labels.max()) + 1

    def forward(self, x: Tensor, m: Level, s: Level, label: int | None = None) -> Tensor:
        """eps (N, D); `label` None: any."""
        law = self.mixture if label is None else self.mixture.given(label)
        return -column(s, x) * law.score(x, m, s)

    def both(self, x: Tensor, m: float, s: float, label: int) -> tuple[Tensor, Tensor]:
        """eps without and with the label."""
        return self(x, m, s), self(x, m, s, label)


class Guided(nn.Module):
    """Classifier-free guidance: `eps_null + w (eps_label - eps_null)`; as good for any other answer that is affine in eps."""

    passes = 2

    def __init__(self, model: nn.Module, label: int, scale: float) -> None:
        super().__init__()
        self.model, self.label, self.scale = model, label, scale

    def forward(self, x: Tensor, *level: float) -> Tensor:
        return cfg(*self.model.both(x, *level, self.label), self.scale)


class Labelled(nn.Module):
    """The plain answer for one label, or for any (None): guidance of 1 and of 0 need one half only."""

    passes = 1

    def __init__(self, model: nn.Module, label: int | None) -> None:
        super().__init__()
        self.model, self.label = model, label

    def forward(self, x: Tensor, *level: float) -> Tensor:
        return self.model(x, *level, self.label)


def under(model: nn.Module, knobs: Mapping[str, float]) -> nn.Module:
    """The model under the knobs `label` and `guidance`; called with a point and a level, and `passes` evaluations a call."""
    label, scale = int(knobs.get("label", NO_LABEL)), knobs.get("guidance", 1.0)
    if label == NO_LABEL or scale == 0:
        return Labelled(model, None)
    check_label(model, label)
    return Labelled(model, label) if scale == 1 else Guided(model, label, scale)


def check_label(model: nn.Module, label: int) -> None:
    """PlaneError for a label the model was never taught."""
    if label >= model.classes:
        raise PlaneError(f"The data have no part number {label}.", hint=f"Labels run from 0 to {model.classes - 1}.")


def labels_for_both(n: int, null: int, label: int) -> Tensor:
    """Labels (2 n,) of a batch whose first half is asked without, whose second half is asked with the label."""
    return torch.tensor([null, label]).repeat_interleave(n)


# --- training ---


def train(
    net: NoiseModel, cloud: Cloud, config: FitConfig, batch_size: int, levels: Callable[[int, torch.Generator], tuple[Tensor, Tensor]]
) -> Iterator[TrainStep]:
    """Fit eps: `E |eps - eps_theta(m x0 + s eps)|^2`; `levels(n, generator)` draws m and s (n,) of a batch."""
    net.seen.fill_(cloud.classes)

    def loss(batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        x0, labels = batch
        m, s = levels(len(x0), generator)
        eps = torch.randn(x0.shape, generator=generator)
        x = column(m, x0) * x0 + column(s, x0) * eps
        return (net(x, m, s, dropped(labels, net.net.null, generator)) - eps).square().mean(), {}

    yield from learn(net, loss, cloud, config, batch_size)


def dropped(labels: Tensor, null: int, generator: torch.Generator) -> Tensor:
    """The labels (N,), a sixth of them replaced by `null`."""
    return torch.where(torch.rand(labels.shape, generator=generator) < DROPPED, null, labels)


def spread(n: int, generator: torch.Generator) -> Tensor:
    """n numbers evenly over [0, 1) with one common random shift: uniform each, and together less noisy than n separate draws."""
    return (torch.arange(n) / n + torch.rand(1, generator=generator)) % 1


def column(level: Level, x: Tensor) -> Tensor:
    """(N, 1) or (1, 1) in the dtype of x."""
    return torch.as_tensor(level, dtype=x.dtype, device=x.device).reshape(-1, 1)


def clock(m: Level, s: Level) -> Tensor:
    """ln(sigma) / 4, sigma = s / m: about -2 .. 1.3 from nearly clean to nearly noise (Karras et al. 2022, arXiv 2206.00364, table 1)."""
    return (torch.as_tensor(s) / torch.as_tensor(m)).log() / 4
