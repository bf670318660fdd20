"""One update equals stable-baselines3's (sb3-contrib's for TRPO) on equal weights and the same experience.

Their policy gets our weights, or we theirs; their rollout is replayed through our arithmetic. References are test dependencies.
"""

import gymnasium as gym
import numpy as np
import pytest
import torch

sb3 = pytest.importorskip("stable_baselines3")

from stable_baselines3.common.logger import Logger  # noqa: E402
from stable_baselines3.common.vec_env import DummyVecEnv  # noqa: E402

from models.rl import a2c, ddpg, ppo, trpo  # noqa: E402
from models.rl.buffers import Transitions  # noqa: E402
from models.rl.envs import CartPole, Pendulum  # noqa: E402
from models.rl.gae import gae  # noqa: E402
from models.rl.settings import A2CSettings, DDPGSettings, PPOSettings, TRPOSettings  # noqa: E402

ENVS = {"CartPole-v1": CartPole, "Pendulum-v1": Pendulum}
N, T = 2, 256


class Written(Logger):
    """Keeps what the reference logs."""

    def __init__(self):
        super().__init__(None, [])


def reference(kind, env_id, **settings):
    """A reference learner on the CPU, after one rollout; `truncated` marks the steps at which its time limit cut."""
    model = kind("MlpPolicy", DummyVecEnv([lambda: gym.make(env_id)] * N), n_steps=T, seed=0, device="cpu", **settings)
    model.set_logger(Written())
    model._total_timesteps, callback = 10_000, model._setup_learn(10_000)[1]
    model.collect_rollouts(model.env, callback, model.rollout_buffer, T)
    model.set_logger(Written())
    return model


def copy_weights(theirs, run):
    """From their policy into our networks."""
    pairs = [
        (theirs.mlp_extractor.policy_net, theirs.action_net, run.policy.net),
        (theirs.mlp_extractor.value_net, theirs.value_net, run.nets["value"].net),
    ]
    with torch.no_grad():
        for hidden, last, ours in pairs:
            for source, target in zip([*hidden.parameters(), *last.parameters()], ours.parameters(), strict=True):
                target.copy_(source)
        if hasattr(theirs, "log_std"):
            run.policy.log_std.copy_(theirs.log_std)


def worst(theirs, run):
    """The largest difference between the two sets of weights."""
    ours = [*run.policy.net.parameters(), *run.nets["value"].net.parameters()]
    other = [
        *theirs.mlp_extractor.policy_net.parameters(), *theirs.action_net.parameters(),
        *theirs.mlp_extractor.value_net.parameters(), *theirs.value_net.parameters(),
    ]  # fmt: skip
    gaps = [float((a - b).detach().abs().max()) for a, b in zip(ours, other, strict=True)]
    if hasattr(theirs, "log_std"):
        gaps.append(float((run.policy.log_std - theirs.log_std).detach().abs().max()))
    return max(gaps)


def batch_from(buffer, discrete):
    """Their rollout laid flat in their order: copy after copy."""

    def flat(array):
        return torch.as_tensor(np.swapaxes(array, 0, 1).reshape(N * T, *array.shape[2:]).copy())

    actions = flat(buffer.actions)
    actions = actions.long().reshape(-1) if discrete else actions
    return a2c.Batch(flat(buffer.observations), actions, *map(flat, (buffer.log_probs, buffer.values, buffer.advantages, buffer.returns)))


@pytest.mark.parametrize("env_id", ENVS)
def test_advantages_and_returns(env_id):
    model = reference(sb3.PPO, env_id, gae_lambda=0.9, gamma=0.95)
    buffer = model.rollout_buffer
    values = torch.as_tensor(buffer.values)
    with torch.no_grad():
        last = model.policy.predict_values(model.policy.obs_to_tensor(model._last_obs)[0]).flatten()
    done = torch.as_tensor(np.concatenate((buffer.episode_starts[1:], model._last_episode_starts[None]))).bool()
    following = torch.cat((values[1:], last[None]))  # theirs adds the value after a cut to the reward, so to us all ends are terminal
    ours = gae(torch.as_tensor(buffer.rewards), values, following, done, done, gamma=0.95, lam=0.9)
    assert np.abs(ours[0].numpy() - buffer.advantages).max() < 1e-6 * max(1, np.abs(buffer.advantages).max())
    assert np.abs(ours[1].numpy() - buffer.returns).max() < 1e-6 * max(1, np.abs(buffer.returns).max())


