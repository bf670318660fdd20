"""What is seen of a run: frames of the watched agent, maps over the state, pictures of the algorithm's inside."""

from __future__ import annotations

import functools
import math
from collections.abc import Generator

import numpy as np
import torch
from torch import Tensor, nn

from app.protocol import rl as told
from app.protocol.events import Event, Progress
from app.runners.rl_setup import Chosen, action_names
from models.rl import gridworld, planes, worlds
from models.rl.algorithms import ALGORITHMS
from models.rl.ddpg import DDPGView
from models.rl.envs import Box, VecEnv
from models.rl.errors import RLError
from models.rl.evaluation import Episode, best_action, playing
from models.rl.gym_env import GymEnv
from models.rl.nets import Categorical, Gaussian
from models.rl.ppo import RATIO_BINS, RATIO_MAX, PPOView
from models.rl.settings import Checked
from models.rl.trpo import TRPOView

PLANE_POINTS = 41
SKIP = {"CartPole-v1": 2, "Pendulum-v1": 1}
"""Steps of the watched environment a frame: about its own time at 20 frames a second. All others take 2."""
MOST_PICTURES = 160
"""Frames with pixels of one episode; of longer ones every second, fourth … step is drawn."""
PICTURE_WIDTH = 300


def nets_for(chosen: Chosen) -> nn.ModuleDict:
    """Networks of a run's shape, without the run: to be filled with weights from the disk."""
    small = {"buffer_size": 1} if hasattr(chosen.settings, "buffer_size") else {}
    settings = type(chosen.settings)(**{**vars(chosen.settings), **small})
    return ALGORITHMS[chosen.algo].start(chosen.make(chosen.n_envs), settings, 0, chosen.hidden).nets


# --- the agent ---


class Watcher:
    """An agent in an environment of its own, played without chance, a few steps between two frames."""

    def __init__(self, chosen: Chosen, seed: int) -> None:
        self.chosen, self.names = chosen, action_names(chosen.spec)
        self.env = own_env(chosen.spec.id)
        self.seed = seed
        self.skip = SKIP.get(chosen.spec.id, 1 if chosen.spec.id in gridworld.WORLDS else 2)
        self._begin()

    def _begin(self) -> None:
        self.obs = self.env.reset(self.seed)
        self.step, self.total, self.reward = 0, 0.0, 0.0

    @torch.no_grad()
    def frame(self, nets: nn.ModuleDict) -> told.AgentFrame:
        """The agent as it stands; then it moves on. After the last step of an episode the next one begins."""
        here = {"facts": tuple(self.env.facts().items()), "step": self.step, "reward": self.reward, "total": self.total}
        pixels = picture(self.env) if self.chosen.spec.id not in told.PAINTED else None
        obs, ended = self.obs, False
        for _ in range(self.skip):
            step = self.env.step(best_action(nets["policy"], self.obs))
            self.obs, self.reward, ended = step.obs, float(step.reward[0]), bool(step.done[0])
            self.step, self.total = self.step + 1, self.total + self.reward
            if ended:
                self.seed += 1
                self._begin()
                break
        return told.AgentFrame(env=self.chosen.spec.id, ended=ended, pixels=pixels, **here, **opinion(nets, obs, self.names))

    def place(self) -> tuple[float, float] | None:
        """Where the agent stands on its plane, or in its grid as (row, column)."""
        env_id = self.chosen.spec.id
        if env_id in gridworld.WORLDS:
            facts = self.env.facts()
            return facts["row"], facts["column"]
        plane = planes.PLANES.get(env_id)
        if plane is None:
            return None
        row = self.obs[0]
        if plane.circular:
            return math.atan2(float(row[1]), float(row[0])), float(row[plane.columns[1]])
        return float(row[plane.columns[0]]), float(row[plane.columns[1]])

    def close(self) -> None:
        """Let go of windows and the like that an environment holds."""
        close(self.env)


def own_env(env_id: str) -> VecEnv:
    """One copy for looking at: ours where there is one, else gymnasium's, with pictures where we cannot draw it and it can."""
    if env_id in worlds.BATCHED:
        return worlds.make_env(env_id)
    if env_id in told.PAINTED:
        return GymEnv(env_id)
    try:
        return GymEnv(env_id, pictures=True)
    except RLError:  # some draw nothing, or lack a package for it: their numbers are shown
        return GymEnv(env_id)


def close(env: VecEnv | None) -> None:
    """Close an environment of gymnasium."""
    if isinstance(env, GymEnv):
        env.close()


def picture(env: VecEnv) -> np.ndarray | None:
    """The environment as it draws itself, at most about `PICTURE_WIDTH` wide; None if it cannot."""
    try:
        return smaller(env.picture())
    except RLError:
        return None


