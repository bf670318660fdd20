"""Couplings, actnorm, 1x1 convolutions, squeeze, split, NICE: inverses, log-determinants against autograd, densities that sum to 1."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from models.flows import coupling, nice
from models.flows.chain import Chain, Part, inverse_error, log_logistic, log_normal, logistic, mlp, seeded, walk
from models.flows.coupling import ActNorm, AffineCoupling, GlowConfig, HalfCoupling, InvertibleConv, Split, Squeeze, conv_net
from models.flows.nice import AdditiveCoupling, NiceConfig, Scaling

TINY = GlowConfig(channels=2, size=4, levels=2, steps=2, width=5)


def woken(layer, seed=1, size=0.3):
    """Every parameter drawn anew, also those that begin as zero, in float64; small enough to stay far from singular."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in layer.parameters():
        parameter.data = size * torch.randn(parameter.shape, generator=generator)
    return layer.double()


LAYERS = {
    "affine": (lambda: AffineCoupling(torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0]), mlp((5, 8, 10))), (5,)),
    "half": (lambda: HalfCoupling(5, mlp((2, 8, 6))), (5,)),
    "half, pictures": (lambda: HalfCoupling(4, conv_net(2, 5, 4)), (4, 2, 3)),
    "actnorm": (lambda: ActNorm(3), (3,)),
    "actnorm, pictures": (lambda: ActNorm(3), (3, 2, 4)),
    "matrix": (lambda: InvertibleConv(5), (5,)),
    "1x1 convolution": (lambda: InvertibleConv(4), (4, 3, 2)),
    "squeeze": (Squeeze, (2, 4, 2)),
    "split": (lambda: Split(4), (4, 2, 2)),
    "part": (lambda: Part(Chain([Squeeze(), InvertibleConv(4)]), (1, 2, 4), (4, 1, 2)), (11,)),
    "additive, even": (lambda: AdditiveCoupling(0, mlp((3, 8, 3), nn.ReLU)), (6,)),
    "additive, odd": (lambda: AdditiveCoupling(1, mlp((3, 8, 3), nn.ReLU)), (6,)),
    "scaling": (lambda: Scaling(4), (4,)),
    "realnvp": (lambda: coupling.realnvp(3, 4, 8), (3,)),
    "glow, plane": (lambda: coupling.glow_plane(2, 3, 8), (2,)),
    "glow": (lambda: coupling.glow(TINY), (TINY.dims,)),
    "glow, reversed": (lambda: coupling.glow(replace(TINY, mixing="reverse")), (TINY.dims,)),
    "glow, unmixed": (lambda: coupling.glow(replace(TINY, mixing="none")), (TINY.dims,)),
    "nice": (lambda: nice.nice(NiceConfig(dim=6, couplings=4, width=8, depth=2, prior="logistic")), (6,)),
}


def made(name, n=4, seed=0):
    build, shape = LAYERS[name]
    layer = woken(seeded(seed, build), size=0.1 if name.startswith("glow") and "plane" not in name else 0.3)
    return layer, torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed + 5), dtype=torch.float64)


def slogdet(f, x):
    jacobian = torch.autograd.functional.jacobian(lambda flat: f(flat.reshape(1, *x.shape))[0].flatten(), x.flatten())
    return torch.linalg.slogdet(jacobian)[1]


@pytest.mark.parametrize("name", LAYERS)
def test_log_determinants_are_those_of_autograd_both_ways(name):
    layer, x = made(name)
    y, log_det = layer(x)
    _, back = layer.inverse(y)
    assert log_det.shape == back.shape == (len(x),)
    for k in range(2):
        assert slogdet(layer, x[k]).item() == pytest.approx(log_det[k].item(), abs=1e-9)
        assert slogdet(layer.inverse, y[k]).item() == pytest.approx(back[k].item(), abs=1e-9)
    assert torch.allclose(back, -log_det, atol=1e-9)


@pytest.mark.parametrize("name", LAYERS)
def test_the_inverse_leads_back(name):
    layer, x = made(name, n=50)
    assert inverse_error(layer, x) < 1e-10
    assert inverse_error(layer.float(), x.float()) < 1e-5
    y = layer(x.float())[0]
    assert y.shape == x.shape or name in ("squeeze",)
    if name != "squeeze":
        assert not torch.allclose(y, x.float(), atol=1e-2), "the layer should do something"


def test_squeeze_makes_channels_of_blocks():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    y, log_det = Squeeze()(x)
    assert y[0, :, 0, 0].tolist() == [0, 1, 4, 5] and y.shape == (1, 4, 2, 2)
    assert log_det.tolist() == [0]


