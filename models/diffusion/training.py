"""Training of the built-in Stable Diffusion: autoencoder, UNet and ControlNets, each a generator of `TrainStep`.

Autoencoder: L1 + squared error + L1 of the gradients + a small KL to N(0, I) (arXiv 2112.10752, section 3.1, without the GAN).
UNet: `||v - v_theta(sqrt(ab_t) z + sqrt(1-ab_t) eps, t, c)||^2` with `v = sqrt(ab) eps - sqrt(1-ab) z` (arXiv 2202.00512), the
caption replaced by "" in a tenth of the cases so that classifier-free guidance works (arXiv 2207.12598). While the rate is high,
cells of things and people weigh more, the smaller the more, since a hat is one cell in two hundred; the cool-down is unweighted.
ControlNet: the same loss, UNet frozen, half of the captions dropped (arXiv 2302.05543, section 3.3).
Data are drawn by `models/playworld/bank.py`; the text tower is handed in. Read next: `models/fitting.py`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from models.diffusion.openpose import draw_pose
from models.diffusion.preview import LatentRgb, fit_latent_rgb
from models.diffusion.schedule import NoiseSchedule
from models.diffusion.unet import UNet
from models.diffusion.vae import AutoencoderKL
from models.fitting import Average, FitConfig, Loss, fit, generator_for
from models.playworld.bank import SceneBank
from models.playworld.caption import caption
from models.playworld.edges import edges
from models.playworld.render import instances, joints
from models.playworld.words import encode
from models.steps import TrainStep

KL_WEIGHT = 2e-4
GRADIENT_WEIGHT = 0.5
SQUARE_WEIGHT = 5.0
CAPTION_DROP = 0.1
CONTROL_CAPTION_DROP = 0.5

EMPHASIS = (2.0, 6.0)  # least and most weight of a cell that shows a thing or a person; sky and ground weigh 1
EMPHASIS_SHARE = 0.12  # of the picture: what is smaller weighs more, in inverse proportion

Encode = Callable[[Tensor], Tensor]  # token ids (B, T) -> text states (B, T, D)


def to_tensor(pictures: np.ndarray, device: torch.device) -> Tensor:
    """uint8 (B, H, W, 3) -> float (B, 3, H, W) in [-1, 1]."""
    x = torch.from_numpy(pictures).to(device).permute(0, 3, 1, 2)
    return (x.float() / 127.5 - 1).contiguous()


# Autoencoder


def vae_loss(vae: AutoencoderKL, x: Tensor, generator: torch.Generator) -> Loss:
    """Reconstruction and KL of pictures `x` (B, 3, H, W) in [-1, 1]."""
    mean, logvar = vae.encode(x)
    mean, logvar = mean.float(), logvar.float()
    noise = torch.randn(mean.shape, generator=generator).to(mean)
    y = vae.decode(mean + (0.5 * logvar).exp() * noise).float()
    l1, square = F.l1_loss(y, x), F.mse_loss(y, x)
    edge = sum(F.l1_loss(y.diff(dim=d), x.diff(dim=d)) for d in (2, 3))
    kl = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
    loss = l1 + SQUARE_WEIGHT * square + GRADIENT_WEIGHT * edge + KL_WEIGHT * kl
    psnr = 10 * torch.log10(4 / square.detach())
    return loss, {"l1": float(l1.detach()), "psnr": float(psnr), "kl": float(kl.detach())}


def train_vae(
    vae: AutoencoderKL, bank: SceneBank, batch_size: int, config: FitConfig, average: Average | None = None, decoder_only: bool = False
) -> Iterator[TrainStep]:
    """Train the autoencoder; `decoder_only` leaves the latents as they are (for going on after a UNet learned them)."""
    device = next(vae.parameters()).device
    for name, parameter in vae.named_parameters():
        parameter.requires_grad_(not (decoder_only and name.startswith(("encoder.", "to_moments."))))

    whole_from = int(config.steps * (1 - config.cooldown))

    def batches(step: int) -> Tensor:
        """Random half-size windows while the rate is high; a quarter as many whole pictures while it falls."""
        whole = step >= whole_from
        rows = bank.rows(step, max(1, batch_size // 4) if whole else batch_size, config.seed)
        return to_tensor(bank.images(rows) if whole else windows(bank.images(rows), config.seed, step), device)

    return fit(vae, lambda x, generator: vae_loss(vae, x, generator), batches, config, average)


def windows(pictures: np.ndarray, seed: int, step: int) -> np.ndarray:
    """A random window of half the side from each picture: uint8 (B, H/2, W/2, 3)."""
    rng = np.random.default_rng([seed, step])
    side = pictures.shape[1] // 2
    corners = rng.integers(0, side + 1, (len(pictures), 2))
    return np.stack([picture[y : y + side, x : x + side] for picture, (y, x) in zip(pictures, corners, strict=True)])


@torch.no_grad()
def standardise_latents(vae: AutoencoderKL, bank: SceneBank, count: int = 512) -> None:
    """Fold a shift and a scale per channel into the 1x1 convolutions around the latent: mean 0, deviation 1, same pictures.

    With it the scaling factor is 1 by construction (SD 1.x multiplies by a measured 0.18215 instead), and noise of unit
    variance means the same in every channel.
    """
    device = next(vae.parameters()).device
    means = torch.cat([vae.encode(to_tensor(bank.images(np.arange(k, k + 32)), device))[0] for k in range(0, count, 32)])
    shift, scale = means.mean((0, 2, 3)), means.std((0, 2, 3))  # (C,)
    channels = len(shift)
    into, out = vae.to_moments, vae.from_latent
    into.weight[:channels] /= scale.view(-1, 1, 1, 1)
    into.bias[:channels] = (into.bias[:channels] - shift) / scale
    into.bias[channels:] -= 2 * scale.log()
    out.bias += out.weight[:, :, 0, 0] @ shift
    out.weight *= scale.view(1, -1, 1, 1)


@torch.no_grad()
def fit_preview(vae: AutoencoderKL, bank: SceneBank, count: int = 512) -> LatentRgb:
    """The best linear map from one latent cell to the mean colour of its pixels, over `count` scenes."""
    device = next(vae.parameters()).device
    x = torch.cat([to_tensor(bank.images(np.arange(k, k + 32)), device) for k in range(0, count, 32)])
    z = torch.cat([vae.encode(part)[0] for part in x.split(32)])
    return fit_latent_rgb(z.cpu() * vae.config.scaling_factor, x.cpu())


# Latents of a bank, encoded once


class LatentBank:
    """Encoded moments of a scene bank, in memory and on disk as fp16: (N, 2C, h, w), mean above, log-variance below."""

    def __init__(self, bank: SceneBank, vae: AutoencoderKL, folder: Path) -> None:
        self.bank, self.vae = bank, vae
        self.path = folder / f"latents-{bank.folder.name}-{bank.count}-{_digest(vae)}.npy"
        self.moments: np.ndarray | None = np.load(self.path) if self.path.exists() else None

    @torch.no_grad()
    def _encode(self, rows: np.ndarray, device: torch.device) -> np.ndarray:
        mean, logvar = self.vae.encode(to_tensor(self.bank.images(rows), device))
        return torch.cat([mean, logvar], 1).cpu().half().numpy()

    def fill(self, batch: int = 64) -> Iterator[tuple[int, int]]:
        """Encode what is missing, yielding (done, wanted)."""
        if self.moments is not None:
            return
        device = next(self.vae.parameters()).device
        parts = []
        for first in range(0, self.bank.count, batch):
            parts.append(self._encode(np.arange(first, min(first + batch, self.bank.count)), device))
            yield min(first + batch, self.bank.count), self.bank.count
        self.moments = np.concatenate(parts)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path.with_suffix(".tmp"), "wb") as file:
            np.save(file, self.moments)
        self.path.with_suffix(".tmp").replace(self.path)

    def sample(self, rows: np.ndarray, generator: torch.Generator) -> Tensor:
        """Scaled latents `scaling_factor (mean + std noise)`, (B, C, h, w)."""
        assert self.moments is not None, "fill() comes first"
        mean, logvar = torch.from_numpy(self.moments[rows]).float().chunk(2, dim=1)
        noise = torch.randn(mean.shape, generator=generator)
        return self.vae.config.scaling_factor * (mean + (0.5 * logvar).exp() * noise)


def _digest(module: nn.Module) -> str:
    """Eight digits that change with the encoder's weights."""
    total = sum(
        float(p.detach().double().abs().sum()) for n, p in module.named_parameters() if not n.startswith(("decoder.", "from_latent."))
    )
    return f"{int(total * 1e4) % 10**8:08d}"


