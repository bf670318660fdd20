"""The names of an original single SD 1.5 file: all of it is accounted for, and diffusers' converter agrees with us."""

import dataclasses

import pytest
import torch

from models.checkpoint import CheckpointError, map_names
from models.diffusion.keymaps import AUTOENCODER_KL, UNET_2D_CONDITION, single_file_unet, single_file_vae
from models.diffusion.unet import UNET_CONFIGS, UNet
from models.diffusion.vae import VAE_CONFIGS, AutoencoderKL
from models.multimodal.clip import CLIP_CONFIGS, ClipText
from models.multimodal.keymaps import CLIP_TEXT, SINGLE_FILE_CLIP_TEXT

UNET, VAE, TEXT = UNET_CONFIGS["sd15"], VAE_CONFIGS["sd15"], CLIP_CONFIGS["sd15"].text
EXTRAS = ["betas", "alphas_cumprod", "posterior_mean_coef2", "model_ema.decay", "model_ema.diffusion_modelout2bias"]


@pytest.fixture(scope="module")
def ours():
    """Our parameters of the three networks, on the meta device."""
    with torch.device("meta"):
        return {"unet": UNet(UNET).state_dict(), "vae": AutoencoderKL(VAE).state_dict(),
                "text": ClipText(TEXT).state_dict()}


def candidates(keymap: dict, wanted) -> dict[str, str]:
    """{our name: their name} read backwards out of a table, for every parameter that we have."""
    backwards = {}
    for theirs, target in keymap.items():
        for number in range(13):
            their_name = theirs.format(i=number, j=number)
            our_name = (target[0] if isinstance(target, tuple) else target or "").format(i=number, j=number)
            for tail in ("", ".weight", ".bias"):
                if our_name + tail in wanted:
                    backwards.setdefault(our_name + tail, their_name + tail)
    return backwards


@pytest.fixture(scope="module")
def single_file(ours):
    """A file as the authors of SD 1.5 wrote it: names and shapes only."""
    file = {name: torch.empty(1, device="meta") for name in EXTRAS}
    for part, keymap in (
        ("unet", single_file_unet(UNET)), ("vae", single_file_vae(VAE)), ("text", SINGLE_FILE_CLIP_TEXT)
    ):
        backwards = candidates(keymap, ours[part])
        assert backwards.keys() == ours[part].keys()
        for our_name, their_name in backwards.items():
            tensor = ours[part][our_name]
            as_conv = ("proj_in.weight", "proj_out.weight", "attn_1.q.weight", "attn_1.k.weight", "attn_1.v.weight")
            file[their_name] = tensor[..., None, None] if their_name.endswith(as_conv) else tensor
    return file


def through_diffusers(converted: dict, keymap: dict) -> dict[str, torch.Size]:
    mapped = map_names(converted, keymap)
    return {
        name: (converted[theirs] if transform is None else transform(converted[theirs])).shape
        for name, (theirs, transform) in mapped.items()
    }


def test_every_name_of_the_file_is_read_or_dropped_on_purpose(single_file, ours):
    assert len(single_file) == 686 + 248 + 196 + len(EXTRAS)
    for part, keymap in (
        ("unet", single_file_unet(UNET)), ("vae", single_file_vae(VAE)), ("text", SINGLE_FILE_CLIP_TEXT)
    ):
        assert map_names(single_file, keymap).keys() == ours[part].keys()
        with pytest.raises(CheckpointError, match="lora_up"):
            map_names([*single_file, "lora_up.weight"], keymap)


def test_diffusers_converter_agrees_about_the_unet(single_file, ours):
    single_file_utils = pytest.importorskip("diffusers.loaders.single_file_utils")
    converted = single_file_utils.convert_ldm_unet_checkpoint(dict(single_file), {"layers_per_block": 2})
    direct = map_names(single_file, single_file_unet(UNET))
    both_ways = map_names(converted, UNET_2D_CONDITION)
    assert both_ways.keys() == direct.keys()
    for name, (their_name, _) in both_ways.items():
        assert converted[their_name] is single_file[direct[name][0]], name
    shapes = through_diffusers(converted, UNET_2D_CONDITION)
    assert shapes == {name: tensor.shape for name, tensor in ours["unet"].items()}


def test_diffusers_converter_agrees_about_the_vae(single_file, ours):
    single_file_utils = pytest.importorskip("diffusers.loaders.single_file_utils")
    marked = {name: torch.full((1, 1, 1, 1), float(i)) for i, name in enumerate(single_file)}
    config = {"down_block_types": [0] * 4, "up_block_types": [0] * 4}
    converted = single_file_utils.convert_ldm_vae_checkpoint(marked, config)
    direct = map_names(single_file, single_file_vae(VAE))
    both_ways = map_names(converted, AUTOENCODER_KL)
    assert both_ways.keys() == direct.keys() == ours["vae"].keys()
    for name, (their_name, _) in both_ways.items():
        assert converted[their_name].item() == marked[direct[name][0]].item(), name


def test_diffusers_converter_agrees_about_the_text_tower(single_file, ours):
    single_file_utils = pytest.importorskip("diffusers.loaders.single_file_utils")
    converted = single_file_utils.convert_ldm_clip_checkpoint(dict(single_file))
    direct = map_names(single_file, SINGLE_FILE_CLIP_TEXT)
    for name, (their_name, _) in map_names(converted, CLIP_TEXT).items():
        assert converted[their_name] is single_file[direct[name][0]], name
    assert len(converted) == len(ours["text"])


def test_upsamplers_move_up_where_a_level_has_no_attention():
    plain = dataclasses.replace(UNET, attention=(False, True, True, False))
    table = single_file_unet(plain)
    assert table["model.diffusion_model.output_blocks.2.1.conv"] == "decoder.levels.0.up.conv"
    assert table["model.diffusion_model.output_blocks.5.2.conv"] == "decoder.levels.1.up.conv"
