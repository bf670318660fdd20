"""UNet against diffusers' UNet2DConditionModel, layer by layer and whole, and what must hold without a reference."""

import dataclasses

import pytest
import torch

from models.diffusion.keymaps import UNET_2D_CONDITION
from models.diffusion.unet import UNET_CONFIGS, ResBlock, TimeEmbedding, Transformer, UNet, UNetConfig
from tests.models.parity import LAYER, WHOLE, assert_close, assert_equal_gradients, build_large, copy_weights, fill, fill_alive, normal

TINY = UNetConfig(
    in_channels=4, out_channels=4, block_out_channels=(8, 16, 24), layers_per_block=2,
    attention=(True, True, False), cross_attention_dim=12, n_heads=2, norm_num_groups=4,
)


def their_unet(config: UNetConfig):
    diffusers = pytest.importorskip("diffusers")
    down = ["CrossAttnDownBlock2D" if attention else "DownBlock2D" for attention in config.attention]
    up = ["CrossAttnUpBlock2D" if attention else "UpBlock2D" for attention in reversed(config.attention)]
    return diffusers.UNet2DConditionModel(
        block_out_channels=config.block_out_channels,
        layers_per_block=config.layers_per_block,
        cross_attention_dim=config.cross_attention_dim,
        attention_head_dim=config.n_heads,  # SD 1.x configs call the number of heads so
        norm_num_groups=config.norm_num_groups,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
    )


def pair(config: UNetConfig):
    theirs = fill_alive(their_unet(config))
    ours = UNet(config)
    copy_weights(theirs, ours, UNET_2D_CONDITION)
    return theirs, ours


def test_time_embedding_equals_diffusers():
    embeddings = pytest.importorskip("diffusers.models.embeddings")
    code, mlp = embeddings.Timesteps(8, True, 0), fill(embeddings.TimestepEmbedding(8, 32))
    ours = TimeEmbedding(TINY)
    copy_weights(mlp, ours, UNET_2D_CONDITION, "time_embedding.", "time.")
    t = torch.tensor([0.0, 1.0, 500.25, 999.0])
    assert_close(ours(t), mlp(code(t)), LAYER)


def test_resblock_equals_diffusers():
    resnet = pytest.importorskip("diffusers.models.resnet")
    for width in (8, 16):
        theirs = fill(resnet.ResnetBlock2D(in_channels=8, out_channels=width, temb_channels=32, groups=4, eps=1e-5))
        ours = ResBlock(8, width, TINY)
        copy_weights(
            theirs, ours, UNET_2D_CONDITION, "down_blocks.0.resnets.0.", "encoder.levels.0.stages.0.res."
        )
        x, time = normal(2, 8, 6, 5), normal(2, 32, seed=2)
        assert_close(ours(x, time), theirs(x, time), LAYER)


def test_transformer_equals_diffusers():
    transformers_2d = pytest.importorskip("diffusers.models.transformers.transformer_2d")
    theirs = fill(
        transformers_2d.Transformer2DModel(2, 8, in_channels=16, norm_num_groups=4, cross_attention_dim=12)
    )
    ours = Transformer(16, TINY)
    copy_weights(
        theirs, ours, UNET_2D_CONDITION, "down_blocks.0.attentions.0.", "encoder.levels.0.stages.0.transformer."
    )
    x, context = normal(2, 16, 3, 5), normal(2, 7, 12, seed=2)
    assert_close(ours(x, context), theirs(x, encoder_hidden_states=context).sample, LAYER)


@pytest.mark.parametrize("attention", [(True, True, False), (False, True, True)])
def test_network_equals_diffusers_with_gradients(attention):
    theirs, ours = pair(dataclasses.replace(TINY, attention=attention))
    x, t, context = normal(2, 4, 8, 12), torch.tensor([3, 801]), normal(2, 7, 12, seed=2)
    assert_equal_gradients(
        theirs, ours, lambda: theirs(x, t, context).sample, lambda: ours(x, t, context), UNET_2D_CONDITION
    )


@pytest.mark.parametrize("size", [(9, 8), (7, 13), (5, 6), (1, 3)])
def test_sides_that_cannot_be_halved_evenly_equal_diffusers(size):
    theirs, ours = pair(TINY)
    x, t, context = normal(1, 4, *size), torch.tensor([500]), normal(1, 7, 12, seed=2)
    with torch.no_grad():
        assert_close(ours(x, t, context), theirs(x, t, context).sample, WHOLE)


