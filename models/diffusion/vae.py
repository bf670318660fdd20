"""The autoencoder of Stable Diffusion (Rombach et al., arXiv 2112.10752; KL form of Kingma & Welling, 1312.6114).

The encoder turns a picture into the mean and log-variance of a Gaussian over a latent 8 times smaller per side;
the decoder paints it back. Diffusion runs on z = scaling_factor * (mean + std * eps); here z is *unscaled*, and
whoever calls multiplies or divides by `config.scaling_factor`. Matches diffusers' `AutoencoderKL` of SD 1.x.
Read next: `unet.py`.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad, scaled_dot_product_attention, silu

EPS = 1e-6                    # of every group norm here; the UNet's ResBlocks use 1e-5
LOGVAR_RANGE = (-30.0, 20.0)  # keeps exp() finite


@dataclass(frozen=True)
class VaeConfig:
    """Sizes of an autoencoder; level i works at 1 / 2^i of the picture's side."""

    in_channels: int
    latent_channels: int
    block_out_channels: tuple[int, ...]
    layers_per_block: int
    norm_num_groups: int
    mid_attention: bool
    scaling_factor: float

    def __post_init__(self) -> None:
        for channels in self.block_out_channels:
            if channels % self.norm_num_groups:
                raise ValueError(f"VAE width {channels} is not divisible by {self.norm_num_groups} norm groups")

    @property
    def downscale(self) -> int:
        """Pixels per latent cell along one side."""
        return 2 ** (len(self.block_out_channels) - 1)


VAE_CONFIGS = {
    "sd15": VaeConfig(
        in_channels=3, latent_channels=4, block_out_channels=(128, 256, 512, 512), layers_per_block=2,
        norm_num_groups=32, mid_attention=True, scaling_factor=0.18215,
    ),
    "playworld": VaeConfig(
        in_channels=3, latent_channels=4, block_out_channels=(16, 32, 64, 128), layers_per_block=1,
        norm_num_groups=8, mid_attention=True, scaling_factor=1.0,
    ),
}


class ResBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm x))))), with a 1x1 conv on the shortcut when the width changes."""

    def __init__(self, in_channels: int, out_channels: int, groups: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, in_channels, eps=EPS)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, out_channels, eps=EPS)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(silu(self.norm1(x)))                                 # (B, out, H, W)
        h = self.conv2(silu(self.norm2(h)))                                 # (B, out, H, W)
        return self.shortcut(x) + h                                         # (B, out, H, W)


class SpatialAttention(nn.Module):
    """Single-head self-attention over all cells of the picture, added to the input."""

    def __init__(self, channels: int, groups: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(groups, channels, eps=EPS)
        self.q = nn.Linear(channels, channels)
        self.k = nn.Linear(channels, channels)
        self.v = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        tokens = rearrange(self.norm(x), "b c h w -> b (h w) c")            # (B, HW, C)
        h = scaled_dot_product_attention(
            self.q(tokens)[:, None], self.k(tokens)[:, None], self.v(tokens)[:, None]
        )[:, 0]                                                             # (B, HW, C)
        return x + rearrange(self.out(h), "b (h w) c -> b c h w", h=x.shape[2])   # (B, C, H, W)


class Downsample(nn.Module):
    """A stride-2 conv, padded by one cell on the right and at the bottom only."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(pad(x, (0, 1, 0, 1)))                              # (B, C, H/2, W/2)


class Upsample(nn.Module):
    """Every cell doubled along both sides, then a 3x3 conv to smooth the steps."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(interpolate(x, scale_factor=2.0, mode="nearest"))  # (B, C, 2H, 2W)


class Middle(nn.Module):
    """ResBlock, attention (if the config has it), ResBlock at the smallest size."""

    def __init__(self, channels: int, config: VaeConfig) -> None:
        super().__init__()
        groups = config.norm_num_groups
        self.res1 = ResBlock(channels, channels, groups)
        self.attention = SpatialAttention(channels, groups) if config.mid_attention else nn.Identity()
        self.res2 = ResBlock(channels, channels, groups)

    def forward(self, x: Tensor) -> Tensor:
        return self.res2(self.attention(self.res1(x)))                      # (B, C, h, w)


class Level(nn.Module):
    """ResBlocks of one size, then a change of size (or none at the last level)."""

    def __init__(self, in_channels: int, out_channels: int, n_blocks: int, groups: int, resize: nn.Module) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ResBlock(in_channels if i == 0 else out_channels, out_channels, groups) for i in range(n_blocks)
        )
        self.resize = resize

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)                                                    # (B, out, H, W)
        return self.resize(x)                                               # (B, out, H', W')


class Encoder(nn.Module):
    """Picture to the 2 * latent_channels numbers per cell from which mean and log-variance are read."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        widths, groups = config.block_out_channels, config.norm_num_groups
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.levels = nn.ModuleList()
        for i, width in enumerate(widths):
            resize = nn.Identity() if i == len(widths) - 1 else Downsample(width)
            self.levels.append(Level(widths[max(i - 1, 0)], width, config.layers_per_block, groups, resize))
        self.middle = Middle(widths[-1], config)
        self.norm_out = nn.GroupNorm(groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], 2 * config.latent_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)                                                 # (B, C0, H, W)
        for level in self.levels:
            h = level(h)                                                    # (B, Ci, H/2^i, W/2^i)
        return self.conv_out(silu(self.norm_out(self.middle(h))))           # (B, 2 latent, h, w)


class Decoder(nn.Module):
    """Latent to picture: the encoder mirrored, with one more ResBlock per level."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        widths, groups = config.block_out_channels[::-1], config.norm_num_groups
        self.conv_in = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.middle = Middle(widths[0], config)
        self.levels = nn.ModuleList()
        for i, width in enumerate(widths):
            resize = nn.Identity() if i == len(widths) - 1 else Upsample(width)
            self.levels.append(Level(widths[max(i - 1, 0)], width, config.layers_per_block + 1, groups, resize))
        self.norm_out = nn.GroupNorm(groups, widths[-1], eps=EPS)
        self.conv_out = nn.Conv2d(widths[-1], config.in_channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        h = self.middle(self.conv_in(z))                                    # (B, Cn, h, w)
        for level in self.levels:
            h = level(h)                                                    # (B, Ci, 2^i h, 2^i w)
        return self.conv_out(silu(self.norm_out(h)))                        # (B, 3, H, W)


class AutoencoderKL(nn.Module):
    """Encoder and decoder with the 1x1 convs between them and the latent."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        latent = config.latent_channels
        self.config = config
        self.encoder = Encoder(config)
        self.to_moments = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.from_latent = nn.Conv2d(latent, latent, 1)
        self.decoder = Decoder(config)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance, each (B, 4, H/8, W/8), of the latent of pictures x (B, 3, H, W) in [-1, 1]."""
        mean, logvar = self.to_moments(self.encoder(x)).chunk(2, dim=1)     # 2 x (B, 4, h, w)
        return mean, logvar.clamp(*LOGVAR_RANGE)

    def decode(self, z: Tensor) -> Tensor:
        """Pictures (B, 3, 8h, 8w), about [-1, 1], of unscaled latents z (B, 4, h, w)."""
        return self.decoder(self.from_latent(z))                            # (B, 3, H, W)

    def forward(self, x: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Reconstruct x through mean + std * eps; for training. Returns (picture, mean, logvar)."""
        mean, logvar = self.encode(x)                                       # 2 x (B, 4, h, w)
        z = mean + torch.exp(0.5 * logvar) * eps                            # (B, 4, h, w)
        return self.decode(z), mean, logvar                                 # (B, 3, H, W)
