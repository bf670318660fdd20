"""Contrastive training of the built-in CLIP on Playworld (arXiv 2103.00020, section 2.3), with hard negatives.

Every picture meets every caption of the batch; beside them stand wrong captions made from right ones by changing one word for
another of its group (a colour, a kind, a sky ...; the idea of arXiv 2210.01936), so that the towers must bind words to things.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.fitting import Average, FitConfig, Loss, fit
from models.multimodal.clip import Clip
from models.playworld.bank import SceneBank
from models.playworld.caption import caption
from models.playworld.scene import COLOURS, GROUNDS, KINDS, POSITIONS, SKIES
from models.playworld.words import encode
from models.steps import TrainStep

POSES = ("waving", "walking", "running", "kicking", "sitting", "jumping", "pointing", "standing")
SWAPPED = (SKIES, GROUNDS, KINDS, COLOURS, POSITIONS, ("near", "far"), POSES)  # words that trade places within their group
MAX_LOGIT_SCALE = 100.0


@dataclass(frozen=True, kw_only=True)
class Pairs:
    x: Tensor  # pictures (B, 3, H, W) in [-1, 1]
    ids: Tensor  # their captions (B, T)
    wrong: Tensor  # captions with one word changed (B, T)


def swap_word(text: str, rng: random.Random) -> str:
    """`text` with one word changed for another of its group; unchanged when it has none."""
    words = text.split()
    places = [(k, group) for k, word in enumerate(words) for group in SWAPPED if word.strip(",.") in group]
    if not places:
        return text
    k, group = rng.choice(places)
    bare = words[k].strip(",.")
    words[k] = words[k].replace(bare, rng.choice([word for word in group if word != bare]))
    return " ".join(words)


def contrastive_loss(clip: Clip, batch: Pairs) -> Loss:
    """Cross-entropy of pictures over right and wrong captions, and of captions over pictures."""
    with sdpa_kernel(SDPBackend.MATH):  # for 32 and 65 tokens the tiled kernel's backward is the slower one
        image, text = clip.encode_image(batch.x), clip.encode_text(torch.cat([batch.ids, batch.wrong]))
    image, text = F.normalize(image.float(), dim=-1), F.normalize(text.float(), dim=-1)
    scale = clip.logit_scale.exp().clamp(max=MAX_LOGIT_SCALE)
    logits = scale * matmul32(image, text.T)  # (B, 2B)
    target = torch.arange(len(image), device=logits.device)
    loss = (F.cross_entropy(logits, target) + F.cross_entropy(logits[:, : len(image)].T, target)) / 2
    top1 = (logits.argmax(1) == target).float().mean()
    return loss, {"top1": float(top1), "scale": float(scale.detach())}


def matmul32(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product in fp32, whatever autocast says: logits are differences of nearly equal numbers."""
    with torch.autocast(a.device.type, enabled=False):
        return a.float() @ b.float()


def train_clip(clip: Clip, bank: SceneBank, batch_size: int, config: FitConfig, average: Average | None = None) -> Iterator[TrainStep]:
    """Train both towers from scratch."""
    device = next(clip.parameters()).device

    def batches(step: int) -> Pairs:
        rows = bank.rows(step, batch_size, config.seed)
        rng = random.Random(f"{config.seed} {step}")
        texts = [caption(bank.scene(row), rng)[0] for row in rows]
        wrong = [swap_word(text, rng) for text in texts]
        x = torch.from_numpy(bank.images(rows)).permute(0, 3, 1, 2).float() / 127.5 - 1
        ids, false = (torch.tensor([encode(text) for text in group]).to(device) for group in (texts, wrong))
        return Pairs(x=x.to(device), ids=ids, wrong=false)

    return fit(clip, lambda batch, _: contrastive_loss(clip, batch), batches, config, average)
