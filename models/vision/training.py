"""Training of the two judges on renders; never on pictures a model drew, and never on the held-out split.

Facts: the mean cross-entropy over the questions that apply to a scene (label -1: does not apply), and of each slot's attention
with the box of what it should look at. Joints: smooth L1 on visible joints plus cross-entropy on visibility. Pictures are jittered
in brightness and lightly blurred and noised, so that a judge leans on what is drawn and not on the renderer's exact pixels.
Read next: `models/evaluation/txt2img.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from models.fitting import Average, FitConfig, Loss, fit, generator_for
from models.playworld.bank import SceneBank
from models.playworld.labels import LABELS, labels
from models.playworld.render import boxes, joints
from models.steps import TrainStep
from models.vision.judges import FactClassifier, FactConfig, HeadSpec, JointConfig, JointRegressor

ON_HEAD = ("hat", "hair")
NECK, NOSE = 1, 0  # joints
JITTER = 0.1  # largest change of brightness and contrast
LOOK_WEIGHT = 0.2
NOISE = 0.06  # largest standard deviation of the added noise, pictures in [-1, 1]


def fact_config(widths: tuple[int, ...] = (32, 64, 128, 128)) -> FactConfig:
    """Heads from Playworld's label table: `house.colour` is asked of the slot `house` through the shared head `colour`.

    Hat and hair have a slot of their own, `person0.head`, since a query for a whole person does not find so small a part.
    """
    heads = []
    for name, classes in LABELS.items():
        slot, _, question = name.rpartition(".")
        shared = question if slot else name
        shared = f"person_{question}" if slot.startswith("person") else shared
        slot = f"{slot}.head" if question in ON_HEAD else slot
        heads.append(HeadSpec(name=name, slot=slot or name, head=shared, classes=len(classes)))
    return FactConfig(widths=widths, heads=tuple(heads))


JOINT_CONFIG = JointConfig(widths=(32, 64, 96, 128))


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Pictures with the truth about them."""

    x: Tensor
    labels: dict[str, Tensor]
    joints: Tensor | None = None
    boxes: Tensor | None = None  # (B, S, 4): x0, y0, x1, y1 in 0-1 for each slot; zeros where there is nothing to look at