def test_couplings_begin_as_the_identity_and_masks_take_turns():
    flow = seeded(0, coupling.realnvp)
    x = torch.randn(10, 2)
    assert torch.equal(flow(x)[0], x)
    assert len(flow.layers) == 8
    for a, b in zip(flow.layers[:-1], flow.layers[1:]):
        assert torch.equal(a.mask, 1 - b.mask)
    kept = [layer.kept for layer in nice.nice(nice.NICE_CONFIGS["plane"]).layers[:-1]]
    assert len(kept) == 10 and all(a != b for a, b in zip(kept[:-1], kept[1:]))


def test_actnorm_sets_itself_once_from_the_first_batch():
    layer, x = ActNorm(3), 3 * torch.randn(64, 3, 4, 4) + torch.tensor([5.0, -2, 0])[:, None, None]
    layer.initialise(x)
    y, _ = layer(x)
    assert y.mean((0, 2, 3)).abs().max() < 1e-5
    assert (y.std((0, 2, 3), correction=0) - 1).abs().max() < 1e-5
    before = {name: value.clone() for name, value in layer.state_dict().items()}
    layer.initialise(7 * x)
    resumed = ActNorm(3)
    resumed.load_state_dict(layer.state_dict())
    resumed.initialise(7 * x)  # what a training that resumes would do
    for one in (layer, resumed):
        assert all(torch.equal(value, before[name]) for name, value in one.state_dict().items())


def test_initialising_a_flow_sets_every_actnorm_on_what_reaches_it():
    flow = seeded(0, lambda: coupling.glow(TINY))
    x = 4 + 3 * torch.randn(256, TINY.dims, generator=torch.Generator().manual_seed(0))
    flow.initialise(x)
    seen = []
    hooks = [m.register_forward_hook(lambda m, a, out: seen.append(out[0])) for m in flow.modules() if isinstance(m, ActNorm)]
    flow(x)
    for hook in hooks:
        hook.remove()
    assert len(seen) == TINY.levels * TINY.steps
    for y in seen:
        values = y.transpose(0, 1).flatten(1)
        assert values.mean(1).abs().max() < 1e-5 and (values.std(1, correction=0) - 1).abs().max() < 1e-4


def test_the_convolution_begins_as_a_rotation_and_keeps_its_factors():
    layer = seeded(3, lambda: InvertibleConv(6)).double()
    weight = layer.weight()
    assert torch.allclose(weight @ weight.T, torch.eye(6, dtype=torch.float64), atol=1e-6)
    assert abs(layer(torch.zeros(1, 6, dtype=torch.float64))[1].item()) < 1e-6
    woken(layer)
    assert torch.allclose(layer.inverse_weight() @ layer.weight(), torch.eye(6, dtype=torch.float64), atol=1e-10)


def test_glow_counts_every_level():
    config = coupling.GLOW_CONFIGS["playworld"]
    flow = seeded(0, lambda: coupling.glow(config))
    shapes = [part.shape for part in flow.layers]
    assert shapes == [(3, 16, 16), (6, 8, 8), (12, 4, 4)]
    count = sum(p.numel() for p in flow.parameters())
    assert 1_000_000 < count < 1_500_000
    with pytest.raises(ValueError, match="squeezed 3 times"):
        GlowConfig(channels=3, size=12, levels=3, steps=1, width=4)


@pytest.mark.parametrize("name", ["realnvp", "glow, plane", "nice"])
def test_densities_of_the_plane_integrate_to_one(name):
    build = {
        "realnvp": coupling.realnvp, "glow, plane": coupling.glow_plane, "nice": lambda: nice.nice(nice.NICE_CONFIGS["plane"]),
    }[name]  # fmt: skip
    flow = woken(seeded(0, build), seed=4, size=0.15)
    sampled = flow.inverse(torch.randn(4000, 2, dtype=torch.float64))[0].detach()
    low, high = sampled.min(0).values - 3, sampled.max(0).values + 3
    xs, ys = (torch.linspace(low[i].item(), high[i].item(), 500, dtype=torch.float64) for i in range(2))
    grid = torch.cartesian_prod(xs, ys)
    with torch.no_grad():
        total = flow.log_density(grid).exp().sum() * (xs[1] - xs[0]) * (ys[1] - ys[0])
    assert total.item() == pytest.approx(1, abs=0.01)


