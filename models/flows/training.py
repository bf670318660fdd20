"""Training of the flows on Playworld tiles: whole scenes drawn 16 pixels wide, maximum likelihood, told in bits per dimension.

The noise that makes pixels continuous is drawn anew for every batch, from (seed, step). Actnorm must be set before the averaged weights
are begun and before a checkpoint is read, hence `prepare`. Read next: `tiles.py`, `models/fitting.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from models.fitting import Average, FitConfig, Loss, generator_for
from models.flows.tiles import TileFlow, dequantise
from models.plane.learn import guarded
from models.playworld.bank import SceneBank
from models.steps import TrainStep

SIZE = 16  # pixels
FIRST_BATCH = 256


def own_bank(folder: Path, scenes: int) -> SceneBank:
    """Training scenes as wide as the flows see them."""
    return SceneBank(folder, "train", count=scenes, size=SIZE)


def pictures(model: TileFlow, bank: SceneBank, rows: np.ndarray, generator: torch.Generator) -> Tensor:
    """Continuous pictures (N, C, H, W) of these scenes, as the model wants them."""
    return dequantise(torch.from_numpy(bank.images(rows)), model.shape[0], generator)


def prepare(model: TileFlow, bank: SceneBank, seed: int) -> None:
    """Set what depends on data from the first scenes; a model that was set before stays as it is."""
    model.initialise(pictures(model, bank, bank.rows(0, FIRST_BATCH, seed), generator_for(seed, -1)))


def train_tiles(model: TileFlow, bank: SceneBank, batch_size: int, config: FitConfig, average: Average) -> Iterator[TrainStep]:
    """Maximum likelihood on a prepared model; the loss is bits per dimension.

    DivergedError if the loss is lost: the model then holds the last good averaged weights. At the end it holds the averaged ones.
    """

    def loss(rows: np.ndarray, generator: torch.Generator) -> Loss:
        value = model.bits_per_dim(pictures(model, bank, rows, generator)).mean()
        return value, {"bits_per_dim": float(value.detach())}

    yield from guarded(model, loss, lambda step: bank.rows(step, batch_size, config.seed), config, average)


@torch.no_grad()
def mean_bits(model: TileFlow, bank: SceneBank, count: int, seed: int = 0, batch_size: int = 256) -> float:
    """Mean bits per dimension over `count` scenes of a bank, such as one of another split."""
    total = 0.0
    for first in range(0, count, batch_size):
        rows = np.arange(first, min(first + batch_size, count))
        total += float(model.bits_per_dim(pictures(model, bank, rows, generator_for(seed, first))).sum())
    return total / count
