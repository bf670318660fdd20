"""Training of a plane method: fresh points for every update, and a way back when it diverges.

`models/fitting.py` does the updates. Here the batch of step k is drawn from the cloud by (seed, k), the averaged weights are put into
the network at the end, and a run whose loss leaves the numbers is ended with a sentence, the network back at its last good weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from models.fitting import Average, FitConfig, Loss, fit, generator_for
from models.plane.data import Cloud
from models.plane.errors import DivergedError
from models.solvers import SolverError
from models.steps import TrainStep

Batch = tuple[Tensor, Tensor]
"""Points (B, 2) float32 and labels (B,)."""
KEPT_EVERY = 50
PATIENCE = 10
"""Updates in a row with a bad loss before the run counts as diverged."""
EXPLODED = 1e3
"""Times the size of the first loss: a bad loss, too."""
DATA_SEED = 500_009


def learn(
    net: nn.Module, loss: Callable[[Batch, torch.Generator], Loss], cloud: Cloud, config: FitConfig, batch_size: int
) -> Iterator[TrainStep]:
    """Updates of `net` on fresh points of the cloud; DivergedError, with the last good weights in `net`, if the loss is lost.

    `loss((x, labels), generator)` returns a scalar and numbers to show; all its noise comes from the generator.
    """

    def batches(step: int) -> Batch:
        return cloud.labelled(batch_size, generator_for(config.seed + DATA_SEED, step))

    yield from guarded(net, loss, batches, config)


def guarded(
    net: nn.Module, loss, batches: Callable[[int], object], config: FitConfig, average: Average | None = None
) -> Iterator[TrainStep]:
    """`fit` with the way back, for batches of any kind; at the end `net` holds its averaged weights.

    `average` may be passed in to read the averaged weights meanwhile. A caller that closes this generator early finds those of the updates
    made so far in `net`.
    """
    average = average or Average(net, config.ema)
    good, at = _copy(average.state), 0
    bad, scale = 0, 0.0
    try:
        for step in fit(net, loss, batches, config, average):
            scale = scale or (abs(step.loss) if math.isfinite(step.loss) else 0.0)
            bad = bad + 1 if not math.isfinite(step.loss) or abs(step.loss) > EXPLODED * max(scale, 1.0) else 0
            if bad >= PATIENCE:
                said = f"The training diverged at update {step.step}: its loss is {step.loss:.3g}."
                raise DivergedError(said, hint=_kept(at), step=step.step)
            if bad == 0 and step.step % KEPT_EVERY == 0:
                good, at = _copy(average.state), step.step
            yield step
    except DivergedError:
        average.state = good
        raise
    except SolverError as error:  # a solve inside the loss went astray
        average.state = good
        raise DivergedError(f"The training cannot go on: {error.message[0].lower()}{error.message[1:]}", hint=_kept(at), step=at) from error
    finally:
        net.load_state_dict(average.state)


def _kept(at: int) -> str:
    return f"The weights of update {at} are kept. A smaller learning rate helps."


def _copy(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in state.items()}
