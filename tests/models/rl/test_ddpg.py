"""DDPG: a linear-quadratic task whose answer is known, the noise's variance, what is stored, and who may learn from whom."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from models.rl import actor_critic, ddpg
from models.rl.buffers import ReplayBuffer, Transitions
from models.rl.envs import BatchedEnv, Box, CartPole, EnvSpec, Pendulum
from models.rl.errors import RLError
from models.rl.planes import PLANES, q_surface
from models.rl.run import rng_of, updates
from models.rl.settings import DDPGSettings, DeterministicSettings

A, B, Q, R, GAMMA = 0.9, 0.5, 1.0, 0.1, 0.9


class LinearQuadratic(BatchedEnv):
    """`s' = A s + B u`, reward `-(Q s^2 + R u^2)`, cut after 20 steps."""

    spec = EnvSpec(id="lqr", obs_dim=1, actions=Box((-2.0,), (2.0,)), max_steps=20)

    def begin(self, n):
        return torch.rand(n, 1, generator=self.rng, dtype=torch.float64) * 2 - 1

    def dynamics(self, state, action):
        reward = -(Q * state.square() + R * action.double().square()).sum(1)
        return A * state + B * action.double(), reward.float(), torch.zeros(self.n, dtype=torch.bool)


class LinearActor(nn.Module):
    """`mu(s) = -k s`, in the units of the environment divided by two."""

    def __init__(self):
        super().__init__()
        self.k = nn.Parameter(torch.zeros(1))

    def forward(self, obs):
        return -self.k * obs / 2

    def to_env(self, action):
        return 2 * action


class QuadraticCritic(nn.Module):
    """The exact family: a quadratic form of state and action."""

    def __init__(self):
        super().__init__()
        self.w = nn.Parameter(torch.zeros(3))

    def forward(self, obs, action):
        s, u = obs[:, 0], 2 * action[:, 0]
        return self.w[0] * s * s + self.w[1] * s * u + self.w[2] * u * u


def riccati_gain():
    """The optimal gain: the positive root of the scalar discrete algebraic Riccati equation with A, B scaled by sqrt(gamma)."""
    a, b = A * math.sqrt(GAMMA), B * math.sqrt(GAMMA)
    # b^2 p^2 + (R (1 - a^2) - Q b^2) p - Q R = 0
    c = R * (1 - a * a) - Q * b * b
    p = (-c + math.sqrt(c * c + 4 * b * b * Q * R)) / (2 * b * b)
    return a * b * p / (R + b * b * p)


def test_the_gain_is_the_riccati_solution():
    rates = {"lr": 0.01, "critic_lr": 0.05, "tau": 0.1, "gamma": GAMMA}
    settings = DDPGSettings(batch_size=64, buffer_size=20_000, learning_starts=200, noise=0.2, **rates)
    env, nets = LinearQuadratic(8), {name: LinearActor() for name in ("policy", "policy_target")}
    nets |= {name: QuadraticCritic() for name in ("critic", "critic_target")}
    run = ddpg.assemble(env, 0, nets, settings, ReplayBuffer(20_000, 1, 1), rng_of(0), ())
    for _ in updates(ddpg.ddpg(run, lambda: settings, 8 * 1000)):
        pass
    assert float(run.policy.k.detach()) == pytest.approx(riccati_gain(), rel=0.03)
    assert run.policy.k != run.nets["policy_target"].k


def test_the_deterministic_gradient_is_the_derivative_of_the_return():
    """With the exact critic of a gain k, over the discounted visits of s0 = 1 (Silver et al. 2014, theorem 1)."""
    k = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    p = (Q + R * k**2) / (1 - GAMMA * (A - B * k) ** 2)
    (direct,) = torch.autograd.grad(-p, k)
    actor, critic = LinearActor().double(), QuadraticCritic().double()
    with torch.no_grad():
        actor.k.fill_(0.4)
        critic.w.copy_(-torch.stack((Q + GAMMA * p * A * A, 2 * GAMMA * p * A * B, R + GAMMA * p * B * B)))
    states = torch.tensor([[math.sqrt(GAMMA) ** t * (A - B * 0.4) ** t] for t in range(300)], dtype=torch.float64)
    run = SimpleNamespace(nets={"critic": critic}, policy=actor)
    (gradient,) = torch.autograd.grad(-ddpg.actor_objective(run, states) * len(states), actor.k)
    assert float(gradient) == pytest.approx(float(direct), rel=1e-9)


def test_ornstein_uhlenbeck_noise_has_its_stationary_variance_and_a_memory():
    settings = DDPGSettings(noise=0.3, noise_theta=2.0, noise_dt=0.05)
    noise, rng = ddpg.Noise(20_000, 1), torch.Generator().manual_seed(0)
    for _ in range(100):
        before = noise.value
        noise.draw(settings, rng)
    expected = 0.3**2 * 0.05 / (1 - (1 - 2.0 * 0.05) ** 2)
    assert float(noise.value.var()) == pytest.approx(expected, rel=0.05)
    assert float((before * noise.value).mean() / before.var()) == pytest.approx(0.9, abs=0.02)
    noise.forget(torch.ones(20_000, dtype=torch.bool))
    assert noise.value.abs().max() == 0
    white = ddpg.Noise(20_000, 1)
    drawn = white.draw(DDPGSettings(noise=0.3), rng)
    assert float(drawn.std()) == pytest.approx(0.3, rel=0.02)


def small_run(**changes):
    settings = DDPGSettings(batch_size=16, buffer_size=500, learning_starts=20, **changes)
    return ddpg.start(Pendulum(2), settings, 0, (8, 8)), settings


def test_the_buffer_holds_what_happened_and_a_cut_is_no_ending():
    run, settings = small_run()
    for _ in updates(ddpg.ddpg(run, lambda: settings, 410)):
        pass
    replay = run.extra["replay"]
    assert replay.size == 410 and replay.data.terminated.abs().max() == 0
    rows = replay.rows(torch.arange(replay.size))
    angle = torch.atan2(rows.obs[:, 1], rows.obs[:, 0])
    expected = -(angle**2 + 0.1 * rows.obs[:, 2] ** 2 + 0.001 * (2 * rows.actions[:, 0]) ** 2)
    assert (rows.rewards - expected).abs().max() < 1e-4
    env = Pendulum(410)
    env.reset(0)
    env.state = torch.stack((angle, rows.obs[:, 2]), 1).double()
    assert (env.step(2 * rows.actions).final_obs - rows.next_obs).abs().max() < 1e-4  # also where an episode was cut
    assert rows.actions.abs().max() <= 1 and rows.actions[:20].std() > 0.4


def test_the_buffer_is_a_ring():
    replay = ReplayBuffer(5, 1, 1)
    for i in range(4):
        x = torch.tensor([[2.0 * i], [2.0 * i + 1]])
        replay.add(Transitions(x, x, x[:, 0], x, torch.zeros(2)))
    assert replay.size == 5 and sorted(replay.data.rewards.tolist()) == [3, 4, 5, 6, 7]
    drawn = replay.sample(1000, torch.Generator().manual_seed(0)).rewards
    assert set(drawn.tolist()) == {3, 4, 5, 6, 7}
    with pytest.raises(RLError, match="GiB"):
        ReplayBuffer(10**10, 100, 10)


def test_the_actors_step_leaves_the_critic_alone_and_targets_follow_slowly():
    run, settings = small_run(tau=0.1)
    g = torch.Generator().manual_seed(0)
    batch = Transitions(*(torch.randn(16, d, generator=g) for d in (3, 1)), torch.randn(16), torch.randn(16, 3), torch.zeros(16))
    online = [p.detach().clone() for p in run.nets["critic_target"].parameters()]
    run.set_rate("critic", 0.0)
    frozen = [p.detach().clone() for p in run.nets["critic"].parameters()]
    moved = [p.detach().clone() for p in run.policy.parameters()]
    ddpg.learn(run, batch, settings)
    assert all(torch.equal(a, b) for a, b in zip(frozen, run.nets["critic"].parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(moved, run.policy.parameters(), strict=True))
    assert all(torch.allclose(a, b) for a, b in zip(online, run.nets["critic_target"].parameters(), strict=True))
    for now, before, target in zip(run.policy.parameters(), moved, run.nets["policy_target"].parameters(), strict=True):
        assert torch.allclose(target, 0.9 * before + 0.1 * now, atol=1e-7)


def test_numbered_actions_are_refused():
    with pytest.raises(RLError, match="CartPole-v1"):
        ddpg.start(CartPole(1), DDPGSettings(buffer_size=10))


def test_the_q_surface_is_the_critics():
    run, _ = small_run()
    shown = q_surface(run.nets, PLANES["Pendulum-v1"], n=21, m=11)
    obs = torch.tensor([[math.cos(float(shown.x[3])), math.sin(float(shown.x[3])), 0.0]])
    with torch.no_grad():
        assert float(run.nets["critic"](obs, shown.action[7:8, None] / 2)) == pytest.approx(float(shown.q[7, 3]), abs=1e-6)
        assert float(run.policy(obs)) * 2 == pytest.approx(float(shown.actor[3]), abs=1e-6)
    assert shown.q.shape == (11, 21) and shown.action[0] == -2


def test_the_on_line_deterministic_actor_critic_finds_the_gain_too():
    settings = DeterministicSettings(lr=3e-3, critic_lr=0.03, gamma=GAMMA, noise=0.2)
    run = actor_critic.start_deterministic(LinearQuadratic(64), settings, 0, ())
    run.nets["policy"], run.nets["critic"] = LinearActor(), QuadraticCritic()
    run.optimizers = {name: torch.optim.Adam(run.nets[name].parameters()) for name in ("policy", "critic")}
    for _ in updates(actor_critic.deterministic(run, lambda: settings, 64 * 900)):
        pass
    assert float(run.policy.k.detach()) == pytest.approx(riccati_gain(), rel=0.05)
