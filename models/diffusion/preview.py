"""A picture from a latent in microseconds: colour as a linear function of the four latent channels.

Decoding with the VAE costs about as much as a UNet step; a 4x3 matrix and a bias, fitted by least squares to
pairs of latents and shrunken pictures, show the same composition at one eighth of the size. This is a preview and
must be labelled as one; the picture itself always comes from the VAE.

Latents here are those the sampler works on, i.e. after multiplication with the VAE's `scaling_factor`.

Read next: `vae.py`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

FORMAT = "glassbox latent-rgb 1"


@dataclass(frozen=True, eq=False)
class LatentRgb:
    """`rgb = z @ matrix + bias`, rgb in [-1, 1]."""

    matrix: Tensor  # (C, 3) float32
    bias: Tensor  # (3,) float32


def fit_latent_rgb(latents: Tensor, images: Tensor) -> LatentRgb:
    """The least-squares map from latents (N, C, h, w) to images (N, 3, H, W) in [-1, 1] shrunk to h x w."""
    small = F.interpolate(images.float(), size=latents.shape[-2:], mode="area")  # (N, 3, h, w)
    z = latents.float().movedim(1, -1).flatten(0, 2)  # (N h w, C)
    rgb = small.movedim(1, -1).flatten(0, 2)  # (N h w, 3)
    ones = torch.ones(len(z), 1)
    solution = torch.linalg.lstsq(torch.cat([z, ones], 1).double(), rgb.double()).solution.float()  # (C + 1, 3)
    return LatentRgb(matrix=solution[:-1], bias=solution[-1])


def latent_rgb(z: Tensor, rgb: LatentRgb) -> Tensor:
    """uint8 (h, w, 3) of a latent (C, h, w), or (B, h, w, 3) of a batch (B, C, h, w); on the device of z."""
    colour = z.float().movedim(-3, -1) @ rgb.matrix.to(z.device) + rgb.bias.to(z.device)
    return ((colour + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)


def save_latent_rgb(rgb: LatentRgb, path: Path) -> None:
    """Write the map as a small JSON file."""
    content = {"format": FORMAT, "matrix": rgb.matrix.tolist(), "bias": rgb.bias.tolist()}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load_latent_rgb(path: Path) -> LatentRgb:
    """Read what `save_latent_rgb` wrote; ValueError with a sentence if the file is anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"its format is {content['format']!r}")
        rgb = LatentRgb(torch.tensor(content["matrix"]).float(), torch.tensor(content["bias"]).float())
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path.name} does not hold a latent-to-RGB map ({error}).") from error
    if rgb.matrix.dim() != 2 or rgb.matrix.shape[1] != 3 or rgb.bias.shape != (3,):
        raise ValueError(f"{path.name} holds a map of shape {tuple(rgb.matrix.shape)}, not (channels, 3).")
    return rgb