def smaller(pixels: np.ndarray) -> np.ndarray:
    """Mean over blocks of pixels."""
    block = max(1, pixels.shape[1] // PICTURE_WIDTH)
    if block == 1:
        return np.ascontiguousarray(pixels, np.uint8)
    h, w = pixels.shape[0] // block * block, pixels.shape[1] // block * block
    return pixels[:h, :w].reshape(h // block, block, w // block, block, 3).mean((1, 3)).astype(np.uint8)


@torch.no_grad()
def opinion(nets: nn.ModuleDict, obs: Tensor, names: tuple[str, ...]) -> dict:
    """What the networks think of one state (1, D), as the words of a frame."""
    law = nets["policy"](obs)
    own = law.mode() if isinstance(law, Categorical | Gaussian) else law
    chances = tuple(law.logp[0].exp().tolist()) if isinstance(law, Categorical) else ()
    action = nets["policy"].to_env(own)[0].reshape(-1).tolist()
    value = float(planes.state_values(nets, obs, own)[0])
    return {"action": tuple(map(float, action)), "action_names": names, "probabilities": chances, "value": value}


def film(chosen: Chosen, nets: nn.ModuleDict, timesteps: int, seed: int) -> Generator[Event, None, tuple[told.EpisodeFilm, Episode]]:
    """One seeded episode from its first step to its last."""
    env = own_env(chosen.spec.id)
    pictures, every = {}, 1
    try:
        for t in (played := Ended(playing(nets["policy"], env, seed))):
            if chosen.spec.id not in told.PAINTED and t % every == 0 and (pixels := picture(env)) is not None:
                pictures[t] = pixels
            if len(pictures) > MOST_PICTURES:
                every *= 2
                pictures = {step: pixels for step, pixels in pictures.items() if step % every == 0}
            if t % 25 == 0:
                yield Progress(done=t, unit="steps", note="playing")
    finally:
        close(env)
    return film_of(chosen, nets, played.value, pictures, timesteps, seed), played.value


class Ended:
    """Iterates over a generator and keeps its return value."""

    def __init__(self, work: Generator) -> None:
        self._work, self.value = work, None

    def __iter__(self):
        self.value = yield from self._work


@torch.no_grad()
def film_of(
    chosen: Chosen, nets: nn.ModuleDict, episode: Episode, pictures: dict[int, np.ndarray], timesteps: int, seed: int
) -> told.EpisodeFilm:
    """An episode as frames; where there are pictures by step, only those steps and the last one."""
    law = nets["policy"](episode.obs)
    own = law.mode() if isinstance(law, Categorical | Gaussian) else law
    values = planes.state_values(nets, episode.obs, own).tolist()
    totals = episode.rewards.double().cumsum(0).tolist()
    chances = episode.probabilities.tolist() if episode.probabilities is not None else [()] * len(values)
    names, last = action_names(chosen.spec), len(values) - 1
    shown = sorted({*pictures, last}) if pictures else range(len(values))
    newest = {t: max(k for k in pictures if k <= t) for t in shown} if pictures else {}
    frames = tuple(
        told.AgentFrame(
            env=chosen.spec.id, step=t, facts=tuple(episode.facts[t].items()),
            action=tuple(map(float, episode.actions[t].reshape(-1).tolist())), action_names=names, probabilities=tuple(chances[t]),
            value=values[t], reward=float(episode.rewards[t - 1]) if t else 0.0, total=totals[t - 1] if t else 0.0, ended=t == last,
            pixels=pictures[newest[t]] if newest else None,
        )
        for t in shown
    )  # fmt: skip
    return told.EpisodeFilm(timesteps, seed, frames, episode.total, episode.terminated)


# --- maps ---


def has_plane(env_id: str) -> bool:
    """Is the state small enough for a map?"""
    return env_id in planes.PLANES or env_id in gridworld.WORLDS


def plane_view(
    chosen: Chosen, nets: nn.ModuleDict, settings: Checked, timesteps: int, here: tuple[float, float] | None = None
) -> told.PlaneView | told.GridView | None:
    """Values and policy over the state; None where the state is too large for a map."""
    env_id = chosen.spec.id
    if env_id in gridworld.WORLDS:
        return grid_view(env_id, nets, settings.gamma, timesteps, here)
    if env_id not in planes.PLANES:
        return None
    plane, n = planes.PLANES[env_id], PLANE_POINTS
    obs = plane.observations(n)
    seen = planes.plane_map(nets, obs, (n, n))
    better = planes.advantage(nets, env_id, obs, settings.gamma)
    box = chosen.spec.actions
    better = (None, "") if better is None else (better[0].reshape(n, n).numpy(), _named(better[1], chosen))
    return told.PlaneView(
        plane.x_name, plane.y_name, plane.x_range, plane.y_range, plane.fixed, value=seen.value.numpy(), action=seen.action.numpy(),
        certainty=None if seen.certainty is None else seen.certainty.numpy(),
        advantage=better[0], advantage_name=better[1],
        action_names=action_names(chosen.spec), circular=plane.circular, timesteps=timesteps, here=here,
        value_name="v(s)" if "value" in nets else "q(s, a) of the policy's best action",
        action_range=(box.low[0], box.high[0]) if isinstance(box, Box) and box.bounded else (0.0, 1.0),
    )  # fmt: skip


def _named(words: str, chosen: Chosen) -> str:
    names = action_names(chosen.spec)
    return words.replace("action 1", names[1]).replace("action 0", names[0]) if len(names) == 2 else words


@torch.no_grad()
def grid_view(
    world: str, nets: nn.ModuleDict, gamma: float, timesteps: int, here: tuple[float, float] | None = None
) -> told.GridView:
    """Values and policy of every cell, beside the exact values of the best policy."""
    env = gridworld.GridWorld(1, world)
    layout = env.layout
    obs = torch.eye(env.spec.obs_dim)
    law = nets["policy"](obs)
    chances = law.logp.exp()                                                # (cells, 4)
    values = nets["value"](obs) if "value" in nets else (chances * nets["critic"](obs)).sum(-1)
    shape = (layout.height, layout.width)
    best = _optimal(world, min(gamma, 0.9999))
    return told.GridView(
        world, layout.rows, values.reshape(shape).numpy(), chances.reshape(*shape, 4).numpy(), timesteps, here, best.reshape(shape).numpy()
    )


@functools.lru_cache(maxsize=8)
def _optimal(world: str, gamma: float) -> Tensor:
    return gridworld.GridWorld(1, world).mdp(gamma).optimal()[0].float()


# --- inside ---


def inside_views(
    chosen: Chosen, nets: nn.ModuleDict, settings: Checked, view: object, timesteps: int, noise: list[list[float]]
) -> tuple[told.InsideView, ...]:
    """Pictures of what an update did, as far as the algorithm has any."""
    if isinstance(view, PPOView):
        return (ratio_view(view, timesteps),)
    if isinstance(view, TRPOView):
        return (line_search_view(view, timesteps),)
    views: list[told.InsideView] = []
    plane = planes.PLANES.get(chosen.spec.id)
    if hasattr(nets["policy"], "from_env") and plane is not None and nets["policy"].middle.numel() == 1:
        q = planes.q_surface(nets, plane)
        middle = f"{plane.y_name.split(' (')[0]} {sum(plane.y_range) / 2:g}"
        views.append(told.QSurfaceView(plane.x_name, q.x.numpy(), q.action.numpy(), q.q.numpy(), q.actor.numpy(), middle, timesteps))
    if isinstance(view, DDPGView):
        history = np.array(noise, np.float32).reshape(len(noise), -1)
        views.append(told.NoiseView(history, settings.noise, settings.noise_theta, view.target_lag, timesteps))
    return tuple(views)


def ratio_view(view: PPOView, timesteps: int) -> told.RatioView:
    edges = np.linspace(0, RATIO_MAX, RATIO_BINS + 1, dtype=np.float32)
    outside = view.clipped_by_epoch[-1] if view.clipped_by_epoch else 0.0
    epochs = (view.kl_by_epoch, view.clipped_by_epoch, view.stopped_in_epoch)
    return told.RatioView(edges, view.ratio_counts.numpy(), view.clip_range, outside, *epochs, timesteps)


def line_search_view(view: TRPOView, timesteps: int) -> told.LineSearchView:
    along = view.profile
    empty = np.zeros(0, np.float32)
    curves = (empty, empty, empty) if along is None else (along.fractions.numpy(), along.kl.numpy(), along.gain.numpy())
    land = view.landscape
    return told.LineSearchView(
        fractions=tuple(t.fraction for t in view.trials), kl=tuple(t.kl for t in view.trials), gain=tuple(t.gain for t in view.trials),
        accepted=next((i for i, t in enumerate(view.trials) if t.accepted), -1), delta=view.delta, step_size=view.step_size,
        cosine=view.cosine, residuals=view.residuals, along=curves[0], along_kl=curves[1], along_gain=curves[2], timesteps=timesteps,
        landscape=None if land is None else told.Landscape(
            land.at.numpy(), land.gain.numpy(), land.kl.numpy(), land.plain, land.plain_gain
        ),
    )  # fmt: skip