@pytest.mark.parametrize("env_id", ENVS)
@pytest.mark.parametrize("clip_range_vf", [None, 0.2])
def test_ppo(env_id, clip_range_vf):
    settings = PPOSettings(n_steps=T, batch_size=64, n_epochs=1, ent_coef=0.01, clip_range=0.1, clip_range_vf=clip_range_vf, lr=3e-3)
    same = {"batch_size": 64, "ent_coef": 0.01, "clip_range": 0.1, "clip_range_vf": clip_range_vf, "learning_rate": 3e-3}
    model = reference(sb3.PPO, env_id, n_epochs=1, **same)
    run = ppo.start(ENVS[env_id](N), settings)
    copy_weights(model.policy, run)
    batch = batch_from(model.rollout_buffer, env_id == "CartPole-v1")
    np.random.seed(5)
    order = torch.as_tensor(np.random.permutation(N * T))
    facts = ppo.Facts()
    for rows in order.split(64):
        row, _, stop = ppo.learn(run, batch[rows], settings, settings.clip_range)
        facts.rows.append((0, row))
        assert not stop
    np.random.seed(5)
    model.train()
    logged, told = model.logger.name_to_value, ppo.told(run, facts, batch)
    for name in ("policy_gradient_loss", "value_loss", "entropy_loss", "loss", "approx_kl", "clip_fraction", "explained_variance"):
        ours, theirs = told[f"train/{name}"], float(logged[f"train/{name}"])
        assert abs(ours - theirs) < 2e-6 * max(1.0, abs(theirs)), name
    assert told["train/clip_fraction"] > 0
    assert worst(model.policy, run) < 1e-5
    first = facts.rows[0][1]
    assert abs(float(first[4])) < 1e-6 and float(first[5]) == 0  # before the first step the ratio is 1


def test_ppo_stops_at_the_kl_limit_like_theirs():
    model = reference(sb3.PPO, "CartPole-v1", n_epochs=4, learning_rate=0.03, target_kl=0.01)
    settings = PPOSettings(n_steps=T, batch_size=64, n_epochs=4, lr=0.03, target_kl=0.01)
    run = ppo.start(CartPole(N), settings)
    copy_weights(model.policy, run)
    batch = batch_from(model.rollout_buffer, True)
    np.random.seed(5)
    stopped = False
    for _ in range(4):
        for rows in torch.as_tensor(np.random.permutation(N * T)).split(64):
            stopped = stopped or ppo.learn(run, batch[rows], settings, 0.2)[2]
            if stopped:
                break
        if stopped:
            break
    np.random.seed(5)
    model.train()
    assert stopped and worst(model.policy, run) < 1e-5


@pytest.mark.parametrize("env_id", ENVS)
def test_a2c(env_id):
    model = reference(sb3.A2C, env_id, ent_coef=0.01)
    settings = A2CSettings(n_steps=T, ent_coef=0.01)
    run = a2c.start(ENVS[env_id](N), settings)
    copy_weights(model.policy, run)
    told = a2c.learn(run, batch_from(model.rollout_buffer, env_id == "CartPole-v1"), settings)
    before = torch.cat([p.detach().reshape(-1).clone() for p in model.policy.parameters()])
    model.train()
    logged = model.logger.name_to_value
    for name in ("policy_loss", "value_loss", "entropy_loss", "explained_variance"):
        ours, theirs = told[f"train/{name}"], float(logged[f"train/{name}"])
        assert abs(ours - theirs) < 1e-5 * max(1.0, abs(theirs)), name
    after = torch.cat([p.detach().reshape(-1) for p in model.policy.parameters()])
    assert worst(model.policy, run) < 1e-5 and (after - before).abs().max() > 1e-3


