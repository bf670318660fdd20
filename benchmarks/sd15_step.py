"""Are our classes as fast as the published ones? A UNet step and a VAE decode in the shape of SD 1.5 against diffusers', in turn.

Equal random weights, equal inputs, one process, the same threads and dtype. Ours has its convolutions in channels_last, the large ones
packed, as `models.catalog` loads every model; diffusers' is as `from_pretrained` gives it, or with `--their-layout channels_last`
converted too. The full size needs about 6 GB in float32; `--width 0.5` halves all channels.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable

import diffusers
import report
import torch
from torch import nn

from models.checkpoint import map_names
from models.diffusion.keymaps import AUTOENCODER_KL, UNET_2D_CONDITION
from models.diffusion.unet import UNET_CONFIGS, UNet, UNetConfig
from models.diffusion.vae import VAE_CONFIGS, AutoencoderKL, VaeConfig
from models.nn.packed import pack_convolutions

TOKENS = 77


def narrowed(config, width: float):
    """The config with all channels times `width`, rounded to what norm groups and heads divide."""
    unit = 32
    channels = tuple(max(unit, round(c * width / unit) * unit) for c in config.block_out_channels)
    return dataclasses.replace(config, block_out_channels=channels)


def their_unet(config: UNetConfig) -> nn.Module:
    down = ["CrossAttnDownBlock2D" if here else "DownBlock2D" for here in config.attention]
    up = ["CrossAttnUpBlock2D" if here else "UpBlock2D" for here in reversed(config.attention)]
    return diffusers.UNet2DConditionModel(
        block_out_channels=config.block_out_channels, layers_per_block=config.layers_per_block,
        cross_attention_dim=config.cross_attention_dim, attention_head_dim=config.n_heads,
        norm_num_groups=config.norm_num_groups, down_block_types=tuple(down), up_block_types=tuple(up),
    )  # fmt: skip


def their_vae(config: VaeConfig) -> nn.Module:
    levels = len(config.block_out_channels)
    return diffusers.AutoencoderKL(
        block_out_channels=config.block_out_channels, layers_per_block=config.layers_per_block,
        norm_num_groups=config.norm_num_groups, latent_channels=config.latent_channels,
        down_block_types=("DownEncoderBlock2D",) * levels, up_block_types=("UpDecoderBlock2D",) * levels,
    )  # fmt: skip


def pair(theirs: Callable[[], nn.Module], ours: Callable[[], nn.Module], keymap: dict, options) -> tuple[nn.Module, nn.Module]:
    """Both networks with the same random weights, uniform within 1 / sqrt(inputs) so that activations stay of order 1."""
    with torch.device("meta"):
        their_net, our_net = theirs(), ours()
    their_net.to(getattr(torch, options.dtype)).to_empty(device=options.device)
    torch.manual_seed(0)
    for name, parameter in their_net.named_parameters():
        if parameter.ndim > 1:
            nn.init.uniform_(parameter, -(parameter[0].numel() ** -0.5), parameter[0].numel() ** -0.5)
        else:
            nn.init.constant_(parameter, 1.0 if "norm" in name and name.endswith("weight") else 0.0)
    state = their_net.state_dict()
    mapped = map_names(state, keymap)
    weights = {name: state[theirs] if change is None else change(state[theirs]) for name, (theirs, change) in mapped.items()}
    our_net.load_state_dict(weights, strict=True, assign=True)
    if options.their_layout == "channels_last":
        their_net.to(memory_format=torch.channels_last)
    ready = our_net.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    return their_net.eval().requires_grad_(False), pack_convolutions(ready)


def compare(name: str, ours: Callable[[], torch.Tensor], theirs: Callable[[], torch.Tensor], options) -> None:
    """Warm both up, check that they compute the same, time them in turn, print."""
    a, b = ours().float(), theirs().float()
    difference = ((a - b).abs().max() / b.abs().max()).item()

    def seconds(call: Callable[[], torch.Tensor]) -> float:
        synchronise(options.device)
        begin = time.perf_counter()
        call()
        synchronise(options.device)
        return time.perf_counter() - begin

    taken, published = report.alternate(lambda: seconds(ours), lambda: seconds(theirs), options.repeat)
    print(f"{name}: largest difference {difference:.1e} of the largest value")
    print(f"  ours       {report.spread(taken, 's')}\n  diffusers' {report.spread(published, 's')}")
    print(f"  ours / diffusers' {report.ratio(taken, published)}", flush=True)


def synchronise(device: str) -> None:
    """Wait until a GPU has done what it was asked."""
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    options = arguments()
    diffusers.logging.set_verbosity_error()
    if options.threads:
        torch.set_num_threads(options.threads)
    report.heading(
        f"SD 1.5 shape, width {options.width:g}, latent {options.latent}, batch {options.batch}, {options.dtype} on {options.device}, "
        f"diffusers {diffusers.__version__} in {options.their_layout}",
        torch.get_num_threads(),
    )

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(options.device, getattr(torch, options.dtype))

    z = random(options.batch, 4, options.latent, options.latent)
    with torch.no_grad():
        if "unet" in options.part:
            config = narrowed(UNET_CONFIGS["sd15"], options.width)
            theirs, ours = pair(lambda: their_unet(config), lambda: UNet(config), UNET_2D_CONDITION, options)
            context = random(options.batch, TOKENS, config.cross_attention_dim)
            t = torch.full((options.batch,), 500.0, device=options.device)
            compare("UNet step", lambda: ours(z, t, context), lambda: theirs(z, t, context).sample, options)
            del theirs, ours
        if "vae" in options.part:
            config = narrowed(VAE_CONFIGS["sd15"], options.width)
            theirs, ours = pair(lambda: their_vae(config), lambda: AutoencoderKL(config), AUTOENCODER_KL, options)
            compare("VAE decode (one picture)", lambda: ours.decode(z[:1]), lambda: theirs.decode(z[:1]).sample, options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", nargs="+", choices=("unet", "vae"), default=["unet", "vae"])
    parser.add_argument("--repeat", type=int, default=7, help="pairs of calls")
    parser.add_argument("--latent", type=int, default=32, help="side of the latent; 64 is a picture of 512 pixels")
    parser.add_argument("--batch", type=int, default=2, help="rows of the UNet; 2 is one picture under guidance")
    parser.add_argument("--width", type=float, default=1.0, help="share of the channels, for small machines")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, help="torch threads (default: torch's own choice)")
    parser.add_argument("--their-layout", choices=("contiguous", "channels_last"), default="contiguous", help="of diffusers' weights")
    return parser.parse_args()


if __name__ == "__main__":
    main()
