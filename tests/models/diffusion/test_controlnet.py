"""ControlNet against diffusers' ControlNetModel, and the promise of the zero convolutions."""

import pytest
import torch

from models.diffusion.controlnet import CONTROLNET_CONFIGS, ControlNet, ControlNetConfig, HintEncoder
from models.diffusion.keymaps import CONTROLNET
from models.diffusion.unet import UNet, UNetConfig
from tests.models.parity import LAYER, WHOLE, assert_close, assert_equal_gradients, build_large, copy_weights, fill, fill_alive, normal

TINY_UNET = UNetConfig(
    in_channels=4, out_channels=4, block_out_channels=(8, 16, 24), layers_per_block=2,
    attention=(True, True, False), cross_attention_dim=12, n_heads=2, norm_num_groups=4,
)
TINY = ControlNetConfig(unet=TINY_UNET, hint_channels=(4, 6, 8, 10), hint_in_channels=3)


def their_controlnet(config: ControlNetConfig):
    diffusers = pytest.importorskip("diffusers")
    unet = config.unet
    return diffusers.ControlNetModel(
        block_out_channels=unet.block_out_channels,
        layers_per_block=unet.layers_per_block,
        cross_attention_dim=unet.cross_attention_dim,
        attention_head_dim=unet.n_heads,
        norm_num_groups=unet.norm_num_groups,
        conditioning_embedding_out_channels=config.hint_channels,
        down_block_types=tuple("CrossAttnDownBlock2D" if a else "DownBlock2D" for a in unet.attention),
    )


def all_in_one(residuals, middle):
    return torch.cat([*(r.flatten() for r in residuals), middle.flatten()])


def inputs(batch: int = 2):
    x, hint = normal(batch, 4, 8, 4), torch.rand(batch, 3, 64, 32, generator=torch.Generator().manual_seed(5))
    return x, torch.tensor([3, 801])[:batch], normal(batch, 7, 12, seed=2), hint


def test_hint_encoder_equals_diffusers():
    controlnets = pytest.importorskip("diffusers.models.controlnets.controlnet")
    theirs = fill(
        controlnets.ControlNetConditioningEmbedding(8, block_out_channels=TINY.hint_channels), std=0.2
    )
    ours = HintEncoder(TINY)
    copy_weights(theirs, ours, CONTROLNET, "controlnet_cond_embedding.", "hint.")
    hint = inputs()[3]
    assert ours(hint).shape == (2, 8, 8, 4)
    assert_close(ours(hint), theirs(hint), LAYER)


def test_network_equals_diffusers_with_gradients():
    """All weights random, the zero convolutions too: at zero the test would compare nothing."""
    theirs, ours = fill(their_controlnet(TINY), std=0.15), ControlNet(TINY)
    copy_weights(theirs, ours, CONTROLNET)
    x, t, context, hint = inputs()
    assert_equal_gradients(
        theirs,
        ours,
        lambda: all_in_one(*theirs(x, t, context, controlnet_cond=hint, return_dict=False)),
        lambda: all_in_one(*ours(x, t, context, hint)),
        CONTROLNET,
    )


def test_sd15_size_equals_diffusers():
    """At the scale of initial weights (see `build_large`), the zero convolutions too: all 13 outputs are of order 1."""
    theirs = build_large(lambda: their_controlnet(CONTROLNET_CONFIGS["sd15"]))
    with torch.device("meta"):
        ours = ControlNet(CONTROLNET_CONFIGS["sd15"])
    copy_weights(theirs, ours, CONTROLNET)
    x, t, context = normal(1, 4, 8, 8), torch.tensor([681]), normal(1, 77, 768, seed=2)
    hint = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        down, middle = theirs(x, t, context, controlnet_cond=hint, return_dict=False)
        residuals, mid = ours(x, t, context, hint)
    assert len(residuals) == len(down) == 12
    for got, expected in zip([*residuals, mid], [*down, middle]):
        assert 0.05 < expected.std() < 10
        assert_close(got, expected, WHOLE)


def test_zero_convolutions_leave_the_unet_bit_for_bit():
    unet = fill_alive(UNet(TINY_UNET))
    control = ControlNet.from_unet(unet, hint_channels=TINY.hint_channels)
    x, t, context, hint = inputs()
    residuals, middle = control(x, t, context, hint)
    assert torch.equal(unet(x, t, context, residuals, middle), unet(x, t, context))


def test_from_unet_is_an_independent_copy_of_encoder_and_middle():
    unet = fill_alive(UNet(TINY_UNET))
    control = ControlNet.from_unet(unet, hint_channels=TINY.hint_channels)
    x, t, context, _ = inputs()
    time = control.time(t)
    skips = unet.encoder(x, unet.time(t), context)
    assert torch.equal(time, unet.time(t))
    assert all(torch.equal(a, b) for a, b in zip(control.encoder(x, time, context), skips))
    assert torch.equal(control.middle(skips[-1], time, context), unet.middle(skips[-1], time, context))
    with torch.no_grad():
        control.encoder.conv_in.weight.zero_()
    assert unet.encoder.conv_in.weight.abs().max() > 0


def test_one_step_moves_the_zero_convolutions_and_never_the_unet():
    unet = fill_alive(UNet(TINY_UNET)).requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    control = ControlNet.from_unet(unet, hint_channels=TINY.hint_channels).requires_grad_(True)
    optimizer = torch.optim.SGD(control.parameters(), lr=0.1)
    x, t, context, hint = inputs()
    plain = unet(x, t, context)
    for _ in range(2):  # the hint's own zero conv gets a gradient only once the others have left zero
        optimizer.zero_grad()
        unet(x, t, context, *control(x, t, context, hint)).sub(normal(2, 4, 8, 4, seed=7)).square().mean().backward()
        optimizer.step()
    assert all(conv.weight.abs().max() > 0 for conv in (*control.zero_convs, control.zero_middle, control.hint.conv_out))
    assert all(torch.equal(before[name], tensor) for name, tensor in unet.state_dict().items())
    assert not torch.equal(unet(x, t, context, *control(x, t, context, hint)), plain)


@pytest.mark.parametrize("size", [(9, 7), (5, 5)])
def test_odd_latents_fit_the_unet(size):
    unet = fill_alive(UNet(TINY_UNET))
    control = fill(ControlNet.from_unet(unet, hint_channels=TINY.hint_channels))
    x, t, context = normal(1, 4, *size), torch.tensor(5), normal(1, 7, 12)
    hint = normal(1, 3, 8 * size[0], 8 * size[1]).sigmoid()
    assert unet(x, t, context, *control(x, t, context, hint)).shape == x.shape


def test_a_hint_of_another_size_is_told():
    control = ControlNet(TINY)
    x, t, context, hint = inputs()
    with pytest.raises(ValueError, match=r"\(64, 16\).*\(8, 4\)"):
        control(x, t, context, hint[..., :16])


def test_trains_under_bf16_autocast_with_channels_last():
    control = fill(ControlNet(TINY)).to(memory_format=torch.channels_last)
    x, t, context, hint = inputs()
    with torch.autocast("cpu", torch.bfloat16):
        out = all_in_one(*control(x.to(memory_format=torch.channels_last), t, context, hint))
    out.float().square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in control.parameters())
