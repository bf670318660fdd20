"""Training of the built-in diffusion models: the losses are the equations, and only what should learn learns."""

import numpy as np
import pytest
import torch

from models.diffusion.controlnet import ControlNet
from models.diffusion.schedule import NoiseSchedule
from models.diffusion.training import (
    Batch,
    LatentBank,
    canny_hint,
    caption_ids,
    diffusion_loss,
    emphasis,
    pose_hint,
    standardise_latents,
    to_tensor,
    train_controlnet,
    train_unet,
    train_vae,
    vae_loss,
    wake_hint,
    windows,
)
from models.diffusion.unet import UNet, UNetConfig
from models.diffusion.vae import AutoencoderKL, VaeConfig
from models.fitting import FitConfig
from models.playworld.bank import SceneBank
from models.playworld.edges import edges
from models.playworld.render import instances, render
from models.playworld.scene import sample_scene
from models.playworld.words import encode

VAE = VaeConfig(
    in_channels=3,
    latent_channels=4,
    block_out_channels=(8, 8, 8, 8),
    layers_per_block=1,
    norm_num_groups=4,
    mid_attention=False,
    scaling_factor=0.5,
)
UNET = UNetConfig(
    in_channels=4,
    out_channels=4,
    block_out_channels=(8, 16),
    layers_per_block=1,
    attention=(True, True),
    cross_attention_dim=12,
    n_heads=2,
    norm_num_groups=4,
)
FAST = FitConfig(steps=2, lr=1e-3, bf16=False)


@pytest.fixture(scope="module")
def bank(tmp_path_factory) -> SceneBank:
    bank = SceneBank(tmp_path_factory.mktemp("bank"), count=512, size=32)
    assert list(bank.fill()) == [(512, 512)]
    assert list(bank.fill()) == []  # nothing is drawn twice
    return bank


@pytest.fixture(scope="module")
def latents(bank, tmp_path_factory) -> LatentBank:
    torch.manual_seed(0)
    latents = LatentBank(bank, AutoencoderKL(VAE), tmp_path_factory.mktemp("latents"))
    list(latents.fill())
    return latents