@pytest.mark.parametrize("env_id", ENVS)
def test_trpo(env_id):
    """In float64, so that the conjugate gradients of both converge to the same direction; theirs starts them from a little noise."""
    contrib = pytest.importorskip("sb3_contrib")
    model = reference(contrib.TRPO, env_id, n_critic_updates=0, cg_max_steps=400, policy_kwargs={"net_arch": [8]})
    settings = TRPOSettings(n_steps=T, cg_steps=400, n_critic_updates=0)
    run = trpo.start(ENVS[env_id](N), settings, hidden=(8,))
    copy_weights(model.policy, run)
    model.policy.double(), run.nets.double()
    model.policy.mlp_extractor.policy_net.register_forward_pre_hook(lambda _, given: (given[0].double(),))
    buffer = model.rollout_buffer
    for name in ("observations", "actions", "log_probs", "values", "advantages", "returns"):
        setattr(buffer, name, getattr(buffer, name).astype(np.float64))
    batch = batch_from(buffer, env_id == "CartPole-v1")
    with torch.no_grad():
        batch = a2c.Batch(
            batch.obs, batch.actions, run.policy(batch.obs).log_prob(batch.actions), batch.values, batch.advantages, batch.returns
        )
    buffer.log_probs = batch.log_probs.numpy().reshape(N, T).swapaxes(0, 1).copy()
    old = torch.cat([p.detach().reshape(-1).clone() for p in run.policy.parameters()])
    view, objective = trpo.improve(run.policy, batch, settings)
    model.train()
    new = torch.cat([p.detach().reshape(-1) for p in run.policy.parameters()])
    logged = model.logger.name_to_value
    assert view.accepted and logged["train/is_line_search_success"] == 1
    assert (new - old).abs().max() > 1e-2 and worst(model.policy, run) < 1e-4
    assert abs(objective - float(logged["train/policy_objective"])) < 1e-5


def test_ddpg():
    """Targets, losses and weights after ten updates on the same batches."""
    model = sb3.DDPG(
        "MlpPolicy", gym.make("Pendulum-v1"), seed=0, device="cpu", batch_size=32, gamma=0.98, tau=0.01,
        policy_kwargs={"net_arch": [16, 16]},
    )  # fmt: skip
    model.set_logger(Written())
    settings = DDPGSettings(batch_size=32, gamma=0.98, tau=0.01, buffer_size=1000)
    run = ddpg.start(Pendulum(1), settings, hidden=(16, 16))
    pairs = {
        "policy": model.actor.mu, "policy_target": model.actor_target.mu,
        "critic": model.critic.q_networks[0], "critic_target": model.critic_target.q_networks[0],
    }  # fmt: skip
    with torch.no_grad():
        for name, theirs in pairs.items():
            for source, target in zip(theirs.parameters(), run.nets[name].parameters(), strict=True):
                target.copy_(source)
    g = torch.Generator().manual_seed(0)
    for _ in range(10):
        obs, after = (torch.randn(32, 3, generator=g) for _ in range(2))
        action, reward = torch.rand(32, 1, generator=g) * 2 - 1, torch.randn(32, generator=g)
        ended = (torch.rand(32, generator=g) < 0.2).float()
        sample = type("Sample", (), {
            "observations": obs, "actions": action, "next_observations": after, "dones": ended[:, None], "rewards": reward[:, None],
            "discounts": None,
        })  # fmt: skip
        model.replay_buffer.sample = lambda *a, sample=sample, **k: sample
        model.train(1, 32)
        told, _, target = ddpg.learn(run, Transitions(obs, action, reward, after, ended), settings)
        for ours, theirs in (("actor_loss", "actor_loss"), ("critic_loss", "critic_loss")):
            assert abs(told[f"train/{ours}"] - model.logger.name_to_value[f"train/{theirs}"]) < 1e-5
        assert (target[ended == 1] == reward[ended == 1]).all()
    for name, theirs in pairs.items():
        gap = max(float((a - b).detach().abs().max()) for a, b in zip(theirs.parameters(), run.nets[name].parameters(), strict=True))
        assert gap < 1e-5, name
