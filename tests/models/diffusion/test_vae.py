"""AutoencoderKL against diffusers', layer by layer and whole, and what must hold without a reference."""

import pytest
import torch

from models.diffusion.keymaps import AUTOENCODER_KL
from models.diffusion.vae import (
    VAE_CONFIGS,
    AutoencoderKL,
    Downsample,
    ResBlock,
    SpatialAttention,
    Upsample,
    VaeConfig,
)
from tests.models.parity import LAYER, WHOLE, assert_close, assert_equal_gradients, build_large, copy_weights, fill, normal

TINY = VaeConfig(
    in_channels=3, latent_channels=4, block_out_channels=(8, 16, 24), layers_per_block=2, norm_num_groups=4,
    mid_attention=True, scaling_factor=0.18215,
)


def their_vae(config: VaeConfig):
    diffusers = pytest.importorskip("diffusers")
    levels = len(config.block_out_channels)
    return diffusers.AutoencoderKL(
        block_out_channels=config.block_out_channels,
        layers_per_block=config.layers_per_block,
        norm_num_groups=config.norm_num_groups,
        latent_channels=config.latent_channels,
        mid_block_add_attention=config.mid_attention,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
    )


def pair(config: VaeConfig):
    theirs = fill(their_vae(config))
    ours = AutoencoderKL(config)
    copy_weights(theirs, ours, AUTOENCODER_KL)
    return theirs, ours


def test_resblock_equals_diffusers():
    resnet = pytest.importorskip("diffusers.models.resnet")
    for width in (8, 16):
        theirs = fill(resnet.ResnetBlock2D(in_channels=8, out_channels=width, temb_channels=None, groups=4, eps=1e-6))
        ours = ResBlock(8, width, groups=4)
        copy_weights(theirs, ours, AUTOENCODER_KL, "encoder.down_blocks.0.resnets.0.", "encoder.levels.0.blocks.0.")
        x = normal(2, 8, 6, 5)
        assert_close(ours(x), theirs(x, None), LAYER)


def test_attention_equals_diffusers():
    processor = pytest.importorskip("diffusers.models.attention_processor")
    theirs = fill(
        processor.Attention(
            16, heads=1, dim_head=16, norm_num_groups=4, eps=1e-6, bias=True, residual_connection=True,
            upcast_softmax=True, _from_deprecated_attn_block=True,
        )
    )
    ours = SpatialAttention(16, groups=4)
    copy_weights(theirs, ours, AUTOENCODER_KL, "encoder.mid_block.attentions.0.", "encoder.middle.attention.")
    x = normal(2, 16, 3, 5)
    assert_close(ours(x), theirs(x), LAYER)


def test_resizing_equals_diffusers():
    downsampling = pytest.importorskip("diffusers.models.downsampling")
    upsampling = pytest.importorskip("diffusers.models.upsampling")
    x = normal(2, 8, 6, 10)
    theirs, ours = fill(downsampling.Downsample2D(8, use_conv=True, padding=0, name="op")), Downsample(8)
    ours.conv.load_state_dict(theirs.conv.state_dict())
    assert_close(ours(x), theirs(x), LAYER)
    theirs, ours = fill(upsampling.Upsample2D(8, use_conv=True)), Upsample(8)
    ours.conv.load_state_dict(theirs.conv.state_dict())
    assert_close(ours(x), theirs(x), LAYER)


def test_encoder_and_decoder_equal_diffusers_with_gradients():
    theirs, ours = pair(TINY)
    x, z = normal(2, 3, 16, 24), normal(2, 4, 4, 6)

    def run_theirs():
        latent = theirs.encode(x).latent_dist
        return torch.cat([latent.mean.flatten(), latent.logvar.flatten(), theirs.decode(z).sample.flatten()])

    def run_ours():
        mean, logvar = ours.encode(x)
        return torch.cat([mean.flatten(), logvar.flatten(), ours.decode(z).flatten()])

    assert_equal_gradients(theirs, ours, run_theirs, run_ours, AUTOENCODER_KL)


