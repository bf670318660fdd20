"""TRPO: Fisher products against the explicit matrix, conjugate gradients against a dense solve, every accepted step within its region."""

import pytest
import torch

from models.rl import trpo
from models.rl.a2c import Batch
from models.rl.envs import Box, CartPole, Pendulum
from models.rl.nets import CategoricalPolicy, GaussianPolicy, flat
from models.rl.run import updates
from models.rl.settings import TRPOSettings


def policies():
    rng = torch.Generator().manual_seed(0)
    yield CategoricalPolicy(4, 3, (6,), rng).double()
    yield GaussianPolicy(Box((-1.0, -1.0), (1.0, 1.0)), 4, (6,), rng, log_std=-0.3).double()


@pytest.mark.parametrize("policy", list(policies()), ids=["categorical", "gaussian"])
def test_fisher_products_equal_the_explicit_matrix(policy):
    """`F = E[grad log pi grad log pi']`, exactly for three actions, by the known form for a normal."""
    g = torch.Generator().manual_seed(1)
    for p in policy.parameters():
        p.data.normal_(0, 0.5, generator=g)
    obs = torch.randn(20, 4, generator=g, dtype=torch.float64)
    parameters = list(policy.parameters())
    size = sum(p.numel() for p in parameters)
    matrix = torch.zeros(size, size, dtype=torch.float64)

    def gradient(number):
        parts = torch.autograd.grad(number, parameters, retain_graph=True, allow_unused=True)
        return flat([torch.zeros_like(p) if part is None else part for p, part in zip(parameters, parts, strict=True)])

    law = policy(obs)
    for i in range(len(obs)):
        if hasattr(law, "logp"):
            terms = [(float(law.logp[i, a].detach().exp()), gradient(law.logp[i, a])) for a in range(3)]
        else:  # of a normal: 1 / s^2 for the mean, 2 for the log standard deviation
            terms = [(float((-2 * law.log_std[a]).detach().exp()), gradient(law.mean[i, a])) for a in range(2)]
            terms += [(2.0, gradient(law.log_std[a])) for a in range(2)]
        matrix += sum(weight * torch.outer(v, v) for weight, v in terms) / len(obs)
    assert 40 < size < 60
    product = trpo.Fisher(policy, obs, damping=0.1)
    assert product.grad_kl.abs().max() < 1e-10  # the KL to itself is at its lowest
    for _ in range(3):
        v = torch.randn(size, generator=g, dtype=torch.float64)
        assert (product(v) - (matrix @ v + 0.1 * v)).abs().max() < 1e-5 * (matrix @ v).abs().max()


def test_conjugate_gradients_equal_a_dense_solve():
    g = torch.Generator().manual_seed(0)
    a = torch.randn(50, 50, generator=g, dtype=torch.float64)
    a, b = a @ a.T + torch.eye(50, dtype=torch.float64), torch.randn(50, generator=g, dtype=torch.float64)
    x, residuals = trpo.conjugate_gradient(lambda v: a @ v, b, steps=200, tolerance=1e-20)
    assert (x - torch.linalg.solve(a, b)).abs().max() < 1e-5
    assert residuals[-1] < 1e-18 < residuals[0]
    assert torch.equal(trpo.conjugate_gradient(lambda v: a @ v, torch.zeros_like(b), 5)[0], torch.zeros_like(b))


@pytest.mark.parametrize("env_class", [CartPole, Pendulum])
def test_every_accepted_step_stays_within_delta_and_gains(env_class, monkeypatch):
    """KL and surrogate are measured again, from outside, on the batch of each update."""
    checked = []
    improve = trpo.improve

    def watched(policy, batch, settings, profile=False):
        with torch.no_grad():
            old = policy(batch.obs)
            before = trpo.surrogate(old, batch, batch.normalized_advantages)
        view, objective = improve(policy, batch, settings, profile)
        with torch.no_grad():
            new = policy(batch.obs)
            kl = float(old.kl_to(new).mean())
            gain = float(trpo.surrogate(new, batch, batch.normalized_advantages) - before)
        checked.append((view, kl, gain, settings.target_kl))
        return view, objective

    monkeypatch.setattr(trpo, "improve", watched)
    settings = TRPOSettings(n_steps=128, target_kl=0.02, n_critic_updates=2, batch_size=256, cg_damping=0.01)
    run = trpo.start(env_class(4), settings, 0, (16,))
    told = list(updates(trpo.trpo(run, lambda: settings, 8 * 512, wants=lambda name: name == "profile")))
    assert len(checked) == 8 and sum(view.accepted for view, *_ in checked) >= 6
    for view, kl, gain, delta in checked:
        if view.accepted:
            assert kl <= delta and gain > 0 and abs(kl - view.trials[-1].kl) < 1e-6
            assert abs(gain - view.trials[-1].gain) < 1e-5
        else:
            assert kl == 0
        assert view.profile.kl[0] < 1e-6 and len(view.profile.kl) == 31 and 0 < view.cosine <= 1
    assert told[-1].metrics["train/kl_divergence_loss"] == pytest.approx(checked[-1][1], abs=1e-6)


def test_a_step_that_gains_nothing_is_taken_back():
    policy = next(policies())
    g = torch.Generator().manual_seed(2)
    obs = torch.randn(30, 4, generator=g, dtype=torch.float64)
    with torch.no_grad():
        law = policy(obs)
        actions = law.sample(g)
    nothing = torch.zeros(30, dtype=torch.float64)
    batch = Batch(obs, actions, law.log_prob(actions), nothing, nothing, nothing)
    before = flat([p.detach().clone() for p in policy.parameters()])
    search = trpo.LineSearch(policy, batch, nothing, torch.ones_like(before))
    trials = search.run(TRPOSettings())
    assert len(trials) == 10 and not any(trial.accepted for trial in trials)
    assert torch.equal(before, flat([p.detach() for p in policy.parameters()]))
    assert [round(trial.fraction, 4) for trial in trials[:3]] == [1, 0.8, 0.64]