# UNet and ControlNet


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one diffusion update sees: scaled latents, text states, a hint for ControlNets, weights of the cells (B, 1, h, w)."""

    z: Tensor
    context: Tensor
    hint: Tensor | None = None
    weight: Tensor | None = None


def caption_ids(bank: SceneBank, rows: np.ndarray, step: int, seed: int, drop: float) -> Tensor:
    """A fresh caption per scene as token ids (B, T); a share `drop` of them empty."""
    rng = random.Random(f"{seed} {step}")
    texts = [caption(bank.scene(row), rng)[0] for row in rows]
    return torch.tensor([encode("" if rng.random() < drop else text) for text in texts])


def diffusion_loss(
    predict: Callable[[Tensor, Tensor, Batch], Tensor], schedule: NoiseSchedule, batch: Batch, generator: torch.Generator
) -> Loss:
    """Mean squared error of the velocity at a random timestep for each row, weighted by the batch's cells if it says so."""
    z = batch.z
    t = torch.randint(0, len(schedule.alphas_cumprod), (len(z),), generator=generator).to(z.device)
    noise = torch.randn(z.shape, generator=generator).to(z)
    ab = schedule.alphas_cumprod.to(z)[t].view(-1, 1, 1, 1)
    x = ab.sqrt() * z + (1 - ab).sqrt() * noise
    v = ab.sqrt() * noise - (1 - ab).sqrt() * z
    with plain_attention(z.device):
        error = (predict(x.contiguous(), t, batch).float() - v).square()
    plain = error.mean()
    if batch.weight is None:
        return plain, {}
    return (error * batch.weight).mean() / batch.weight.mean(), {"plain": float(plain.detach())}