def test_sd15_size_equals_diffusers():
    """At the scale of initial weights (see `build_large`), which keeps activations of order 1."""
    theirs = build_large(lambda: their_vae(VAE_CONFIGS["sd15"]))
    with torch.device("meta"):
        ours = AutoencoderKL(VAE_CONFIGS["sd15"])
    copy_weights(theirs, ours, AUTOENCODER_KL)
    with torch.no_grad():
        x, z = normal(1, 3, 64, 64), normal(1, 4, 8, 8)
        latent = theirs.encode(x).latent_dist
        mean, logvar = ours.encode(x)
        assert_close(mean, latent.mean, WHOLE)
        assert_close(logvar, latent.logvar, WHOLE)
        assert_close(ours.decode(z), theirs.decode(z).sample, WHOLE)


def test_sd15_parameter_count():
    with torch.device("meta"):
        vae = AutoencoderKL(VAE_CONFIGS["sd15"])
    assert sum(p.numel() for p in vae.parameters()) == 83_653_863


def test_old_attention_names_load_too():
    """Files from before diffusers 0.15 say query/key/value/proj_attn and hold 1x1 convolutions."""
    theirs, ours = pair(TINY)
    old_names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    old = {}
    for name, tensor in theirs.state_dict().items():
        for new, former in old_names.items():
            if f"attentions.0.{new}." in name:
                name = name.replace(new, former)
                tensor = tensor[:, :, None, None] if name.endswith("weight") else tensor
        old[name] = tensor

    class OldFile(torch.nn.Module):
        def state_dict(self):
            return old

    again = AutoencoderKL(TINY)
    copy_weights(OldFile(), again, AUTOENCODER_KL)
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), again.state_dict().values()))


@pytest.mark.parametrize("name", VAE_CONFIGS)
def test_latent_is_an_eighth_of_the_picture(name):
    with torch.device("meta"):
        vae = AutoencoderKL(VAE_CONFIGS[name])
        mean, logvar = vae.encode(torch.empty(1, 3, 128, 64))
        assert mean.shape == logvar.shape == (1, 4, 16, 8)
        assert vae.decode(mean).shape == (1, 3, 128, 64)
    assert vae.config.downscale == 8


def test_logvar_is_clamped():
    vae = AutoencoderKL(TINY)
    with torch.no_grad():
        vae.to_moments.weight.mul_(0)
        vae.to_moments.bias.copy_(torch.tensor([7.0] * 4 + [1e4, -1e4, 3.0, 0.0]))
        mean, logvar = vae.encode(normal(1, 3, 8, 8))
    assert mean.unique().tolist() == [7.0]
    assert logvar[0, :, 0, 0].tolist() == [20.0, -30.0, 3.0, 0.0]


def test_forward_decodes_the_sampled_latent():
    vae, x = fill(AutoencoderKL(TINY)), normal(2, 3, 16, 16)
    eps = normal(2, 4, 4, 4, seed=3)
    picture, mean, logvar = vae(x, eps)
    assert torch.equal(picture, vae.decode(mean + (0.5 * logvar).exp() * eps))


def test_trains_under_bf16_autocast_with_channels_last():
    vae = fill(AutoencoderKL(TINY)).to(memory_format=torch.channels_last)
    x = normal(2, 3, 16, 16).to(memory_format=torch.channels_last)
    exact = vae(x, torch.zeros(2, 4, 4, 4))[0]
    with torch.autocast("cpu", torch.bfloat16):
        picture = vae(x, torch.zeros(2, 4, 4, 4))[0]
    picture.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in vae.parameters())
    assert (picture.float() - exact).abs().max() < 0.05 * exact.abs().max()


def test_config_names_both_numbers_when_groups_do_not_divide():
    with pytest.raises(ValueError, match="24.*16"):
        VaeConfig(3, 4, (16, 24), 1, 16, True, 1.0)
