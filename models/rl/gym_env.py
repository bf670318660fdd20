"""Any registered gymnasium environment behind the contract of `envs.py`: N copies, stepped one after another.

Observations: a `Box` of numbers (flattened) or a `Discrete` (one-hot). Actions: a `Discrete`, or a `Box` of one dimension. Everything else
is refused with a sentence, and so is an environment that fails, returns what is not a number, or cannot be imported.
"""

from __future__ import annotations

import contextlib
import difflib
import warnings
from collections.abc import Iterator

import gymnasium as gym
import numpy as np
import torch
from torch import Tensor

from models.rl.envs import Box, Discrete, EnvSpec, EnvStep
from models.rl.errors import RLError, check_range

MAX_OBS = 4096
"""Numbers in an observation; pictures belong to networks that are not here."""
ENDLESS_LIMIT = 10_000
"""Steps after which an episode is truncated if the environment has no time limit of its own."""
INSTALL = {"box2d": ("Box2D", 'pip install "gymnasium[box2d]"'), "mujoco": ("MuJoCo", 'pip install "gymnasium[mujoco]"')}
"""By a word in the entry point: the package, and the line that brings it."""
FACTS = {
    "CartPole-v1": ("x", "velocity", "angle", "angular_velocity"),
    "Pendulum-v1": ("angle", "angular_velocity"),
    "Acrobot-v1": ("angle_1", "angle_2", "angular_velocity_1", "angular_velocity_2"),
    "MountainCar-v0": ("x", "velocity"),
    "MountainCarContinuous-v0": ("x", "velocity"),
}
"""Names of the numbers in `state` of the environments we draw ourselves."""


class GymEnv:
    """N copies of a gymnasium environment. Their inner state cannot be copied: `get_state` is None, a resumed run begins new episodes."""

    def __init__(self, env_id: str, n: int = 1, *, pictures: bool = False) -> None:
        check_range("The number of environments", n, 1, 1024)
        self.n, self.id = n, env_id
        self.envs = [make(env_id, pictures)]
        self.spec = _spec(env_id, self.envs[0])
        self.envs += [make(env_id, pictures) for _ in range(n - 1)]
        self.clock = np.zeros(n, dtype=np.int64)
        self.last_action: Tensor | None = None
        self._obs = np.zeros((n, self.spec.obs_dim), dtype=np.float32)
        self._one_hot = isinstance(self.envs[0].observation_space, gym.spaces.Discrete)
        self._first = int(getattr(self.envs[0].observation_space, "start", 0))
        self._first_action = int(getattr(self.envs[0].action_space, "start", 0))

    def reset(self, seed: int) -> Tensor:
        self.clock[:] = 0
        self.last_action = None
        for i, env in enumerate(self.envs):
            with self._told("resetting"):
                obs, _ = env.reset(seed=(seed * 1000 + i) % 2**31)
            self._obs[i] = self._flat(obs)
        self._check(self._obs)
        return torch.from_numpy(self._obs.copy())

    def step(self, action: Tensor) -> EnvStep:
        self.last_action = action
        reward, ended = np.zeros(self.n, dtype=np.float32), np.zeros((2, self.n), dtype=bool)
        seen = []
        with self._told("stepping"):
            for i, (env, act) in enumerate(zip(self.envs, self._given(action), strict=True)):
                obs, reward[i], ended[0, i], ended[1, i], _ = env.step(act)
                seen.append(obs)
            self._obs[:] = [self._flat(obs) for obs in seen] if self._one_hot else np.asarray(seen, np.float32).reshape(self.n, -1)
        self.clock += 1
        ended[1] |= self.clock >= self.spec.max_steps
        final = self._obs.copy()
        for i in np.flatnonzero(ended.any(0)):
            with self._told("resetting"):
                self._obs[i] = self._flat(self.envs[i].reset()[0])
            self.clock[i] = 0
        for numbers in (final, self._obs, reward):
            self._check(numbers)
        return EnvStep(*map(torch.from_numpy, (self._obs.copy(), reward, *ended, final)))

    def _given(self, action: Tensor) -> list[object]:
        if isinstance(self.spec.actions, Discrete):
            return [a + self._first_action for a in action.tolist()]
        return list(action.numpy().astype(self.envs[0].action_space.dtype))

    def _flat(self, obs: object) -> np.ndarray:
        if self._one_hot:
            return np.eye(1, self.spec.obs_dim, int(obs) - self._first, dtype=np.float32)[0]
        return np.asarray(obs, dtype=np.float32).reshape(-1)

    def _check(self, numbers: np.ndarray) -> None:
        if not np.isfinite(numbers).all():
            raise RLError(
                f"{self.id} returned a number that is not finite (NaN or infinity).",
                "The environment itself is at fault, or an action it does not stand; earlier runs are kept.",
            )

    @contextlib.contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        try:
            yield
        except RLError:
            raise
        except Exception as error:
            raise RLError(
                f"{self.id} failed while {doing}: {type(error).__name__}: {error}".rstrip(". ") + ".",
                "The error comes from the environment, not from the training.",
            ) from error

    def facts(self, i: int = 0) -> dict[str, float]:
        state = getattr(self.envs[i].unwrapped, "state", None)
        if self.id not in FACTS or state is None:
            return {}
        facts = dict(zip(FACTS[self.id], map(float, state), strict=True))
        if self.last_action is not None:
            facts["action"] = float(self.last_action[i].reshape(-1)[0])
        return facts

    def picture(self, i: int = 0) -> np.ndarray:
        """(H, W, 3) uint8, drawn by the environment itself; only with `pictures=True`."""
        with self._told("drawing"):
            frame = self.envs[i].render()
        if not isinstance(frame, np.ndarray) or frame.ndim != 3:
            raise RLError(f"{self.id} does not draw pictures.", "Its numbers are shown instead.")
        return frame

    def get_state(self) -> None:
        return None

    def set_state(self, state: dict[str, Tensor]) -> None:
        raise RLError(f"The inner state of {self.id} cannot be set.", "A resumed run begins new episodes.")

    def close(self) -> None:
        for env in self.envs:
            env.close()


