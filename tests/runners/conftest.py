"""Tiny random networks under the family name "tiny", in the catalogue like the real ones."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

from app.runners.diffusion_models import FAMILIES
from models import catalog
from models.checkpoint import save_sharded
from models.diffusion.controlnet import ControlNet, ControlNetConfig
from models.diffusion.preview import LatentRgb, save_latent_rgb
from models.diffusion.unet import UNet, UNetConfig
from models.diffusion.vae import AutoencoderKL, VaeConfig
from models.multimodal.clip import CLIP_CONFIGS, Clip
from models.playworld.words import VOCAB_SIZE

VAE = VaeConfig(
    in_channels=3, latent_channels=4, block_out_channels=(8, 8, 8, 8), layers_per_block=1, norm_num_groups=4,
    mid_attention=False, scaling_factor=0.18215,
)  # fmt: skip
UNET = UNetConfig(
    in_channels=4, out_channels=4, block_out_channels=(8, 16), layers_per_block=1, attention=(True, True),
    cross_attention_dim=12, n_heads=2, norm_num_groups=4,
)  # fmt: skip
CONTROL = ControlNetConfig(unet=UNET, hint_channels=(4, 4, 8, 8), hint_in_channels=3)


def tiny_clip() -> Clip:
    config = CLIP_CONFIGS["playworld"].with_vocabulary(VOCAB_SIZE)
    text = replace(config.text, dim=12, n_layers=1, n_heads=2, ffn_dim=24)
    vision = replace(config.vision, image_size=32, patch_size=16, dim=12, n_layers=1, n_heads=2, ffn_dim=24)
    return Clip(replace(config, text=text, vision=vision, joint_dim=8))


BUILDERS = {
    "vae": lambda: AutoencoderKL(VAE),
    "clip": tiny_clip,
    "unet": lambda: UNet(UNET),
    "control-canny": lambda: ControlNet(CONTROL),
    "control-pose": lambda: ControlNet(CONTROL),
    "joints": catalog.SPECS["playworld/joints"].build,
}


def randomised(module: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Every parameter away from its start, so that no zero convolution hides what follows it; the same in every session."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in module.named_parameters():
        spread = 0.3 * torch.randn(parameter.shape, generator=generator)
        parameter.data = spread + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
    return module


@pytest.fixture(scope="session")
def tiny_weights(tmp_path_factory) -> Iterator[object]:
    """The folder with the weights of "tiny", registered in the catalogue for the session; where weights lie stays as it was."""
    folder = tmp_path_factory.mktemp("weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(FAMILIES, "tiny", FAMILIES["playworld"])
        for seed, (name, build) in enumerate(BUILDERS.items()):
            base = catalog.SPECS[f"playworld/{name}"]
            spec = replace(base, key=f"tiny/{name}", title=f"tiny {name}", build=build, file=f"tiny-{name}")
            patch.setitem(catalog.SPECS, spec.key, spec)
            save_sharded(randomised(build(), seed).state_dict(), folder / spec.path.name)
        rgb = LatentRgb(torch.tensor([[0.3, 0.2, 0.1], [0.1, -0.3, 0.2], [-0.2, 0.1, 0.3], [0.1, 0.1, -0.2]]), torch.zeros(3))
        save_latent_rgb(rgb, folder / "tiny-latent-rgb.json")
        yield folder


@pytest.fixture
def tiny(tiny_weights, monkeypatch) -> object:
    """As `tiny_weights`, whatever other tests did to the environment."""
    monkeypatch.setenv("GLASSBOX_WEIGHTS", str(tiny_weights))
    return tiny_weights


@pytest.fixture(scope="session")
def tiny_nets(tiny_weights) -> dict[str, torch.nn.Module]:
    """The networks of "tiny", loaded once: most tests are not about loading."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GLASSBOX_WEIGHTS", str(tiny_weights))
        return {f"tiny/{name}": catalog.load(f"tiny/{name}") for name in BUILDERS}