def pictures(bank: SceneBank, rows: np.ndarray, device: torch.device) -> Tensor:
    x = torch.from_numpy(bank.images(rows)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
    return x.contiguous()


def jitter(x: Tensor, generator: torch.Generator) -> Tensor:
    """Brightness, contrast, blur and noise of random strength, one for each picture."""

    def uniform(low: float, high: float) -> Tensor:
        return (low + (high - low) * torch.rand(len(x), 1, 1, 1, generator=generator)).to(x)

    blurred = F.avg_pool2d(F.pad(x, (1, 1, 1, 1), mode="replicate"), 3, 1)
    x = torch.lerp(x, blurred, uniform(0, 1))
    noise = torch.randn(x.shape, generator=generator).to(x)
    return (x * uniform(1 - JITTER, 1 + JITTER) + uniform(-JITTER, JITTER) + noise * uniform(0, NOISE)).clamp(-1, 1)


def truth(bank: SceneBank, rows: np.ndarray) -> dict[str, Tensor]:
    """Labels of the scenes: `{question: (B,) class or -1}`."""
    table = [labels(bank.scene(row)) for row in rows]
    return {name: torch.tensor([row[name] for row in table]) for name in LABELS}


def joint_truth(bank: SceneBank, rows: np.ndarray, people: int = 2) -> Tensor:
    """(B, people, 18, 3): x, y in 0-1, visibility; absent people are zeros."""
    out = np.zeros((len(rows), people, 18, 3), np.float32)
    for k, row in enumerate(rows):
        found = joints(bank.scene(row), bank.size)
        out[k, : len(found)] = found
    out[..., :2] /= bank.size
    return torch.from_numpy(out)


def box_truth(bank: SceneBank, rows: np.ndarray, slots: tuple[str, ...]) -> Tensor:
    """Where each slot should look: (B, S, 4) in 0-1 of the picture."""
    out = torch.zeros(len(rows), len(slots), 4)
    for k, row in enumerate(rows):
        people = 0
        for label, *corners in boxes(bank.scene(row), bank.size):
            name = label
            if label == "person":
                name, people = f"person{people}", people + 1
            out[k, slots.index(name)] = torch.tensor(corners) / bank.size
        for person, points in enumerate(joints(bank.scene(row), bank.size)):
            out[k, slots.index(f"person{person}.head")] = torch.from_numpy(head_box(points)) / bank.size
    return out


def head_box(points: np.ndarray) -> np.ndarray:
    """Where head, hair and hat of a person are drawn: x0, y0, x1, y1 from the joints (18, 3), in units of neck to nose."""
    nose, neck = points[NOSE, :2], points[NECK, :2]
    unit = np.linalg.norm(nose - neck)
    return np.concatenate([nose - unit * np.array([1.2, 1.4]), nose + unit * np.array([1.2, 0.5])]).astype(np.float32)


def look_loss(weights: Tensor, wanted: Tensor) -> Tensor:
    """`-log` of the attention (B, S, H, h, w) that falls on the cells whose area meets the box (B, S, 4)."""
    height, width = weights.shape[-2:]
    x = torch.arange(width, device=weights.device) / width
    y = torch.arange(height, device=weights.device) / height
    x0, y0, x1, y1 = wanted.to(weights.device).unsqueeze(-1).unbind(2)  # (B, S, 1)
    across = (x + 1 / width > x0) & (x < x1)  # (B, S, w)
    down = (y + 1 / height > y0) & (y < y1)  # (B, S, h)
    inside = (down[..., :, None] & across[..., None, :])[:, :, None]  # (B, S, 1, h, w)
    there = (x1 > x0)[..., 0]  # (B, S)
    share = (weights * inside).sum((-1, -2)).clamp(min=1e-6)  # (B, S, H)
    return -share.log()[there].mean() if there.any() else weights.sum() * 0


def fact_loss(answers: dict[str, Tensor], wanted: dict[str, Tensor]) -> Loss:
    losses, right, asked = [], 0, 0
    for name, logits in answers.items():
        target = wanted[name].to(logits.device)
        if (target >= 0).any():
            losses.append(F.cross_entropy(logits, target, ignore_index=-1))
            right += int((logits.argmax(-1) == target).sum())
            asked += int((target >= 0).sum())
    return torch.stack(losses).mean(), {"accuracy": right / asked}


def joint_loss(found: Tensor, wanted: Tensor) -> Loss:
    wanted = wanted.to(found.device)
    seen = wanted[..., 2]
    distance = F.smooth_l1_loss(found[..., :2] * 16, wanted[..., :2] * 16, reduction="none").sum(-1)
    place = (distance * seen).sum() / seen.sum().clamp(min=1)
    probability = found[..., 2].float().clamp(1e-5, 1 - 1e-5)
    visible = -(seen * probability.log() + (1 - seen) * (1 - probability).log()).mean()
    error = ((found[..., :2] - wanted[..., :2]).norm(dim=-1) * seen).sum() / seen.sum().clamp(min=1)
    return place + 0.2 * visible, {"error_px_of_128": 128 * float(error.detach())}


def train_facts(
    net: FactClassifier, bank: SceneBank, batch_size: int, config: FitConfig, average: Average | None = None
) -> Iterator[TrainStep]:
    device = next(net.parameters()).device

    def batches(step: int) -> Judged:
        rows = bank.rows(step, batch_size, config.seed)
        x = jitter(pictures(bank, rows, device), generator_for(config.seed + 2, step))
        return Judged(x=x.contiguous(), labels=truth(bank, rows), boxes=box_truth(bank, rows, net.slots))

    def loss(batch: Judged, _: torch.Generator) -> Loss:
        answers, weights = net.look(batch.x)
        value, metrics = fact_loss(answers, batch.labels)
        looks = look_loss(weights, batch.boxes)
        return value + LOOK_WEIGHT * looks, {**metrics, "look": float(looks.detach())}

    return fit(net, loss, batches, config, average)


def train_joints(
    net: JointRegressor, bank: SceneBank, batch_size: int, config: FitConfig, average: Average | None = None
) -> Iterator[TrainStep]:
    device = next(net.parameters()).device

    def batches(step: int) -> Judged:
        rows = bank.rows(step, batch_size, config.seed)
        x = jitter(pictures(bank, rows, device), generator_for(config.seed + 2, step))
        return Judged(x=x.contiguous(), labels={}, joints=joint_truth(bank, rows))

    return fit(net, lambda batch, _: joint_loss(net(batch.x), batch.joints), batches, config, average)
