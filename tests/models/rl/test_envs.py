"""Batched environments equal gymnasium's; episodes end, are cut and begin anew as they should; what is not supported says so."""

import gymnasium as gym
import numpy as np
import pytest
import torch

from models.rl.envs import Box, CartPole, Discrete, Pendulum
from models.rl.errors import RLError
from models.rl.gridworld import GridWorld
from models.rl.gym_env import ENDLESS_LIMIT, GymEnv, make
from models.rl.worlds import OFFERED, make_env


@pytest.mark.parametrize("env_class", [CartPole, Pendulum])
def test_dynamics_equal_gymnasium_over_random_rollouts(env_class):
    n, rng = 4, np.random.default_rng(0)
    ours, theirs = env_class(n), [gym.make(env_class.spec.id) for _ in range(n)]
    obs = ours.reset(0)
    ended = torch.zeros(n, dtype=torch.bool)
    for env, state in zip(theirs, ours.state, strict=True):
        env.reset(seed=0)
        env.unwrapped.state = state.numpy().copy()
    for _ in range(600):
        discrete = isinstance(ours.spec.actions, Discrete)
        action = rng.integers(0, 2, n) if discrete else rng.uniform(-3, 3, (n, 1)).astype(np.float32)
        step = ours.step(torch.from_numpy(action))
        for i, env in enumerate(theirs):
            seen, reward, terminated, truncated, _ = env.step(action[i] if discrete else np.clip(action[i], -2, 2))
            assert np.abs(seen - step.final_obs[i].numpy()).max() < 1e-6
            assert abs(reward - float(step.reward[i])) < 1e-5  # float32, rewards down to -16
            assert (terminated, truncated) == (bool(step.terminated[i]), bool(step.truncated[i]))
            if terminated or truncated:
                env.reset()
                env.unwrapped.state = ours.state[i].numpy().copy()
        ended |= step.done
        obs = step.obs
    assert ended.all() and obs.dtype == torch.float32


def test_time_limit_is_truncation_and_falling_is_termination():
    env = Pendulum(2)
    env.reset(0)
    for t in range(1, 201):
        step = env.step(torch.zeros(2, 1))
        assert not step.terminated.any() and step.truncated.all() == (t == 200)
    assert env.clock.tolist() == [0, 0] and not torch.equal(step.obs, step.final_obs)
    assert torch.equal(step.obs, env.observe(env.state))
    cart = CartPole(3)
    cart.reset(0)
    falls = [step for step in (cart.step(torch.ones(3, dtype=torch.int64)) for _ in range(30)) if step.terminated.any()]
    assert falls and all((step.final_obs[step.terminated][:, 2].abs() > 0.2094).all() for step in falls)
    assert all((step.obs[step.terminated].abs() <= 0.05).all() and not step.truncated.any() for step in falls)


def test_the_seed_decides_and_states_can_be_copied():
    env, other = CartPole(5), CartPole(5)
    assert torch.equal(env.reset(7), other.reset(7)) and not torch.equal(env.reset(7), other.reset(8))
    env.reset(7)
    actions = torch.randint(2, (60, 5), generator=torch.Generator().manual_seed(0))
    for action in actions[:30]:
        env.step(action)
    other.set_state(env.get_state())
    for action in actions[30:]:
        assert torch.equal(env.step(action).obs, other.step(action).obs)


def test_batched_beginnings_have_gymnasiums_ranges():
    cart, pendulum = CartPole(4000), Pendulum(4000)
    cart.reset(0), pendulum.reset(0)
    assert 0.0499 < cart.state.abs().max() <= 0.05 and abs(float(cart.state.mean())) < 1e-3
    assert 3.13 < pendulum.state[:, 0].abs().max() <= np.pi and 0.99 < pendulum.state[:, 1].abs().max() <= 1


def test_grid_world_moves_as_its_tables_say():
    env = GridWorld(20_000, slip=0.3)
    env.reset(0)
    cell, action = 7, 2  # beside a wall, moving down
    env.state = torch.full((env.n, 1), float(cell), dtype=torch.float64)
    step = env.step(torch.full((env.n,), action))
    mdp = env.mdp(0.9)
    chances = torch.zeros(25, dtype=torch.float64)
    chances[: mdp.P.shape[2]] = mdp.P[cell, action]
    counted = step.final_obs.double().mean(0)
    ending = env.ends.double()
    assert (counted - chances)[ending == 0].abs().max() < 4 * 0.5 / env.n**0.5
    assert abs(float(step.reward.mean()) - float(mdp.R[cell, action])) < 0.02
    assert torch.equal(step.terminated, (step.final_obs @ ending.float()) > 0)