def test_nice_is_a_change_of_volume_by_the_scaling_alone():
    flow, x = made("nice")
    for layer in flow.layers[:-1]:
        assert layer(x)[1].abs().max() == 0
        assert slogdet(layer, x[0]).abs().item() < 1e-10
    a = flow.layers[-1].log_scale
    assert slogdet(flow, x[0]).item() == pytest.approx(a.sum().item(), abs=1e-10)
    assert a.exp().abs().log().sum().item() == pytest.approx(a.sum().item(), abs=1e-10)
    assert nice.spectrum(flow).tolist() == sorted((-a).exp().tolist(), reverse=True)


def test_the_scaling_may_set_itself_once_from_a_first_batch():
    layer, x = Scaling(3), torch.randn(500, 3) * torch.tensor([0.1, 1.0, 7.0])
    layer.initialise(x)
    assert torch.allclose(layer(x)[0].std(0, correction=0), torch.ones(3), atol=1e-5)
    before = layer.log_scale.clone()
    layer.initialise(3 * x)
    resumed = Scaling(3)
    resumed.load_state_dict(layer.state_dict())
    resumed.initialise(3 * x)
    assert torch.equal(layer.log_scale, before) and torch.equal(resumed.log_scale, before)


def test_nice_with_nothing_learnt_is_its_prior():
    flow = seeded(0, lambda: nice.nice(NiceConfig(dim=6, couplings=4, width=8, depth=2, prior="logistic")))
    x = torch.randn(10, 6)
    density = torch.distributions.TransformedDistribution(
        torch.distributions.Uniform(0, 1, validate_args=False), [torch.distributions.SigmoidTransform().inv]
    )
    assert torch.allclose(flow.log_density(x), density.log_prob(x).sum(1), atol=1e-5)
    assert torch.allclose(flow.log_density(x), log_logistic(x))


def test_nice_samples_spread_where_a_is_small():
    flow = seeded(0, lambda: nice.nice(nice.NICE_CONFIGS["plane"]))
    flow.layers[-1].raw.data = torch.tensor([math.log(10.0), math.log(0.1)]) / Scaling.GAIN
    with torch.no_grad():
        x, log_det = flow.inverse(torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)))
    assert x.std(0).tolist() == pytest.approx([0.1, 10], rel=0.05)
    assert nice.spectrum(flow).tolist() == pytest.approx([10, 0.1])
    assert log_det.abs().max() < 1e-5


def test_three_additive_couplings_mix_everything_and_two_do_not():
    def dependence(n):
        flow = woken(nice.nice(NiceConfig(dim=4, couplings=n, width=8, depth=1, prior="normal")))
        x = torch.randn(4, dtype=torch.float64)
        rows = torch.zeros(4, 4, dtype=torch.bool)
        for k in range(20):
            x = torch.randn(4, dtype=torch.float64, generator=torch.Generator().manual_seed(k))
            rows |= torch.autograd.functional.jacobian(lambda v: flow(v[None])[0][0], x) != 0
        return rows

    assert not dependence(2).all()
    assert dependence(3).all()


def test_logistic_draws_follow_the_logistic_law():
    draws = logistic((20_000,), torch.Generator().manual_seed(0))
    assert draws.mean().abs() < 0.05
    assert draws.var().item() == pytest.approx(math.pi**2 / 3, rel=0.03)


def test_a_walk_shows_every_layer_and_sums_its_log_determinants():
    flow, x = made("glow, plane", n=6)
    z, log_det = flow(x)
    steps = list(walk(flow, x))
    assert [s.i for s in steps] == list(range(10)) and [s.last for s in steps] == [False] * 9 + [True]
    assert torch.equal(steps[0].x, x) and torch.equal(steps[-1].x, z)
    assert torch.allclose(sum(s.layer_log_det for s in steps), log_det) and torch.allclose(steps[-1].log_det, log_det)
    back = list(walk(flow, z, inverse=True))
    assert [s.layer for s in back[1:]] == [s.layer for s in reversed(steps[1:])]
    for there, here in zip(steps, reversed(back)):
        assert torch.allclose(there.x, here.x, atol=1e-10)
    assert torch.allclose(back[-1].log_det, -log_det)
    assert torch.allclose(flow.log_density(x), log_normal(z) + log_det)


def test_seeds_decide_weights_and_leave_the_global_generator_alone():
    torch.manual_seed(5)
    wanted = torch.rand(1)
    torch.manual_seed(5)
    one, two, other = (seeded(s, coupling.glow_plane).state_dict() for s in (1, 1, 2))
    assert torch.equal(torch.rand(1), wanted)
    assert all(torch.equal(value, two[name]) for name, value in one.items())
    assert any(not torch.equal(value, other[name]) for name, value in one.items())