def text_states(ids: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.one_hot(ids % 12, 12).float()


def weights(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(before: dict, module: torch.nn.Module) -> set[str]:
    return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}


def test_the_bank_holds_the_scenes_it_names(bank):
    rows = bank.rows(step=3, batch=8)
    for row, picture in zip(rows, bank.images(rows), strict=True):
        assert np.array_equal(picture, render(sample_scene(int(row)), 32))


def test_an_epoch_sees_every_scene_once(bank):
    seen = np.concatenate([bank.rows(step, 64) for step in range(8)])
    assert sorted(seen) == list(range(512))
    assert not np.array_equal(bank.rows(0, 64), bank.rows(8, 64))


def test_the_velocity_loss_is_zero_for_the_right_answer_and_one_variance_for_none():
    schedule = NoiseSchedule.scaled_linear()
    batch = Batch(z=torch.randn(64, 4, 8, 8, generator=torch.Generator().manual_seed(1)), context=torch.zeros(64, 1, 12))

    def oracle(x, t, batch):
        ab = schedule.alphas_cumprod.float()[t].view(-1, 1, 1, 1)
        return (ab.sqrt() * x - batch.z) / (1 - ab).sqrt()  # v from x_t and z: x_t = sqrt(ab) z + sqrt(1-ab) eps

    right, _ = diffusion_loss(oracle, schedule, batch, torch.Generator().manual_seed(0))
    nothing, _ = diffusion_loss(lambda x, t, batch: torch.zeros_like(x), schedule, batch, torch.Generator().manual_seed(0))
    assert right.item() < 1e-6
    assert nothing.item() == pytest.approx(1.0, abs=0.05)  # Var v = ab + (1 - ab) for unit latents


def test_the_autoencoder_loss_of_a_perfect_one_is_its_kl_alone():
    class Perfect:
        def encode(self, x):
            return torch.full((1, 4, 2, 2), 2.0), torch.zeros(1, 4, 2, 2)

        def decode(self, z):
            return self.x

    model = Perfect()
    model.x = torch.rand(1, 3, 16, 16)
    loss, metrics = vae_loss(model, model.x, torch.Generator().manual_seed(0))
    assert metrics["kl"] == pytest.approx(2.0)  # 0.5 mean^2 at unit variance
    assert loss.item() == pytest.approx(2e-4 * 2.0)


def test_windows_are_cut_from_their_pictures():
    pictures = np.arange(2 * 16 * 16 * 3, dtype=np.int64).reshape(2, 16, 16, 3)
    for window, picture in zip(windows(pictures, seed=0, step=5), pictures, strict=True):
        assert window.shape == (8, 8, 3)
        y, x = np.argwhere(picture[..., 0] == window[0, 0, 0])[0]
        assert np.array_equal(window, picture[y : y + 8, x : x + 8])


def test_decoder_only_training_leaves_the_latents_alone(bank):
    torch.manual_seed(0)
    vae = AutoencoderKL(VAE)
    before = weights(vae)
    list(train_vae(vae, bank, 4, FAST, decoder_only=True))
    moved = changed(before, vae)
    assert moved and not any(name.startswith(("encoder.", "to_moments.")) for name in moved)
    list(train_vae(vae, bank, 4, FAST))
    assert any(name.startswith("encoder.") for name in changed(before, vae))


def test_latents_are_scaled_and_read_back(latents, bank):
    rows = np.arange(4)
    again = LatentBank(bank, latents.vae, latents.path.parent)
    assert again.moments is not None and list(again.fill()) == []
    a = latents.sample(rows, torch.Generator().manual_seed(0))
    b = again.sample(rows, torch.Generator().manual_seed(0))
    assert torch.equal(a, b) and a.shape == (4, 4, 4, 4)
    mean, logvar = torch.from_numpy(latents.moments[rows]).float().chunk(2, 1)
    noise = torch.randn(mean.shape, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(a, 0.5 * (mean + (logvar / 2).exp() * noise))


def test_standardising_changes_the_latents_and_not_the_pictures(bank):
    torch.manual_seed(1)
    vae = AutoencoderKL(VAE)
    for parameter in vae.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    x = to_tensor(bank.images(np.arange(64)), torch.device("cpu"))
    with torch.no_grad():
        mean, logvar = vae.encode(x)
        before = vae.decode(mean)
        standardise_latents(vae, bank, count=64)
        new_mean, new_logvar = vae.encode(x)
    assert torch.allclose(new_mean.mean((0, 2, 3)), torch.zeros(4), atol=1e-4)
    assert torch.allclose(new_mean.std((0, 2, 3)), torch.ones(4), atol=1e-4)
    scale = mean.std((0, 2, 3)).view(1, -1, 1, 1)
    assert torch.allclose((new_logvar / 2).exp() * scale, (logvar / 2).exp(), rtol=1e-3)
    with torch.no_grad():
        assert torch.allclose(vae.decode(new_mean), before, atol=1e-3)


def test_captions_are_dropped_as_often_as_asked(bank):
    ids = caption_ids(bank, np.arange(400), step=0, seed=0, drop=0.5)
    empty = (ids == torch.tensor(encode(""))).all(1).float().mean().item()
    assert 0.4 < empty < 0.6
    assert not (caption_ids(bank, np.arange(50), 0, 0, 0.0) == torch.tensor(encode(""))).all(1).any()


def test_hints_are_the_maps_of_their_scenes(bank):
    rows = np.array([1, 2, 3])
    pictures = bank.images(rows)
    for hint, picture in zip(canny_hint(bank, rows), pictures, strict=True):
        assert np.array_equal(hint[..., 1], edges(picture))
    people = [len(bank.scene(row).people) for row in range(40)]
    assert [bool(hint.any()) for hint in pose_hint(bank, np.arange(40))] == [count > 0 for count in people]


def test_small_things_weigh_more_than_large_ones_and_both_more_than_the_sky(bank):
    scene = next(bank.scene(row) for row in range(512) if len(bank.scene(row).things) > 1 and not bank.scene(row).people)
    weight = np.repeat(np.repeat(emphasis(bank, scene.seed, 16), 4, 0), 4, 1)
    drawn = instances(scene, 64)
    sky, *things = [weight[drawn == number].mean() for number in np.unique(drawn) if number != 1]
    sizes = [(drawn == number).sum() for number in np.unique(drawn) if number > 1]
    assert sky < 1.6 < min(things) and max(things) <= 6  # cells at the rim are partly sky
    assert weight[drawn < 2].min() == 1
    assert np.argmax(sizes) == np.argmin(things)


def test_weights_count_the_error_where_they_lie():
    schedule = NoiseSchedule.scaled_linear()
    z = torch.randn(8, 4, 4, 4, generator=torch.Generator().manual_seed(1))
    weight = torch.ones(8, 1, 4, 4)
    weight[..., :2] = 3.0

    def wrong_on_the_left(x, t, batch):
        ab = schedule.alphas_cumprod.float()[t].view(-1, 1, 1, 1)
        v = (ab.sqrt() * x - batch.z) / (1 - ab).sqrt()
        return v + torch.tensor([1.0, 1.0, 0.0, 0.0])

    batch = Batch(z=z, context=torch.zeros(8, 1, 12), weight=weight)
    loss, metrics = diffusion_loss(wrong_on_the_left, schedule, batch, torch.Generator().manual_seed(0))
    assert loss.item() == pytest.approx(0.75, abs=1e-4)  # 3 / (3 + 1) of the weight lies where the error is 1
    assert metrics["plain"] == pytest.approx(0.5, abs=1e-4)


def test_the_cool_down_of_the_unet_is_unweighted(latents):
    torch.manual_seed(0)
    config = FitConfig(steps=8, lr=1e-3, warmup=1, cooldown=0.5, bf16=False)
    steps = list(train_unet(UNet(UNET), latents, text_states, NoiseSchedule.scaled_linear(), 4, config))
    assert ["plain" in s.metrics for s in steps] == [True] * 4 + [False] * 4


def test_the_unet_learns(latents):
    torch.manual_seed(0)
    unet = UNet(UNET)
    losses = [
        s.loss
        for s in train_unet(
            unet, latents, text_states, NoiseSchedule.scaled_linear(), 8, FitConfig(steps=40, lr=3e-3, warmup=5, bf16=False)
        )
    ]
    assert np.mean(losses[-10:]) < 0.9 * np.mean(losses[:5])


def test_a_woken_hint_passes_the_map_on_and_leaves_the_unet_alone(latents):
    torch.manual_seed(0)
    unet = UNet(UNET)
    for parameter in unet.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)
    net = ControlNet.from_unet(unet, (4, 4, 8, 8))
    wake_hint(net.hint)
    hint = torch.from_numpy(canny_hint(latents.bank, np.arange(4))).permute(0, 3, 1, 2).float() / 255
    x, t, context = torch.randn(4, 4, 4, 4), torch.zeros(4), torch.zeros(4, 3, 12)
    with torch.no_grad():
        assert net.hint(hint).std() > 0.05
        down, middle = net(x, t, context, hint)
        assert torch.equal(unet(x, t, context, down_residuals=down, mid_residual=middle), unet(x, t, context))


@pytest.mark.parametrize("kind", ["canny", "pose"])
def test_a_controlnet_learns_beside_a_unet_that_does_not(latents, kind):
    torch.manual_seed(0)
    unet = UNet(UNET)
    for parameter in unet.parameters():  # no zero layer may stop the gradient
        parameter.data += 0.05 * torch.randn_like(parameter)
    net = ControlNet.from_unet(unet, (4, 4, 8, 8))
    before, before_net = weights(unet), weights(net)
    list(train_controlnet(net, unet, kind, latents, text_states, NoiseSchedule.scaled_linear(), 4, FAST))
    moved = changed(before_net, net)
    assert changed(before, unet) == set()
    assert any(name.startswith("zero_convs") for name in moved) and any(name.startswith("zero_middle") for name in moved)