def test_the_adapter_equals_gymnasium_and_keeps_the_last_observation():
    env, theirs = GymEnv("CartPole-v1", 2), [gym.make("CartPole-v1") for _ in range(2)]
    obs = env.reset(3)
    for i, each in enumerate(theirs):
        assert np.array_equal(each.reset(seed=3000 + i)[0], obs[i].numpy())
    for _ in range(40):
        step = env.step(torch.tensor([1, 0]))
        for i, (each, action) in enumerate(zip(theirs, (1, 0), strict=True)):
            seen, reward, terminated, truncated, _ = each.step(action)
            assert np.array_equal(seen, step.final_obs[i].numpy()) and reward == step.reward[i]
            assert (terminated, truncated) == (bool(step.terminated[i]), bool(step.truncated[i]))
            if terminated:
                assert np.array_equal(each.reset()[0], step.obs[i].numpy())


def test_spaces_are_read():
    assert GymEnv("Pendulum-v1").spec.actions == Box((-2.0,), (2.0,))
    frozen = GymEnv("FrozenLake-v1")
    assert frozen.spec.obs_dim == 16 and frozen.reset(0).sum() == 1
    assert GymEnv("CartPole-v1").spec.solved_at == 475 == CartPole.spec.solved_at
    assert GymEnv("Acrobot-v1").spec.max_steps == 500 and len(GymEnv("Acrobot-v1").facts()) == 0
    acrobot = GymEnv("Acrobot-v1")
    acrobot.reset(0)
    assert set(acrobot.facts()) == {"angle_1", "angle_2", "angular_velocity_1", "angular_velocity_2"}
    assert isinstance(make_env("CartPole-v1", 3), CartPole) and isinstance(make_env("CartPole-v1", 3, batched=False), GymEnv)
    assert "GridWorld-5x5" in OFFERED


class Broken(gym.Env):
    """Misbehaves as told."""

    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Discrete(2)

    def __init__(self, render_mode=None, how="raise"):
        self.how = how
        if how == "space":
            self.action_space = gym.spaces.MultiDiscrete([2, 2])
        if how == "dict":
            self.observation_space = gym.spaces.Dict({"a": gym.spaces.Discrete(2)})

    def reset(self, *, seed=None, options=None):
        return np.zeros(2, np.float32), {}

    def step(self, action):
        if self.how == "raise":
            raise RuntimeError("the motor is off")
        return np.full(2, np.nan if self.how == "nan" else 0, np.float32), 0.0, False, False, {}


@pytest.fixture
def broken():
    for how in ("raise", "nan", "space", "dict", "endless"):
        gym.register(f"Broken-{how}-v0", Broken, kwargs={"how": how})
    yield
    for how in ("raise", "nan", "space", "dict", "endless"):
        del gym.registry[f"Broken-{how}-v0"]


@pytest.mark.parametrize(
    ("how", "words"), [("raise", "the motor is off"), ("nan", "not finite"), ("space", "MultiDiscrete"), ("dict", "observes a Dict")]
)
def test_what_an_environment_does_wrong_is_said(broken, how, words):
    with pytest.raises(RLError, match=words) as error:
        env = GymEnv(f"Broken-{how}-v0")
        env.reset(0)
        env.step(torch.zeros(1, dtype=torch.int64))
    assert error.value.hint


def test_an_environment_that_never_ends_is_cut(broken):
    env = GymEnv("Broken-endless-v0")
    env.reset(0)
    env.clock[:] = ENDLESS_LIMIT - 2
    assert [bool(env.step(torch.zeros(1, dtype=torch.int64)).truncated) for _ in range(3)] == [False, True, False]


@pytest.mark.parametrize(("env_id", "words"), [("CartPoel-v1", "knows no environment"), ("os:path", "module"), ("", "knows no")])
def test_unknown_ids_get_a_sentence(env_id, words):
    with pytest.raises(RLError, match=words):
        make(env_id)
    with pytest.raises(RLError, match="Did you mean") if env_id == "CartPoel-v1" else pytest.raises(RLError):
        try:
            make(env_id)
        except RLError as error:
            raise RLError(error.hint) from error


def test_a_missing_package_names_the_line_that_installs_it(monkeypatch):
    def refuse(*args, **kwargs):
        raise gym.error.DependencyNotInstalled("Box2D is not installed")

    monkeypatch.setattr(gym, "make", refuse)
    with pytest.raises(RLError, match="LunarLander-v3 needs the package Box2D") as error:
        make("LunarLander-v3")
    assert 'pip install "gymnasium[box2d]"' in error.value.hint


@pytest.mark.parametrize("n", [0, -1, float("nan"), 2_000_000])
def test_a_wrong_number_of_copies_gets_a_sentence(n):
    with pytest.raises(RLError, match="number of environments"):
        CartPole(n)