def test_residuals_enter_as_in_diffusers():
    """Before the decoder reads the skips, in the encoder's order."""
    theirs, ours = pair(TINY)
    x, t, context = normal(1, 4, 8, 8), torch.tensor([500]), normal(1, 7, 12, seed=2)
    with torch.no_grad():
        skips = ours.encoder(x, ours.time(t), context)
        residuals = [normal(*skip.shape, seed=i) for i, skip in enumerate(skips)]
        middle = normal(*skips[-1].shape, seed=99)
        expected = theirs(
            x, t, context, down_block_additional_residuals=residuals, mid_block_additional_residual=middle
        ).sample
        assert_close(ours(x, t, context, residuals, middle), expected, WHOLE)
        assert (ours(x, t, context) - expected).abs().max() > 100 * WHOLE


def test_sd15_size_equals_diffusers():
    """At the scale of initial weights (see `build_large`): the output is of order 1, and so is the tolerance's meaning."""
    theirs = build_large(lambda: their_unet(UNET_CONFIGS["sd15"]))
    with torch.device("meta"):
        ours = UNet(UNET_CONFIGS["sd15"])
    copy_weights(theirs, ours, UNET_2D_CONDITION)
    x, t, context = normal(1, 4, 8, 8), torch.tensor([681]), normal(1, 77, 768, seed=2)
    with torch.no_grad():
        expected = theirs(x, t, context).sample
        assert 0.1 < expected.std() < 10
        assert_close(ours(x, t, context), expected, WHOLE)


def test_sd15_parameter_count():
    with torch.device("meta"):
        unet = UNet(UNET_CONFIGS["sd15"])
    assert sum(p.numel() for p in unet.parameters()) == 859_520_964


def test_skip_channels_describe_the_encoder():
    for config in (*UNET_CONFIGS.values(), TINY):
        with torch.device("meta"):
            unet = UNet(config)
            time, context = torch.empty(1, config.time_dim), torch.empty(1, 7, config.cross_attention_dim)
            skips = unet.encoder(torch.empty(1, 4, 16, 16), time, context)
        assert tuple(skip.shape[1] for skip in skips) == config.skip_channels


def test_starts_by_predicting_zero_and_learns_at_once():
    """Branches end in zeroed layers, so the first output is exactly 0 while conv_out already gets a gradient."""
    unet = UNet(TINY)
    y = unet(normal(2, 4, 8, 8), torch.tensor([3, 801]), normal(2, 7, 12))
    assert y.abs().max() == 0
    (y - 1).square().mean().backward()
    assert unet.decoder.conv_out.weight.grad.abs().max() > 0


def test_one_time_for_all_is_the_same_as_one_each():
    unet = fill(UNet(TINY))
    x, context = normal(2, 4, 8, 8), normal(2, 7, 12)
    assert torch.equal(unet(x, torch.tensor(7), context), unet(x, torch.tensor([7, 7]), context))


def test_words_and_time_reach_every_picture_on_its_own():
    unet = fill_alive(UNet(TINY))
    x, context = normal(2, 4, 8, 8), normal(2, 7, 12)
    t = torch.tensor([3, 801])
    both = unet(x, t, context)
    alone = unet(x[1:], t[1:], context[1:])
    torch.testing.assert_close(both[1:], alone, rtol=0, atol=1e-5)
    assert (unet(x, t.flip(0), context) - both).abs().max() > 1e-2
    assert (unet(x, t, context.flip(0)) - both).abs().max() > 1e-4


def test_wrong_number_of_residuals_is_told():
    unet = UNet(TINY)
    with pytest.raises(ValueError, match="1 residuals for 9 skips"):
        unet(normal(1, 4, 8, 8), torch.tensor(1), normal(1, 7, 12), [normal(1, 8, 8, 8)])


def test_trains_under_bf16_autocast_with_channels_last():
    unet = fill_alive(UNet(TINY)).to(memory_format=torch.channels_last)
    x, t, context = normal(2, 4, 8, 8).to(memory_format=torch.channels_last), torch.tensor([3, 801]), normal(2, 7, 12)
    exact = unet(x, t, context)
    with torch.autocast("cpu", torch.bfloat16):
        y = unet(x, t, context)
    y.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in unet.parameters())
    assert (y.float() - exact).abs().max() < 0.1 * exact.abs().max()
