"""One training loop for every small model of the project: a generator that yields a `TrainStep` after each update.

AdamW (arXiv 1711.05101) under warm-up, a constant rate and a linear cool-down (arXiv 2405.18392), gradient clipping, and an
exponential moving average of the weights. Everything random is a function of (seed, step): batch k and its noise are the same
whether the run was interrupted or not, so a resumed run equals an unbroken one. Checkpoints are safetensors, never pickles.
Read next: `models/diffusion/training.py`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.steps import TrainStep

CHECKPOINT = "checkpoint.safetensors"
Loss = tuple[Tensor, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class FitConfig:
    """How to train; lengths in optimizer steps."""

    steps: int
    lr: float
    warmup: int = 100
    cooldown: float = 0.25  # share of all steps over which the rate falls linearly to zero
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    grad_clip: float = 1.0
    ema: float = 0.999
    seed: int = 0
    bf16: bool = True
    folder: Path | None = None  # where the checkpoint lies; None keeps none
    save_every_s: float = 120.0

    def rate(self, step: int) -> float:
        """Learning rate of update `step` (0-based)."""
        cool = max(1, int(self.steps * self.cooldown))
        return self.lr * min(1.0, (step + 1) / max(1, self.warmup), (self.steps - step) / cool)


class Average:
    """Exponential moving average of a module's parameters, with the short memory of a young run."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            if value.is_floating_point():  # tables of whole numbers are not trained
                self.state[name].lerp_(value, 1 - decay)

    @contextmanager
    def lent_to(self, model: nn.Module) -> Iterator[None]:
        """The averaged weights in the model, until the block ends."""
        own = {name: value.clone() for name, value in model.state_dict().items()}
        model.load_state_dict(self.state)
        try:
            yield
        finally:
            model.load_state_dict(own)


def generator_for(seed: int, step: int) -> torch.Generator:
    """The CPU noise source of one step: a function of (seed, step) and nothing else."""
    return torch.Generator().manual_seed((seed * 1_000_003 + step * 7919 + 17) % 2**63)


def fit(
    model: nn.Module,
    loss: Callable[[object, torch.Generator], Loss],
    batches: Callable[[int], object],
    config: FitConfig,
    average: Average | None = None,
) -> Iterator[TrainStep]:
    """Train the parameters of `model` that require gradients, yielding after every update.

    `batches(step)` returns the batch of a step, `loss(batch, generator)` a scalar tensor and numbers to show.
    `average` may be passed in to read the averaged weights while the run goes on and after it.
    """
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(params, lr=config.lr, betas=config.betas, weight_decay=config.weight_decay, fused=True)
    average = average or Average(model, config.ema)
    start, saved = _resume(model, optimizer, average, config), time.monotonic()
    for step in range(start, config.steps):
        for group in optimizer.param_groups:
            group["lr"] = config.rate(step)
        value, metrics = _update(loss, batches(step), params, optimizer, config, step)
        average.update(model, step)
        last = step + 1 == config.steps
        if config.folder is not None and (last or time.monotonic() - saved > config.save_every_s):
            save_checkpoint(config.folder, model, optimizer, average, step + 1)
            saved = time.monotonic()
        told, look = {"lr": config.rate(step), **metrics}, partial(average.lent_to, model)
        yield TrainStep(step=step + 1, total=config.steps, loss=value, metrics=told, averaged=look)


def _update(
    loss, batch: object, params: list[nn.Parameter], optimizer: torch.optim.Optimizer, config: FitConfig, step: int
) -> tuple[float, dict[str, float]]:
    with torch.enable_grad():
        with torch.autocast(params[0].device.type, torch.bfloat16, enabled=config.bf16):
            value, metrics = loss(batch, generator_for(config.seed, step))
        optimizer.zero_grad(set_to_none=True)
        value.backward()
    norm = nn.utils.clip_grad_norm_(params, config.grad_clip)
    if torch.isfinite(norm):  # one overflow must not spoil the run; the norm among the metrics tells of it
        optimizer.step()
    return float(value.detach()), {"grad_norm": float(norm), **metrics}


def save_checkpoint(folder: Path, model: nn.Module, optimizer: torch.optim.Optimizer, average: Average, step: int) -> None:
    """Weights, average, Adam moments and step in one safetensors file, written beside the old one and then swapped in."""
    tensors = {f"model.{key}": value for key, value in model.state_dict().items()}
    tensors |= {f"ema.{key}": value for key, value in average.state.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"adam.{index}.{key}": value for key, value in state.items()}
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / (CHECKPOINT + ".new")
    copies = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    save_file(copies, str(fresh), metadata={"step": str(step)})
    os.replace(fresh, folder / CHECKPOINT)


def checkpoint_step(folder: Path) -> int:
    """How many updates the checkpoint in `folder` has seen; 0 without one."""
    if not (folder / CHECKPOINT).exists():
        return 0
    with safe_open(str(folder / CHECKPOINT), "pt") as file:
        return int(file.metadata()["step"])


def averaged_weights(folder: Path) -> dict[str, Tensor]:
    """The averaged weights of the checkpoint in `folder`."""
    with safe_open(str(folder / CHECKPOINT), "pt") as file:
        return {key.removeprefix("ema."): file.get_tensor(key) for key in file.keys() if key.startswith("ema.")}


def _resume(model: nn.Module, optimizer: torch.optim.Optimizer, average: Average, config: FitConfig) -> int:
    step = checkpoint_step(config.folder) if config.folder is not None else 0
    if step == 0:
        return 0
    with safe_open(str(config.folder / CHECKPOINT), "pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    model.load_state_dict(_under(tensors, "model."))
    for name, value in _under(tensors, "ema.").items():
        average.state[name].copy_(value)
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in _under(tensors, "adam.").items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
    return step


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
