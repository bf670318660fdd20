"""The linear latent-to-RGB preview: recovers a linear decoder, fits best, survives the disk."""

import pytest
import torch

from models.diffusion.preview import LatentRgb, fit_latent_rgb, latent_rgb, load_latent_rgb, save_latent_rgb


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


TRUE = LatentRgb(matrix=0.2 * normal(4, 3, seed=1), bias=0.1 * normal(3, seed=2))
LATENTS = normal(6, 4, 8, 8, seed=3)


def decoded(z, rgb):
    """Pictures 8 times as large whose 8x8 blocks average to the linear map of z."""
    small = torch.einsum("bchw,cr->brhw", z, rgb.matrix) + rgb.bias.view(1, 3, 1, 1)
    texture = normal(len(z), 3, 64, 64, seed=4)
    blocks = torch.nn.functional.avg_pool2d(texture, 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    return small.repeat_interleave(8, 2).repeat_interleave(8, 3) + 0.3 * (texture - blocks)


def test_a_linear_decoder_is_recovered():
    fitted = fit_latent_rgb(LATENTS, decoded(LATENTS, TRUE))
    torch.testing.assert_close(fitted.matrix, TRUE.matrix, atol=1e-5, rtol=0)
    torch.testing.assert_close(fitted.bias, TRUE.bias, atol=1e-5, rtol=0)


def test_of_all_maps_the_fitted_one_errs_least():
    images = decoded(LATENTS, TRUE) + 0.5 * torch.tanh(LATENTS[:, :3]).repeat_interleave(8, 2).repeat_interleave(8, 3)
    small = torch.nn.functional.avg_pool2d(images, 8).movedim(1, -1)
    error = lambda m: (LATENTS.movedim(1, -1) @ m.matrix + m.bias - small).square().sum().item()  # noqa: E731
    best = fit_latent_rgb(LATENTS, images)
    for seed in range(5):
        other = LatentRgb(best.matrix + 0.01 * normal(4, 3, seed=seed), best.bias + 0.01 * normal(3, seed=seed + 9))
        assert error(best) < error(other)


def test_picture_of_one_and_of_many():
    rgb = LatentRgb(torch.eye(4, 3), torch.tensor([0.0, -1.0, 1.0]))
    z = torch.zeros(4, 2, 3)
    z[0, 0, 0], z[0, 1, 2] = 1.0, -9.0
    picture = latent_rgb(z, rgb)
    assert picture.shape == (2, 3, 3)
    assert picture.dtype == torch.uint8
    assert picture[0, 0].tolist() == [255, 0, 255]
    assert picture[0, 1].tolist() == [128, 0, 255]
    assert picture[1, 2].tolist() == [0, 0, 255]
    assert torch.equal(latent_rgb(torch.stack([z, z.flip(1)]), rgb)[0], picture)


def test_round_trip_over_a_file(tmp_path):
    save_latent_rgb(TRUE, tmp_path / "latent_rgb.json")
    loaded = load_latent_rgb(tmp_path / "latent_rgb.json")
    assert torch.equal(loaded.matrix, TRUE.matrix)
    assert torch.equal(loaded.bias, TRUE.bias)


@pytest.mark.parametrize(
    "text",
    ["", "[1, 2]", '{"format": "other"}', '{"format": "glassbox latent-rgb 1", "matrix": [[1, 2]], "bias": [1, 2, 3]}'],
)
def test_other_files_are_refused_in_a_sentence(tmp_path, text):
    path = tmp_path / "map.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"map\.json .*hold"):
        load_latent_rgb(path)
