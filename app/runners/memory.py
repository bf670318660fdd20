"""Will it fit: a rough estimate of what a picture takes, against the memory that is free now."""

from __future__ import annotations

import contextlib
from pathlib import Path

import torch

from app.protocol.errors import UserError
from app.protocol.sizes import size_words

VAE_COPIES = 8
"""Feature maps of full size and first width alive at once while decoding (measured as peak, rounded up)."""
UNET_COPIES = 48
"""Feature maps of latent size and first width alive at once in a UNet step: skips, residuals, hidden layers."""
MIN_SIDE = 64
MARGIN = 200 * 2**20


def free_bytes(device: torch.device) -> int | None:
    """Memory that can be had now: of the GPU, or of the machine and its container; None if nobody says."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found = []
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found.append(1024 * int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]))
    with contextlib.suppress(OSError, ValueError):
        limit = Path("/sys/fs/cgroup/memory.max").read_text(encoding="ascii").strip()
        used = int(Path("/sys/fs/cgroup/memory.current").read_text(encoding="ascii"))
        if limit != "max":
            found.append(max(0, int(limit) - used))
    return min(found) if found else None


def picture_bytes(width: int, height: int, vae_width: int, unet_width: int, rows: int, item: int) -> int:
    """Peak of the activations for one picture; `rows` is the batch of a guided step, `item` the bytes of a number."""
    pixels, cells = width * height, (width // 8) * (height // 8)
    return max(VAE_COPIES * vae_width * pixels, UNET_COPIES * unet_width * rows * cells) * item


def check_memory(width: int, height: int, needs: int, device: torch.device) -> None:
    """UserError if the estimate does not fit, naming a size that would."""
    free = free_bytes(device)
    if free is None or needs + MARGIN <= free:
        return
    scale = (max(free - MARGIN, 0) / needs) ** 0.5
    smaller = [int(side * scale) // 8 * 8 for side in (width, height)]
    fits = f"{smaller[0]} x {smaller[1]} would fit; closing" if min(smaller) >= MIN_SIDE else "Closing"
    raise UserError(
        f"A picture of {width} x {height} needs about {size_words(needs)}, and {size_words(free)} are free.",
        hint=f"{fits} other programs helps{' as well' if fits != 'Closing' else ''}.",
    )