def plain_attention(device: torch.device) -> AbstractContextManager:
    """On a CPU the tiled kernel's backward is the slower one for a few dozen tokens."""
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


def batches_of(
    latents: LatentBank,
    encode_text: Encode,
    batch_size: int,
    seed: int,
    drop: float,
    device: torch.device,
    hints: Callable[[SceneBank, np.ndarray], np.ndarray] | None = None,
) -> Callable[[int], Batch]:
    """`batches(step)`: latents, captions (a share `drop` of them empty) and, if asked, hints of the same scenes."""

    def batches(step: int) -> Batch:
        rows = latents.bank.rows(step, batch_size, seed)
        z = latents.sample(rows, generator_for(seed + 1, step)).to(device)
        with torch.no_grad():
            context = encode_text(caption_ids(latents.bank, rows, step, seed, drop).to(device))
        if hints is None:
            return Batch(z=z, context=context)
        hint = torch.from_numpy(hints(latents.bank, rows)).permute(0, 3, 1, 2).to(device)
        return Batch(z=z, context=context, hint=(hint.float() / 255).contiguous())

    return batches


def emphasis(bank: SceneBank, row: int, side: int) -> np.ndarray:
    """Weight of each latent cell of a scene, float32 (side, side): 1 for sky and ground, `EMPHASIS` for what stands in front."""
    drawn = instances(bank.scene(row), 4 * side)
    numbers, counts = np.unique(drawn, return_counts=True)
    table = np.ones(256, np.float32)
    table[numbers] = np.where(numbers < 2, 1.0, np.clip(EMPHASIS_SHARE * drawn.size / counts, *EMPHASIS))
    return table[drawn].reshape(side, 4, side, 4).mean((1, 3))


