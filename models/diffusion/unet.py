"""The UNet of Stable Diffusion 1.x (Rombach et al., arXiv 2112.10752; after Ho et al., 2006.11239).

Given a noisy latent x_t, the time t and the text states c, it predicts the noise in x_t. An encoder halves the
size level by level and keeps every intermediate tensor as a *skip*; a decoder doubles it again and reads the skips
in reverse order. Transformer blocks let each cell look at all cells (self-attention) and at the words
(cross-attention). Matches diffusers' `UNet2DConditionModel` with the SD 1.5 config. Read next: `controlnet.py`.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

from models.nn.attention import Attention
from models.nn.embed import sinusoidal
from models.nn.mlp import Geglu
from models.nn.probe import Note, Probe

RES_EPS = 1e-5          # group norms of ResBlocks and of the output
TRANSFORMER_EPS = 1e-6  # group norm at the entrance of a transformer


@dataclass(frozen=True)
class UNetConfig:
    """Sizes of a UNet; level i works at 1 / 2^i of the latent's side."""

    in_channels: int
    out_channels: int
    block_out_channels: tuple[int, ...]
    layers_per_block: int
    attention: tuple[bool, ...]  # which levels have transformers, down and up alike
    cross_attention_dim: int
    n_heads: int
    norm_num_groups: int

    def __post_init__(self) -> None:
        if len(self.attention) != len(self.block_out_channels):
            raise ValueError(
                f"{len(self.attention)} attention flags for {len(self.block_out_channels)} UNet levels"
            )
        for channels in self.block_out_channels:
            if channels % self.norm_num_groups or channels % self.n_heads:
                raise ValueError(
                    f"UNet width {channels} is not divisible by {self.norm_num_groups} norm groups "
                    f"and {self.n_heads} heads"
                )

    @property
    def time_dim(self) -> int:
        return 4 * self.block_out_channels[0]

    @property
    def transformers(self) -> tuple[tuple[str, int], ...]:
        """Where each transformer stands, in the order in which they run: ("down", "middle" or "up", level)."""
        levels = [level for level, attention in enumerate(self.attention) if attention]
        down = [("down", level) for level in levels for _ in range(self.layers_per_block)]
        up = [("up", level) for level in reversed(levels) for _ in range(self.layers_per_block + 1)]
        return (*down, ("middle", len(self.attention) - 1), *up)

    @property
    def skip_channels(self) -> tuple[int, ...]:
        """Width of every skip, in the order in which the encoder makes them."""
        widths = [self.block_out_channels[0]]
        for i, channels in enumerate(self.block_out_channels):
            last = i == len(self.block_out_channels) - 1
            widths += [channels] * (self.layers_per_block + (0 if last else 1))
        return tuple(widths)


UNET_CONFIGS = {
    "sd15": UNetConfig(
        in_channels=4, out_channels=4, block_out_channels=(320, 640, 1280, 1280), layers_per_block=2,
        attention=(True, True, True, False), cross_attention_dim=768, n_heads=8, norm_num_groups=32,
    ),
    "playworld": UNetConfig(
        in_channels=4, out_channels=4, block_out_channels=(128, 192, 256), layers_per_block=1,
        attention=(False, True, True), cross_attention_dim=192, n_heads=4, norm_num_groups=16,
    ),
}


def zeroed(module: nn.Module) -> nn.Module:
    """The module with all parameters at zero, so that the branch it ends starts silent."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


class TimeEmbedding(nn.Module):
    """Sinusoidal code of t, then Linear, SiLU, Linear."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.dim = config.block_out_channels[0]
        self.linear1 = nn.Linear(self.dim, config.time_dim)
        self.linear2 = nn.Linear(config.time_dim, config.time_dim)

    def forward(self, t: Tensor) -> Tensor:
        code = sinusoidal(t, self.dim).to(self.linear1.weight.dtype)        # (B, C0)
        return self.linear2(silu(self.linear1(code)))                       # (B, 4 C0)


class ResBlock(nn.Module):
    """u = conv(silu(norm x)) + Linear(silu(time)); out = conv(silu(norm u)) + shortcut(x)."""

    def __init__(self, in_channels: int, out_channels: int, config: UNetConfig) -> None:
        super().__init__()
        groups = config.norm_num_groups
        self.norm1 = nn.GroupNorm(groups, in_channels, eps=RES_EPS)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.time = nn.Linear(config.time_dim, out_channels)
        self.norm2 = nn.GroupNorm(groups, out_channels, eps=RES_EPS)
        self.conv2 = zeroed(nn.Conv2d(out_channels, out_channels, 3, padding=1))
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        u = self.conv1(silu(self.norm1(x)))                                 # (B, out, H, W)
        u = u + self.time(silu(time))[:, :, None, None]                     # (B, out, H, W)
        u = self.conv2(silu(self.norm2(u)))                                 # (B, out, H, W)
        return self.shortcut(x) + u                                         # (B, out, H, W)


