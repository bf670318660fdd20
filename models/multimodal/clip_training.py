"""Training of the built-in CLIP on Playworld: first its text tower learns to read, then the picture tower to agree with it.

Words: from the text states alone, linear heads must tell every fact that the caption states and that the others are not stated.
A contrastive loss over 33,000 scenes teaches a text tower mostly skies and grounds; a UNet that reads such states never learns
what a house is. The heads are thrown away.
Pictures: contrastive training (arXiv 2103.00020, section 2.3) with the text tower locked (arXiv 2111.07991 locks the picture
tower for the same reason). Every picture meets every caption of the batch; beside them stand wrong captions made from right ones
by changing one word for another of its group (a colour, a kind, a sky ...; the idea of arXiv 2210.01936), so that words must be
bound to things.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.fitting import Average, FitConfig, Loss, fit
from models.multimodal.clip import Clip, ClipText
from models.playworld.bank import SceneBank
from models.playworld.caption import caption
from models.playworld.labels import LABELS, Fact
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


# Words


class Reader(nn.Module):
    """A text tower with a linear head for each question of Playworld's label table; class 0 of a head means "not stated".

    One set of heads reads the state at the end token, which CLIP compares with pictures, the other the mean of all states, which a
    UNet attends to.
    """

    def __init__(self, text: ClipText) -> None:
        super().__init__()
        self.text = text
        self.classes = [1 + len(answers) for answers in LABELS.values()]
        self.from_end = nn.Linear(text.config.dim, sum(self.classes))
        self.from_mean = nn.Linear(text.config.dim, sum(self.classes))

    def forward(self, ids: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """Logits (B, 1 + answers) of every question, read at the end token and from the mean; of token ids (B, T)."""
        hidden = self.text(ids)                                             # (B, T, dim)
        end, mean = self.text.pooled(hidden, ids), hidden.mean(1)           # (B, dim)
        return self.from_end(end).split(self.classes, 1), self.from_mean(mean).split(self.classes, 1)


def stated(facts: tuple[Fact, ...]) -> list[int]:
    """The right class of every head of `Reader`: 0, or 1 + the answer that the caption states."""
    said = {fact.head: 1 + fact.index for fact in facts}
    return [said.get(head, 0) for head in LABELS]


def reading_loss(reader: Reader, ids: Tensor, wanted: Tensor) -> Loss:
    """Cross-entropy of what is stated plus that of what is not, `wanted` (B, questions); both readings weigh the same."""
    with sdpa_kernel(SDPBackend.MATH):
        readings = reader(ids)
    told = wanted > 0                                                       # (B, questions)
    loss, right = 0.0, []
    for logits in readings:
        each = torch.stack([F.cross_entropy(x.float(), y, reduction="none") for x, y in zip(logits, wanted.T, strict=True)], 1)
        loss = loss + each[told].mean() + each[~told].mean()
        right.append(torch.stack([x.argmax(1) for x in logits], 1) == wanted)
    return loss, {name: float(found[told].float().mean()) for name, found in zip(("end", "mean"), right, strict=True)}


def train_words(reader: Reader, bank: SceneBank, batch_size: int, config: FitConfig, average: Average | None = None) -> Iterator[TrainStep]:
    """Teach the text tower to read captions of the bank's scenes; the metrics are the shares of stated facts read right."""
    device = next(reader.parameters()).device

    def batches(step: int) -> tuple[Tensor, Tensor]:
        rng = random.Random(f"{config.seed} {step}")
        told = [caption(bank.scene(row), rng) for row in bank.rows(step, batch_size, config.seed)]
        ids = torch.tensor([encode(text) for text, _ in told])
        return ids.to(device), torch.tensor([stated(facts) for _, facts in told]).to(device)

    return fit(reader, lambda batch, _: reading_loss(reader, *batch), batches, config, average)


# Pictures


def train_clip(clip: Clip, bank: SceneBank, batch_size: int, config: FitConfig, average: Average | None = None) -> Iterator[TrainStep]:
    """Train the picture tower and both projections; the text tower stays as it is."""
    device = next(clip.parameters()).device
    clip.text.requires_grad_(False)

    def batches(step: int) -> Pairs:
        rows = bank.rows(step, batch_size, config.seed)
        rng = random.Random(f"{config.seed} {step}")
        texts = [caption(bank.scene(row), rng)[0] for row in rows]
        wrong = [swap_word(text, rng) for text in texts]
        x = torch.from_numpy(bank.images(rows)).permute(0, 3, 1, 2).float() / 127.5 - 1
        ids, false = (torch.tensor([encode(text) for text in group]).to(device) for group in (texts, wrong))
        return Pairs(x=x.to(device), ids=ids, wrong=false)

    return fit(clip, lambda batch, _: contrastive_loss(clip, batch), batches, config, average)
