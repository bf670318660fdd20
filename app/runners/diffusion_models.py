"""What a family of diffusion weights in the catalogue needs around it: text states, noise schedule, preview map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from app.protocol.errors import UserError
from models import catalog
from models.diffusion.denoiser import Prediction
from models.diffusion.preview import LatentRgb, fit_latent_rgb, load_latent_rgb
from models.diffusion.schedule import NoiseSchedule
from models.playworld import render, scene, words

FIT_SCENES = 16
"""Pictures from which the preview map is fitted when no file holds one: 4096 cells for 15 numbers."""


@dataclass(frozen=True, kw_only=True)
class Family:
    """How the networks of one family were trained."""

    prediction: Prediction
    schedule: Callable[[], NoiseSchedule]
    encode: Callable[[str, int], list[int]]
    """`encode(text, max_len) -> ids`"""
    max_len: int
    split_words: Callable[[str], list[str]]
    unknown_words: Callable[[str], list[str]]


FAMILIES: dict[str, Family] = {
    "playworld": Family(
        prediction="v",
        schedule=NoiseSchedule.scaled_linear,
        encode=words.encode,
        max_len=words.MAX_LEN,
        split_words=words.split_words,
        unknown_words=words.unknown_words,
    ),
}


def family(name: str) -> Family:
    """The family of that name; UserError if there is none."""
    if name not in FAMILIES:
        raise UserError(f"There is no model named {name[:60]!r}.", hint=f"Known are {', '.join(FAMILIES)}.")
    return FAMILIES[name]


def text_states(clip: nn.Module, kind: Family, text: str, device: torch.device) -> Tensor:
    """(1, T, D): the text tower's last hidden states of a prompt, what the UNet attends to."""
    ids = torch.tensor([kind.encode(text, kind.max_len)], device=device)  # (1, T)
    return clip.text(ids)


_fitted: WeakKeyDictionary[nn.Module, LatentRgb] = WeakKeyDictionary()


def preview_map(model: str, vae: nn.Module) -> LatentRgb:
    """The linear latent-to-RGB map of a VAE: from its file, else fitted once to pictures it encodes."""
    path = catalog.weights_folder() / f"{model}-latent-rgb.json"
    if path.is_file():
        return load_latent_rgb(path)
    if vae not in _fitted:
        _fitted[vae] = _fit(vae)
    return _fitted[vae]


def _fit(vae: nn.Module) -> LatentRgb:
    weight = next(vae.parameters())
    pictures = [torch.from_numpy(render.render(scene.sample_scene(seed), 128)) for seed in range(FIT_SCENES)]
    images = torch.stack(pictures).movedim(-1, 1).float() / 127.5 - 1  # (N, 3, 128, 128)
    latents = [vae.encode(x.to(weight))[0].float().cpu() for x in images.split(4)]
    return fit_latent_rgb(torch.cat(latents) * vae.config.scaling_factor, images)
