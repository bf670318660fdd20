"""The denoiser: predictions, guidance in one batch, and what each control adds, where and when."""

import pytest
import torch

from models.diffusion.denoiser import ControlInput, Denoiser, to_x0
from models.diffusion.samplers import NoiseSource, heun
from models.diffusion.schedule import SCHEDULES, NoiseSchedule

SD = NoiseSchedule.scaled_linear()
SIGMAS = SCHEDULES["karras"](SD, 10)
N_DOWN = 4


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, COND, NULL = normal(2, 4, 8, 8), normal(1, 5, 6, seed=1), normal(1, 5, 6, seed=2)
HINT = normal(1, 3, 64, 64, seed=3).abs()


class FakeUNet:
    """Each picture on its own, a different use of every input; remembers how it was called."""

    def __init__(self):
        self.calls = []

    def __call__(self, x, t, context, down_residuals=None, mid_residual=None):
        self.calls.append({"x": x, "t": t, "context": context, "down": down_residuals, "mid": mid_residual})
        out = 0.5 * x + 0.1 * context.mean(dim=(1, 2)).view(-1, 1, 1, 1) + 1e-4 * t.view(-1, 1, 1, 1)
        for depth, residual in enumerate(down_residuals or []):
            out = out + residual / (depth + 2)
        return out if mid_residual is None else out + mid_residual


class FakeControl:
    """Residuals of N_DOWN + 1 different sizes that depend on caption, time and hint of each row."""

    def __init__(self, strength=1.0):
        self.strength = strength
        self.batches = []

    def __call__(self, x, t, context, hint):
        assert len(x) == len(t) == len(context) == len(hint)
        self.batches.append(len(x))
        base = self.strength * (context.mean(dim=(1, 2)) + hint.mean(dim=(1, 2, 3))).view(-1, 1, 1, 1) * x
        residuals = [base * (k + 1) for k in range(N_DOWN + 1)]
        return residuals[:-1], residuals[-1]


def denoiser(**options):
    options = {"context": COND, "null_context": NULL, "cfg_scale": 4.0, "sigmas": SIGMAS} | options
    return Denoiser(FakeUNet(), SD, **options)


@pytest.mark.parametrize("sigma", [0.03, 1.0, 14.6])
def test_every_prediction_is_turned_into_the_clean_picture(sigma):
    x0, eps = normal(2, 4, 8, 8, seed=4), normal(2, 4, 8, 8, seed=5)
    x = x0 + sigma * eps
    ab = 1 / (1 + sigma**2)
    outputs = {"epsilon": eps, "v": ab**0.5 * eps - (1 - ab) ** 0.5 * x0, "sample": x0}
    for prediction, output in outputs.items():
        torch.testing.assert_close(to_x0(prediction, output, x, sigma), x0, atol=1e-10, rtol=0)
    with pytest.raises(ValueError, match="not 'score'"):
        to_x0("score", eps, x, sigma)


def test_the_network_sees_unit_variance_and_its_own_clock():
    d = denoiser()
    d(X, float(SD.sigmas[700]))
    call = d.unet.calls[0]
    torch.testing.assert_close(call["x"][:2], X / (1 + SD.sigmas[700] ** 2) ** 0.5)
    assert call["t"].tolist() == [700.0] * 4
    assert d.timestep(float(SD.sigmas[700])) == pytest.approx(700)


def test_both_halves_in_one_call_equal_two_calls():
    guided = denoiser()
    result = guided(X, 2.0)
    assert len(guided.unet.calls) == 1
    assert torch.equal(guided.unet.calls[0]["context"], torch.cat([NULL, NULL, COND, COND]))
    null = denoiser(context=NULL, cfg_scale=1.0)(X, 2.0)
    cond = denoiser(cfg_scale=1.0)(X, 2.0)
    torch.testing.assert_close(result, null + 4 * (cond - null), atol=1e-10, rtol=0)


def test_scale_1_leaves_the_null_half_out_and_the_scale_can_change_between_calls():
    d = denoiser(cfg_scale=1.0)
    d(X, 2.0)
    d.cfg_scale = 3.0
    changed = d(X, 2.0)
    assert [len(call["x"]) for call in d.unet.calls] == [2, 4]
    assert torch.equal(changed, denoiser(cfg_scale=3.0)(X, 2.0))


def test_without_null_context_there_is_no_guidance():
    d = denoiser(null_context=None)
    assert torch.equal(d(X, 2.0), denoiser(cfg_scale=1.0)(X, 2.0))


def test_contexts_of_different_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 7, 6\) against \(1, 5, 6\)"):
        denoiser(null_context=normal(1, 7, 6))


def test_calls_leave_no_trace():
    control = ControlInput(net=FakeControl(), hint=HINT)
    d = denoiser(controls=[control])
    before = dict(vars(d))
    first = d(X, 2.0)
    d(2 * X, 0.5)
    assert torch.equal(d(X, 2.0), first)
    assert vars(d).keys() == before.keys()
    assert all(vars(d)[key] is before[key] for key in before)


# --- controls ---------------------------------------------------------------------------------------------------


