"""Maps over the state: advantages against the environments themselves, the landscape of a TRPO step, predicted against obtained returns."""

from __future__ import annotations

import pytest
import torch

from models.rl import ddpg, ppo, trpo
from models.rl.a2c import batch_of
from models.rl.envs import CartPole, Pendulum
from models.rl.evaluation import evaluating, finish, foretold, play
from models.rl.planes import PLANES, advantage
from models.rl.run import Pulse, collect
from models.rl.settings import DDPGSettings, PPOSettings, TRPOSettings

GAMMA = 0.9


def stepped(env, state, action):
    """Reward, next observation and termination, from the environment's own step."""
    env.reset(0)
    env.set_state({"state": state, "clock": torch.zeros(env.n, dtype=torch.int64), "rng": env.rng.get_state()})
    step = env.step(action)
    return step.reward, step.final_obs, step.terminated


@pytest.mark.parametrize(("env_class", "name"), [(CartPole, "CartPole-v1"), (Pendulum, "Pendulum-v1")])
def test_an_advantage_is_what_one_step_of_the_environment_says(env_class, name) -> None:
    run = ppo.start(env_class(2), PPOSettings(n_steps=8, batch_size=8), 0, (16,))
    for parameter in run.nets.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=run.rng)
    obs = PLANES[name].observations(9)
    found, words = advantage(run.nets, name, obs, GAMMA)
    env = env_class(len(obs))
    if name == "CartPole-v1":
        state, pair = obs.double(), [torch.full((len(obs),), a) for a in (1, 0)]
    else:
        state = torch.stack((torch.atan2(obs[:, 1], obs[:, 0]), obs[:, 2]), 1).double()
        with torch.no_grad():
            best = run.policy(obs).mean
        pair = [best.clamp(-2, 2), torch.zeros_like(best)]
    with torch.no_grad():
        q = [r + GAMMA * run.nets["value"](after) * ~ended for r, after, ended in (stepped(env, state, a) for a in pair)]
    assert (found - (q[0] - q[1])).abs().max() < 1e-5 and found.std() > 1e-3
    assert "over" in words and "v(s')" in words


def test_a_critic_of_actions_needs_no_environment() -> None:
    run = ddpg.start(Pendulum(1), DDPGSettings(buffer_size=10), 0, (16,))
    obs = PLANES["Pendulum-v1"].observations(5)
    found, _ = advantage(run.nets, "somewhere-v0", obs, GAMMA)
    with torch.no_grad():
        best = run.policy(obs)
        q = run.nets["critic"](obs, best) - run.nets["critic"](obs, torch.zeros_like(best))
    assert torch.equal(found, q)


def test_without_dynamics_or_actions_there_is_no_advantage() -> None:
    run = ppo.start(CartPole(2), PPOSettings(n_steps=8, batch_size=8), 0, (16,))
    assert advantage(run.nets, "somewhere-v0", torch.zeros(3, 4), GAMMA) is None


def test_what_came_is_the_discounted_return_of_the_episode() -> None:
    run = ddpg.start(Pendulum(1), DDPGSettings(buffer_size=10), 0, (16,))
    found = finish(evaluating(run.policy, Pendulum(1), 5, run.nets["critic"], GAMMA))
    episode = play(run.policy, Pendulum(1), 5)
    discounts = GAMMA ** torch.arange(len(episode.rewards), dtype=torch.float64)
    assert float(found.obtained) == pytest.approx(float((episode.rewards.double() * discounts).sum()), rel=1e-9)
    assert float(found.returns) == pytest.approx(episode.total, rel=1e-9)
    with torch.no_grad():
        assert float(found.predicted) == float(run.nets["critic"](episode.obs[:1], run.policy(episode.obs[:1])))
    assert torch.equal(foretold(run.policy, run.nets["critic"], episode.obs[:1]), found.predicted)


def test_the_landscape_is_the_policy_moved_in_the_plane_of_the_two_gradients() -> None:
    settings = TRPOSettings(n_steps=64, target_kl=1e-5, cg_damping=1e-4, cg_steps=40)
    run = trpo.start(CartPole(4), settings, 0, (8,))
    batch = batch_of(finish(collect(run, 64, Pulse())), 0.99, 0.95)
    before = [p.detach().clone() for p in run.policy.parameters()]
    gradient_view, _ = trpo.improve(run.policy, batch, settings, profile=True)
    after = [p.detach().clone() for p in run.policy.parameters()]
    land, way = gradient_view.landscape, gradient_view.profile
    full = int((way.fractions - 1).abs().argmin())
    one, zero = int((land.at - 1).abs().argmin()), int(land.at.abs().argmin())
    assert float(land.at[one]) == pytest.approx(1) and float(land.at[zero]) == pytest.approx(0, abs=1e-6)
    gain = float(way.gain[full])
    assert gain > 0 and float(land.gain[zero, one]) == pytest.approx(gain, rel=1e-3)  # (1, 0) is where the full step ends
    assert float(land.kl[zero, one]) == pytest.approx(float(way.kl[full]), rel=1e-3)
    assert abs(float(land.kl[zero, zero])) < 1e-6 and abs(float(land.gain[zero, zero])) < 1e-6
    assert float(land.kl[one, zero]) == pytest.approx(settings.target_kl, rel=0.4)  # a step across costs as much, to second order
    assert abs(float(land.gain[one, zero])) < 0.15 * gain  # and gains nothing: the natural gradient has all of the slope
    assert float(torch.tensor(land.plain).norm()) == pytest.approx(1) and 0 < land.plain[0] < 1 and land.plain[1] > 0
    assert land.plain_gain == pytest.approx(land.plain[0] * gain, rel=0.15)  # at the same KL it gains by its share of the way
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_looking_at_the_landscape_does_not_change_the_step() -> None:
    settings = TRPOSettings(n_steps=64)
    weights = []
    for profile in (False, True):
        run = trpo.start(CartPole(4), settings, 0, (8,))
        trpo.improve(run.policy, batch_of(finish(collect(run, 64, Pulse())), 0.99, 0.95), settings, profile)
        weights.append(torch.cat([p.detach().reshape(-1) for p in run.policy.parameters()]))
    assert torch.equal(*weights)
