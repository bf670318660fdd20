"""Classifier-free guidance, its rescaling, and the range of steps a control covers."""

import pytest
import torch

from models.diffusion.guidance import cfg, control_steps, covered
from models.diffusion.schedule import SCHEDULES, NoiseSchedule

NULL, COND = torch.randn(2, 2, 4, 8, 8, generator=torch.Generator().manual_seed(1)).double()


def test_scale_0_1_and_between():
    torch.testing.assert_close(cfg(NULL, COND, 0.0), NULL)
    torch.testing.assert_close(cfg(NULL, COND, 1.0), COND)
    torch.testing.assert_close(cfg(NULL, COND, 7.5), NULL + 7.5 * (COND - NULL))


def test_guidance_gives_the_score_of_the_sharpened_mixture():
    """Exact two-component mixture: guided score = autograd of `log p(x) + w log p(c | x)`, at w = 3."""
    x = torch.linspace(-3, 3, 50, dtype=torch.float64, requires_grad=True)
    means, sigma = torch.tensor([-1.0, 1.0], dtype=torch.float64), 0.8
    logs = -((x[:, None] - means) ** 2) / (2 * sigma**2)  # (50, 2)
    log_p, log_p_c = torch.logsumexp(logs, 1), logs[:, 1]
    grad = lambda y: torch.autograd.grad(y.sum(), x, retain_graph=True)[0]  # noqa: E731
    null, cond = grad(log_p), grad(log_p_c)
    expected = grad(log_p + 3 * (log_p_c - log_p))
    torch.testing.assert_close(cfg(null, cond, 3.0), expected, atol=1e-9, rtol=0)


def test_rescale_restores_the_spread_of_the_conditional_half():
    full = cfg(NULL, COND, 7.0, rescale=1.0)
    torch.testing.assert_close(full.std(dim=(1, 2, 3)), COND.std(dim=(1, 2, 3)))
    mixed = cfg(NULL, COND, 7.0, rescale=0.7)
    torch.testing.assert_close(mixed, 0.7 * full + 0.3 * cfg(NULL, COND, 7.0))


@pytest.mark.parametrize("n", [1, 4, 10, 20, 33])
@pytest.mark.parametrize(("start", "end"), [(0, 1), (0, 0.5), (0.25, 0.75), (0.3, 0.3), (0.9, 1), (0, 0), (0.6, 0.2)])
def test_steps_follow_the_rule_of_diffusers(start, end, n):
    kept = [1.0 - float(i / n < start or (i + 1) / n > end) for i in range(n)]  # as its pipelines compute it
    assert list(control_steps(start, end, n)) == [i for i, keep in enumerate(kept) if keep]


def test_covered_in_words():
    sigmas = SCHEDULES["karras"](NoiseSchedule.scaled_linear(), 20)
    assert covered(0.0, 0.5, sigmas) == "steps 1-10 of 20, sigma 14.6 to 1.5"
    assert covered(0.0, 1.0, sigmas) == "steps 1-20 of 20, sigma 14.6 to 0.029"
    assert covered(0.95, 1.0, sigmas) == "step 20 of 20, sigma 0.029"
    assert covered(0.5, 0.5, sigmas) == "no step of 20"
