"""Gradients by hand against autograd: of every layer, distribution and loss, whole and in parts."""

import pytest
import torch

from models.rl import a2c, by_hand, ppo, trpo
from models.rl.envs import Box, CartPole, Discrete, EnvSpec, Pendulum
from models.rl.nets import LARGE, Categorical, Tanh, Value, stochastic_policy
from models.rl.settings import A2CSettings, PPOSettings, TRPOSettings

ACTIONS = {"numbered": Discrete(3), "real": Box((-1.0, -2.0), (1.0, 2.0))}
N, D = 60, 5


def made(kind, hidden=(16, 8)):
    """Policy and critic in float64, and a batch that they have moved away from: ratios on both sides of any clip."""
    rng = torch.Generator().manual_seed(0)
    spec = EnvSpec(id="x", obs_dim=D, actions=ACTIONS[kind], max_steps=9)
    policy, value = stochastic_policy(spec, hidden, rng, log_std=-0.3).double(), Value(D, hidden, rng).double()
    for parameter in [*policy.parameters(), *value.parameters()]:
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=rng, dtype=torch.float64)

    def draw(*shape):
        return torch.randn(*shape, generator=rng, dtype=torch.float64)

    obs = draw(N, D)
    with torch.no_grad():
        actions = policy(obs).sample(rng)
        old = policy(obs).log_prob(actions) + 0.4 * draw(N)
        batch = a2c.Batch(obs, actions, old, value(obs) + 0.3 * draw(N), draw(N), draw(N))
    return policy, value, batch


def gradients(policy, value):
    """Taken from the parameters, which lose them."""
    found = [parameter.grad.clone() for parameter in (*policy.parameters(), *value.parameters())]
    assert all(parameter.grad.is_contiguous() for parameter in policy.parameters())  # a fused Adam takes them for granted
    for parameter in (*policy.parameters(), *value.parameters()):
        parameter.grad = None
    return found


def agree(ours, theirs):
    return all(torch.allclose(a, b, rtol=1e-9, atol=1e-12) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("rows", [7, 2048])
@pytest.mark.parametrize("hidden", [(16, 8), ()])
@pytest.mark.parametrize("kind", ACTIONS)
@pytest.mark.parametrize("extras", [{}, {"ent_coef": 0.1, "clip_range_vf": 0.2, "normalize_advantage": False}])
def test_ppo(monkeypatch, kind, hidden, extras, rows):
    monkeypatch.setattr(by_hand, "ROWS", rows)
    policy, value, batch = made(kind, hidden)
    settings = PPOSettings(n_steps=N, batch_size=N, **extras)
    theirs = ppo.ppo_loss(policy(batch.obs), value(batch.obs), batch, settings, 0.2)
    theirs.row[ppo.COLUMNS.index("loss")].backward()
    reference = gradients(policy, value)
    with torch.no_grad():
        seen = by_hand.Seen(policy, value, batch.obs)
        loss = ppo.ppo_loss(seen.law, seen.value, batch, settings, 0.2)
        told = seen.pull(batch.actions, loss.by_log_prob, -settings.ent_coef / N, loss.by_value)
    assert torch.allclose(loss.row, theirs.row) and 0 < float(loss.row[5]) < 1  # some are clipped, some are not
    assert agree(gradients(policy, value), reference) and agree(told, reference)


@pytest.mark.parametrize("kind", ACTIONS)
def test_a2c(kind):
    policy, value, batch = made(kind)
    settings = A2CSettings(ent_coef=0.05, max_grad_norm=1e9, lr=1e-3)
    law, v = policy(batch.obs), value(batch.obs)
    loss = -(batch.advantages * law.log_prob(batch.actions)).mean() + 0.5 * (batch.returns - v).square().mean()
    (loss - 0.05 * law.entropy().mean()).backward()
    reference = gradients(policy, value)
    env = CartPole(2) if kind == "numbered" else Pendulum(2)
    run = a2c.start(env, settings)
    run.nets = torch.nn.ModuleDict({"policy": policy, "value": value})
    run.optimizers = {"both": torch.optim.SGD([*policy.parameters(), *value.parameters()], lr=0.0)}
    told = a2c.learn(run, batch, settings)
    assert agree(gradients(policy, value), reference)
    assert abs(told["train/loss"] - float((loss - 0.05 * law.entropy().mean()).detach())) < 1e-12
    assert abs(told["train/grad_norm"] - float(torch.cat([g.reshape(-1) for g in reference]).norm())) < 1e-9


def test_the_critic_of_trpo():
    run = trpo.start(Pendulum(4), TRPOSettings(n_steps=16, batch_size=64))
    rng = torch.Generator().manual_seed(1)
    batch = a2c.Batch(torch.randn(64, 3, generator=rng), *[torch.zeros(64)] * 4, torch.randn(64, generator=rng))
    value = run.nets["value"]
    loss = (batch.returns - value(batch.obs)).square().mean()
    reference = torch.autograd.grad(loss, list(value.parameters()))
    told = trpo.learn_value(run, batch)
    assert abs(float(told) - float(loss.detach())) < 1e-6
    assert all(torch.allclose(p.grad, g, atol=1e-6) for p, g in zip(value.parameters(), reference, strict=True))


@pytest.mark.parametrize("most", [0.01, 100.0])
def test_clipping_equals_torchs(most):
    policy, value, batch = made("real")
    (value(batch.obs).sum() + policy(batch.obs).mean.sum() + policy.log_std.sum()).backward()
    parameters = [*policy.parameters(), *value.parameters()]
    ours = [parameter.grad.clone() for parameter in parameters]
    length = by_hand.clip(ours, most)
    assert torch.allclose(length, torch.nn.utils.clip_grad_norm_(parameters, most)) and agree(ours, gradients(policy, value))


def test_the_quick_tanh_is_tanh():
    x = torch.cat((torch.linspace(-20, 20, LARGE), torch.linspace(-1e-3, 1e-3, LARGE)))
    before = x.clone()
    with torch.no_grad():
        quick = Tanh()(x)
    assert float((quick.double() - x.double().tanh()).abs().max()) < 3e-7 and torch.equal(x, before)


def test_entropy_alone_pulls_towards_evenness():
    law = Categorical.of(torch.tensor([[2.0, 0.0, -1.0]], dtype=torch.float64))
    by_logits, rest = law.pull(torch.tensor([0]), torch.zeros(1, dtype=torch.float64), 1.0)
    assert rest is None and float(by_logits[0, 0]) < 0 < float(by_logits[0, 2]) and abs(float(by_logits.sum())) < 1e-12