def train_unet(
    unet: UNet,
    latents: LatentBank,
    encode_text: Encode,
    schedule: NoiseSchedule,
    batch_size: int,
    config: FitConfig,
    average: Average | None = None,
) -> Iterator[TrainStep]:
    """Train the UNet on captions of the bank's scenes."""
    device = next(unet.parameters()).device
    plain = batches_of(latents, encode_text, batch_size, config.seed, CAPTION_DROP, device)
    even_from = config.steps * (1 - config.cooldown)
    weights = lru_cache(maxsize=None)(lambda row: emphasis(latents.bank, row, latents.moments.shape[-1]))

    def batches(step: int) -> Batch:
        batch = plain(step)
        if step >= even_from:
            return batch
        rows = latents.bank.rows(step, batch_size, config.seed)
        weight = torch.from_numpy(np.stack([weights(int(row)) for row in rows]))
        return replace(batch, weight=weight.unsqueeze(1).to(device))

    def predict(x: Tensor, t: Tensor, batch: Batch) -> Tensor:
        return unet(x, t, batch.context)

    return fit(unet, lambda batch, g: diffusion_loss(predict, schedule, batch, g), batches, config, average)


def canny_hint(bank: SceneBank, rows: np.ndarray) -> np.ndarray:
    """Canny maps of the renders: uint8 (B, H, W, 3)."""
    return np.stack([np.repeat(edges(picture)[..., None], 3, axis=2) for picture in bank.images(rows)])


def pose_hint(bank: SceneBank, rows: np.ndarray) -> np.ndarray:
    """Skeletons of the people in the scenes, drawn by the reference renderer: uint8 (B, H, W, 3)."""
    return np.stack([draw_pose(joints(bank.scene(row), bank.size), bank.size, bank.size) for row in rows])


HINTS = {"canny": canny_hint, "pose": pose_hint}


def wake_hint(hint: nn.Module) -> None:
    """Start a hint encoder with live features of constant size, its last layer, published as zero, included.

    Two zero layers in a row learn slowly, and the zero convolutions behind it suffice to leave the UNet's output as it was.
    A thin line is a small signal, of which SiLU passes half: hence weights of deviation 2 / sqrt(inputs), after the idea of
    He et al. (arXiv 1502.01852).
    """
    for layer in hint.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.normal_(layer.weight, std=2 / layer.weight[0].numel() ** 0.5)
            nn.init.zeros_(layer.bias)


def train_controlnet(
    net: nn.Module,
    unet: UNet,
    kind: str,
    latents: LatentBank,
    encode_text: Encode,
    schedule: NoiseSchedule,
    batch_size: int,
    config: FitConfig,
    average: Average | None = None,
) -> Iterator[TrainStep]:
    """Train a ControlNet of `kind` (canny or pose) beside the frozen UNet."""
    device = next(net.parameters()).device
    unet.requires_grad_(False)
    batches = batches_of(latents, encode_text, batch_size, config.seed, CONTROL_CAPTION_DROP, device, HINTS[kind])

    def predict(x: Tensor, t: Tensor, batch: Batch) -> Tensor:
        down, middle = net(x, t, batch.context, batch.hint)
        return unet(x, t, batch.context, down_residuals=down, mid_residual=middle)

    return fit(net, lambda batch, g: diffusion_loss(predict, schedule, batch, g), batches, config, average)
