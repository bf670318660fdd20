"""From tensors to what a window can show: the only place where pictures leave the device for the GUI.

Copies are made here and nowhere else, so nothing that is shown can hold a tensor alive or be changed by it.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from app.protocol.payloads import Image


def image(x: Tensor, *, label: str = "", decoder: str = "", note: str = "") -> Image:
    """A picture from float (3, H, W) in [-1, 1], or from uint8 (H, W, 3)."""
    if x.dtype != torch.uint8:
        x = ((x.detach().float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).movedim(0, -1)  # (H, W, 3)
    return Image(pixels=x.cpu().numpy(), label=label, decoder=decoder, note=note)


def array(x: Tensor, dtype: type[np.floating] = np.float32) -> np.ndarray:
    """A read-only copy of a tensor on the CPU."""
    values = x.detach().float().cpu().numpy().astype(dtype, copy=True)
    values.flags.writeable = False
    return values


def tensor(picture: Image, *, device: torch.device | str = "cpu") -> Tensor:
    """The way back: float (1, 3, H, W) in [-1, 1] of a picture."""
    pixels = torch.from_numpy(np.array(picture.pixels)).to(device)
    return (pixels.movedim(-1, 0)[None].float() / 127.5) - 1  # (1, 3, H, W)


def hint(picture: Image, *, device: torch.device | str = "cpu") -> Tensor:
    """A control map for a ControlNet: float (1, 3, H, W) in [0, 1]."""
    pixels = torch.from_numpy(np.array(picture.pixels)).to(device)
    return pixels.movedim(-1, 0)[None].float() / 255  # (1, 3, H, W)