class TransformerBlock(nn.Module):
    """x += self-attention; x += cross-attention to the text; x += GEGLU net; each after a layer norm."""

    def __init__(self, channels: int, config: UNetConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.self_attention = Attention(channels, config.n_heads, qkv_bias=False)
        self.norm2 = nn.LayerNorm(channels)
        self.cross_attention = Attention(channels, config.n_heads, config.cross_attention_dim, qkv_bias=False)
        self.norm3 = nn.LayerNorm(channels)
        self.mlp = Geglu(channels, 4 * channels)

    def forward(self, x: Tensor, context: Tensor, note: Note | None = None) -> Tensor:
        x = x + self.self_attention(self.norm1(x), note=note)               # (B, HW, C)
        x = x + self.cross_attention(self.norm2(x), context, note=note)     # (B, HW, C)
        return x + self.mlp(self.norm3(x))                                  # (B, HW, C)


class Transformer(nn.Module):
    """A transformer block on the cells of a feature map, added to the map."""

    def __init__(self, channels: int, config: UNetConfig) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(config.norm_num_groups, channels, eps=TRANSFORMER_EPS)
        self.proj_in = nn.Linear(channels, channels)
        self.block = TransformerBlock(channels, config)
        self.proj_out = zeroed(nn.Linear(channels, channels))

    def forward(self, x: Tensor, context: Tensor, note: Note | None = None) -> Tensor:
        tokens = rearrange(self.norm(x), "b c h w -> b (h w) c")            # (B, HW, C)
        tokens = self.block(self.proj_in(tokens), context, note)            # (B, HW, C)
        return x + rearrange(self.proj_out(tokens), "b (h w) c -> b c h w", h=x.shape[2])   # (B, C, H, W)


class Stage(nn.Module):
    """A ResBlock and, where the level has attention, a transformer."""

    def __init__(self, in_channels: int, out_channels: int, config: UNetConfig, attention: bool) -> None:
        super().__init__()
        self.res = ResBlock(in_channels, out_channels, config)
        self.transformer = Transformer(out_channels, config) if attention else None

    def forward(self, x: Tensor, time: Tensor, context: Tensor, note: Note | None = None) -> Tensor:
        x = self.res(x, time)                                               # (B, out, H, W)
        return x if self.transformer is None else self.transformer(x, context, note)


class Downsample(nn.Module):
    """A stride-2 conv; odd sides round up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)                                                 # (B, C, ceil(H/2), ceil(W/2))


class Upsample(nn.Module):
    """Nearest neighbours to the size of the next skip (twice, or one less if that is odd), then a 3x3 conv."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor, like: Tensor) -> Tensor:
        return self.conv(interpolate(x, size=like.shape[2:], mode="nearest"))   # (B, C, H', W')


class DownLevel(nn.Module):
    """Stages of one size, then a halving (absent at the deepest level); every output is a skip."""

    def __init__(self, in_channels: int, out_channels: int, config: UNetConfig, attention: bool, last: bool) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            Stage(in_channels if i == 0 else out_channels, out_channels, config, attention)
            for i in range(config.layers_per_block)
        )
        self.down = None if last else Downsample(out_channels)

    def forward(self, x: Tensor, time: Tensor, context: Tensor, note: Note | None = None) -> list[Tensor]:
        outputs = []
        for stage in self.stages:
            x = stage(x, time, context, note)                               # (B, C, H, W)
            outputs.append(x)
        if self.down is not None:
            outputs.append(self.down(x))                                    # (B, C, H/2, W/2)
        return outputs


class UpLevel(nn.Module):
    """Stages that each read one skip, then a doubling (absent at the last level)."""

    def __init__(self, in_channels: list[int], out_channels: int, config: UNetConfig, attention: bool,
                 last: bool) -> None:
        super().__init__()
        self.stages = nn.ModuleList(Stage(width, out_channels, config, attention) for width in in_channels)
        self.up = None if last else Upsample(out_channels)

    def forward(self, x: Tensor, skips: list[Tensor], time: Tensor, context: Tensor, note: Note | None = None) -> Tensor:
        """Takes its skips off the end of `skips`; the next one left there gives the size to grow to."""
        for stage in self.stages:
            x = stage(torch.cat([x, skips.pop()], dim=1), time, context, note)  # (B, C, H, W)
        return x if self.up is None else self.up(x, like=skips[-1])         # (B, C, H', W')


