"""ControlNet (Zhang et al., arXiv 2302.05543): a drawn map steers a frozen UNet.

A trainable copy of the UNet's encoder and middle reads the noisy latent plus an encoding of the map; each of its
outputs passes a 1x1 convolution that starts at zero and is added to the matching skip of the UNet:
y = F(x; W) + Z2(F(x + Z1(hint); W_copy)). At the start nothing is added, so training begins from the unharmed
UNet. Hint encoder as in the released weights (stride-2 3x3 convs). Matches diffusers' `ControlNetModel`.
"""

from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import silu

from models.diffusion.unet import UNET_CONFIGS, Encoder, Middle, TimeEmbedding, UNet, UNetConfig, zeroed


@dataclass(frozen=True)
class ControlNetConfig:
    """The UNet that is copied, and the widths of the hint encoder: one halving after each but the last."""

    unet: UNetConfig
    hint_channels: tuple[int, ...]
    hint_in_channels: int

    @property
    def downscale(self) -> int:
        """Pixels of the hint per latent cell along one side."""
        return 2 ** (len(self.hint_channels) - 1)


CONTROLNET_CONFIGS = {
    "sd15": ControlNetConfig(unet=UNET_CONFIGS["sd15"], hint_channels=(16, 32, 96, 256), hint_in_channels=3),
    "playworld": ControlNetConfig(unet=UNET_CONFIGS["playworld"], hint_channels=(16, 32, 64, 128), hint_in_channels=3),
}


class HintEncoder(nn.Module):
    """A map in pixels to the latent's size: 3x3 convs with SiLU between, the last one starting at zero."""

    def __init__(self, config: ControlNetConfig) -> None:
        super().__init__()
        widths = config.hint_channels
        self.conv_in = nn.Conv2d(config.hint_in_channels, widths[0], 3, padding=1)
        self.convs = nn.ModuleList()
        for narrow, wide in zip(widths, widths[1:]):
            self.convs.append(nn.Conv2d(narrow, narrow, 3, padding=1))
            self.convs.append(nn.Conv2d(narrow, wide, 3, padding=1, stride=2))
        self.conv_out = zeroed(nn.Conv2d(widths[-1], config.unet.block_out_channels[0], 3, padding=1))

    def forward(self, hint: Tensor) -> Tensor:
        h = silu(self.conv_in(hint))                                        # (B, 16, 8H, 8W)
        for conv in self.convs:
            h = silu(conv(h))                                               # (B, ..., 8H/2^i, 8W/2^i)
        return self.conv_out(h)                                             # (B, C0, H, W)


class ControlNet(nn.Module):
    """The copied encoder and middle, the hint encoder, and a zero conv on every output."""

    def __init__(self, config: ControlNetConfig) -> None:
        super().__init__()
        deepest = config.unet.block_out_channels[-1]
        self.config = config
        self.hint = HintEncoder(config)
        self.time = TimeEmbedding(config.unet)
        self.encoder = Encoder(config.unet)
        self.middle = Middle(deepest, config.unet)
        self.zero_convs = nn.ModuleList(zeroed(nn.Conv2d(c, c, 1)) for c in config.unet.skip_channels)
        self.zero_middle = zeroed(nn.Conv2d(deepest, deepest, 1))

    @classmethod
    def from_unet(cls, unet: UNet, hint_channels: tuple[int, ...] = (16, 32, 96, 256)) -> "ControlNet":
        """A ControlNet that starts as a copy of the UNet's time embedding, encoder and middle."""
        net = cls(ControlNetConfig(unet=unet.config, hint_channels=hint_channels, hint_in_channels=3))
        net.time.load_state_dict(unet.time.state_dict())
        net.encoder.load_state_dict(unet.encoder.state_dict())
        net.middle.load_state_dict(unet.middle.state_dict())
        return net.to(device=unet.encoder.conv_in.weight.device, dtype=unet.encoder.conv_in.weight.dtype)

    def forward(self, x: Tensor, t: Tensor, context: Tensor, hint: Tensor) -> tuple[list[Tensor], Tensor]:
        """Residuals for the UNet's skips, shallow to deep, and for its middle output.

        x (B, 4, H, W), t (B,) or one number, context (B, T, D) as for the UNet; hint (B, 3, 8H, 8W) in [0, 1].
        """
        cells = tuple(-(-side // self.config.downscale) for side in hint.shape[2:])
        if cells != tuple(x.shape[2:]):
            raise ValueError(f"a hint of {tuple(hint.shape[2:])} pixels does not fit a latent of {tuple(x.shape[2:])}")
        time = self.time(t.expand(len(x)))                                  # (B, 4 C0)
        skips = self.encoder(x, time, context, hint=self.hint(hint))        # shallow to deep
        mid = self.middle(skips[-1], time, context)                         # (B, Cn, h, w)
        residuals = [conv(skip) for conv, skip in zip(self.zero_convs, skips)]
        return residuals, self.zero_middle(mid)