def make(env_id: str, pictures: bool = False) -> gym.Env:
    """One gymnasium environment; unknown ids, missing packages and bad constructors become sentences."""
    if ":" in env_id:
        raise RLError(
            f"'{env_id}' names a module to import, which is not done here.", "Type the id of an installed, registered environment."
        )
    if env_id not in gym.registry:
        near = difflib.get_close_matches(env_id, gym.registry, n=3)
        raise RLError(f"gymnasium knows no environment '{env_id}'.", f"Did you mean {', '.join(near)}?" if near else "See its list of ids.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return gym.make(env_id, render_mode="rgb_array" if pictures else None, disable_env_checker=True)
    except (gym.error.DependencyNotInstalled, ImportError) as error:
        entry = str(gym.registry[env_id].entry_point)
        known = next((pair for word, pair in INSTALL.items() if word in entry), None)
        if known is None:
            raise RLError(f"{env_id} needs a package that is not installed: {error}".rstrip(". ") + ".", "Install that package.") from error
        raise RLError(f"{env_id} needs the package {known[0]}, which is not installed.", f"Install it with: {known[1]}") from error
    except Exception as error:
        raise RLError(
            f"{env_id} cannot be made: {type(error).__name__}: {error}".rstrip(". ") + ".", "Choose another environment."
        ) from error


def importable(env_id: str) -> bool:
    """Can the environment be made here? Box2D and MuJoCo are optional."""
    try:
        make(env_id).close()
    except RLError:
        return False
    return True


def _spec(env_id: str, env: gym.Env) -> EnvSpec:
    known = env.spec
    limit = known.max_episode_steps if known is not None and known.max_episode_steps else ENDLESS_LIMIT
    solved = known.reward_threshold if known is not None else None
    dim, actions = _obs_dim(env_id, env.observation_space), _actions(env_id, env.action_space)
    return EnvSpec(id=env_id, obs_dim=dim, actions=actions, max_steps=limit, solved_at=solved)


def _obs_dim(env_id: str, space: gym.Space) -> int:
    if isinstance(space, gym.spaces.Discrete):
        dim = int(space.n)
    elif isinstance(space, gym.spaces.Box):
        dim = int(np.prod(space.shape))
    else:
        raise RLError(
            f"{env_id} observes a {type(space).__name__}; only Box and Discrete observations are supported.", "Choose another environment."
        )
    if not 0 < dim <= MAX_OBS:
        raise RLError(
            f"{env_id} observes {dim} numbers; between 1 and {MAX_OBS} are supported.", "Choose one that does not observe pictures."
        )
    return dim


def _actions(env_id: str, space: gym.Space) -> Discrete | Box:
    if isinstance(space, gym.spaces.Discrete):
        return Discrete(int(space.n))
    if isinstance(space, gym.spaces.Box) and len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating):
        return Box(tuple(map(float, space.low)), tuple(map(float, space.high)))
    raise RLError(
        f"{env_id} acts in a {type(space).__name__} that is not supported; Discrete and one-dimensional Box actions are.",
        "Choose another environment.",
    )