class Middle(nn.Module):
    """ResBlock, transformer, ResBlock at the smallest size."""

    def __init__(self, channels: int, config: UNetConfig) -> None:
        super().__init__()
        self.res1 = ResBlock(channels, channels, config)
        self.transformer = Transformer(channels, config)
        self.res2 = ResBlock(channels, channels, config)

    def forward(self, x: Tensor, time: Tensor, context: Tensor, note: Note | None = None) -> Tensor:
        x = self.transformer(self.res1(x, time), context, note)             # (B, C, h, w)
        return self.res2(x, time)                                           # (B, C, h, w)


class Encoder(nn.Module):
    """conv_in and the down levels; a ControlNet is a second one of these with a hint added after conv_in."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        widths = config.block_out_channels
        self.conv_in = nn.Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.levels = nn.ModuleList(
            DownLevel(widths[max(i - 1, 0)], width, config, config.attention[i], last=i == len(widths) - 1)
            for i, width in enumerate(widths)
        )

    def forward(
        self, x: Tensor, time: Tensor, context: Tensor, hint: Tensor | None = None, note: Note | None = None
    ) -> list[Tensor]:
        """All skips, shallow to deep; the last one goes on to the middle."""
        h = self.conv_in(x)                                                 # (B, C0, H, W)
        skips = [h if hint is None else h + hint]
        for level in self.levels:
            skips += level(skips[-1], time, context, note)                  # (B, Ci, H/2^i, W/2^i)
        return skips


class Decoder(nn.Module):
    """The up levels, deepest first, each one stage longer than its down level; then norm and conv_out."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        widths, skips = config.block_out_channels, list(config.skip_channels)
        self.levels = nn.ModuleList()
        below = widths[-1]
        for i in reversed(range(len(widths))):
            in_channels = []
            for _ in range(config.layers_per_block + 1):
                in_channels.append(below + skips.pop())
                below = widths[i]
            self.levels.append(UpLevel(in_channels, widths[i], config, config.attention[i], last=i == 0))
        self.norm_out = nn.GroupNorm(config.norm_num_groups, widths[0], eps=RES_EPS)
        self.conv_out = zeroed(nn.Conv2d(widths[0], config.out_channels, 3, padding=1))

    def forward(self, x: Tensor, skips: list[Tensor], time: Tensor, context: Tensor, note: Note | None = None) -> Tensor:
        skips = list(skips)
        for level in self.levels:
            x = level(x, skips, time, context, note)                        # (B, Ci, H/2^i, W/2^i)
        return self.conv_out(silu(self.norm_out(x)))                        # (B, out, H, W)


class UNet(nn.Module):
    """Encoder, middle and decoder, with an entrance for the residuals of ControlNets."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        self.time = TimeEmbedding(config)
        self.encoder = Encoder(config)
        self.middle = Middle(config.block_out_channels[-1], config)
        self.decoder = Decoder(config)

    def forward(
        self,
        x: Tensor,
        t: Tensor,
        context: Tensor,
        down_residuals: list[Tensor] | None = None,
        mid_residual: Tensor | None = None,
        probe: Probe | None = None,
    ) -> Tensor:
        """Predict the noise (B, 4, H, W) in latents x (B, 4, H, W), any H and W, at time t, given words.

        t is (B,) or a single number, 0 ... 999, whole or not; context is (B, T, cross_attention_dim). Residuals
        are added to the skips and to the middle's output *before* the decoder reads them. `probe` numbers the
        transformers as `UNetConfig.transformers` does.
        """
        note = None if probe is None else probe.in_turn()
        time = self.time(t.expand(len(x)))                                  # (B, 4 C0)
        skips = self.encoder(x, time, context, note=note)                   # shallow to deep
        h = self.middle(skips[-1], time, context, note)                     # (B, Cn, h, w)
        if down_residuals is not None:
            if len(down_residuals) != len(skips):
                raise ValueError(f"{len(down_residuals)} residuals for {len(skips)} skips of the UNet")
            skips = [skip + residual for skip, residual in zip(skips, down_residuals)]
        if mid_residual is not None:
            h = h + mid_residual                                            # (B, Cn, h, w)
        return self.decoder(h, skips, time, context, note)                  # (B, 4, H, W)