def residuals_of(**options):
    """What reaches the UNet from one control: a list of N_DOWN + 1, rows: two null, two cond."""
    d = denoiser(controls=[ControlInput(net=FakeControl(), hint=HINT, **options)])
    d(X, 2.0)
    call = d.unet.calls[0]
    return [*call["down"], call["mid"]]


def test_balanced_acts_on_both_halves_with_its_weight():
    full, half = residuals_of(), residuals_of(weight=0.5)
    assert len(full) == N_DOWN + 1
    for a, b in zip(full, half, strict=True):
        assert a.shape == (4, 4, 8, 8)
        assert (a[:2] != 0).any()
        assert (a[:2] != a[2:]).any()  # each half has its own caption
        torch.testing.assert_close(b, a / 2)


def test_prompt_mode_weakens_shallow_residuals_most():
    full, soft = residuals_of(), residuals_of(mode="prompt")
    for i, (a, b) in enumerate(zip(full, soft, strict=True)):
        torch.testing.assert_close(b, a * 0.825 ** (N_DOWN - i))
    torch.testing.assert_close(soft[-1], full[-1])


def test_control_mode_acts_on_the_half_with_the_caption_only():
    net = FakeControl()
    d = denoiser(controls=[ControlInput(net=net, hint=HINT, mode="control")])
    result = d(X, 2.0)
    assert net.batches == [2]
    for a, b in zip(residuals_of(), residuals_of(mode="control"), strict=True):
        assert (b[:2] == 0).all()
        torch.testing.assert_close(b[2:], a[2:])
    null = denoiser(context=NULL, cfg_scale=1.0)(X, 2.0)
    cond = denoiser(cfg_scale=1.0, controls=[ControlInput(net=FakeControl(), hint=HINT)])(X, 2.0)
    torch.testing.assert_close(result, null + 4 * (cond - null), atol=1e-10, rtol=0)


def test_all_modes_without_guidance_act_on_the_only_half():
    for mode in ("balanced", "control"):
        d = denoiser(cfg_scale=1.0, controls=[ControlInput(net=FakeControl(), hint=HINT, mode=mode)])
        d(X, 2.0)
        assert (d.unet.calls[0]["mid"] != 0).all()


def test_several_controls_add_up():
    one = ControlInput(net=FakeControl(1.0), hint=HINT, weight=0.7)
    two = ControlInput(net=FakeControl(-0.3), hint=HINT.flip(2) * 2, weight=1.5, mode="control")
    calls = []
    for controls in ([one], [two], [one, two]):
        d = denoiser(controls=controls)
        d(X, 2.0)
        calls.append(d.unet.calls[0])
    torch.testing.assert_close(calls[2]["mid"], calls[0]["mid"] + calls[1]["mid"])
    for a, b, both in zip(calls[0]["down"], calls[1]["down"], calls[2]["down"], strict=True):
        torch.testing.assert_close(both, a + b)


def test_a_control_of_weight_0_is_not_asked():
    net = FakeControl()
    result = denoiser(controls=[ControlInput(net=net, hint=HINT, weight=0.0)])(X, 2.0)
    assert net.batches == []
    assert torch.equal(result, denoiser()(X, 2.0))


@pytest.mark.parametrize(
    ("start", "end", "on"),
    [(0.0, 1.0, range(10)), (0.0, 0.5, range(5)), (0.3, 0.7, range(3, 7)), (0.95, 1.0, []), (0.6, 0.4, [])],
)
def test_controls_are_on_in_their_steps_only(start, end, on):
    d = denoiser(controls=[ControlInput(net=FakeControl(), hint=HINT, start=start, end=end)])
    levels = SIGMAS.tolist()
    assert [bool(d.active(sigma)) for sigma in levels[:-1]] == [i in on for i in range(10)]
    within = [(a + b) / 2 for a, b in zip(levels, levels[1:], strict=False)]  # still the same step
    assert [bool(d.active(sigma)) for sigma in within] == [i in on for i in range(10)]


def test_control_is_a_function_of_the_level_also_for_heun():
    """On in steps 0-4: levels 0-4. Heun's second evaluation of step 4 is at level 5, already without it."""
    net = FakeControl()
    d = denoiser(controls=[ControlInput(net=net, hint=HINT, end=0.5)])
    list(heun(d, X, SIGMAS, noise=NoiseSource([1, 2])))
    with_control = [call["mid"] is not None for call in d.unet.calls]
    assert with_control == [True] * 9 + [False] * 10  # calls at levels 0 1 1 2 2 3 3 4 4 | 5 5 ... 9 9


def test_controls_need_the_levels():
    with pytest.raises(ValueError, match="needs the sigmas"):
        denoiser(sigmas=None, controls=[ControlInput(net=FakeControl(), hint=HINT)])


def test_networks_compute_in_their_dtype_and_x_keeps_its_own():
    d = denoiser(dtype=torch.bfloat16, controls=[ControlInput(net=FakeControl(), hint=HINT)])
    result = d(X.float(), 2.0)
    call = d.unet.calls[0]
    assert (call["x"].dtype, call["context"].dtype, call["mid"].dtype) == (torch.bfloat16,) * 3
    assert call["t"].dtype == torch.float32
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, denoiser(controls=d.controls)(X.float(), 2.0), atol=0.5, rtol=0)
