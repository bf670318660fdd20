"""From a job's words to what a run is made of: algorithm, environment, settings; all of it checked before anything begins."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import Any, get_args, get_type_hints

from app.jobs.rl import RlSetup, RlSetupFields
from app.protocol import rl as told
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress
from app.protocol.payloads import Result
from app.protocol.sizes import size_words
from app.worker.context import Ctx
from models.rl import gridworld, gym_env, presets, worlds
from models.rl.algorithms import ALGORITHMS, Algorithm, algorithm
from models.rl.buffers import check_memory, check_rollout
from models.rl.envs import Box, Discrete, EnvSpec, VecEnv
from models.rl.errors import RLError
from models.rl.settings import Checked, DDPGSettings, OnPolicy

HELP = {
    "gamma": "Discount: what a reward is worth one step later.",
    "lr": "Learning rate; of the actor where the critic has its own, of the critic in TRPO.",
    "lr_decay": "Share of the learning rate that is lost, linearly, by the end of the run.",
    "critic_lr": "Learning rate of the critic.",
    "n_steps": "Steps of every copy between two updates.",
    "gae_lambda": "Advantage estimation: 0 trusts the critic after one step, 1 waits for the rewards.",
    "normalize_advantage": "Advantages of a batch get mean 0 and standard deviation 1.",
    "ent_coef": "Weight of the entropy: more keeps the policy exploring.",
    "vf_coef": "Weight of the value loss beside the policy's.",
    "max_grad_norm": "A longer gradient is cut to this length.",
    "batch_size": "Samples of one gradient step.",
    "n_epochs": "How often the same rollout is gone over.",
    "clip_range": "How far the ratio pi / pi_old may leave 1 before it stops paying.",
    "clip_decay": "Share of the clip range that is lost, linearly, by the end of the run.",
    "clip_range_vf": "The same for values; none: they are not clipped.",
    "target_kl": "PPO: an update ends when the approximate KL passes 1.5 times this (none: never). TRPO: radius of the trust region.",
    "cg_steps": "Most iterations of the conjugate gradients.",
    "cg_damping": "Added to the diagonal of the Fisher matrix.",
    "line_search_shrink": "Each trial takes this part of the one before.",
    "line_search_steps": "Most trials.",
    "n_critic_updates": "Passes of the critic over the rollout.",
    "tau": "How fast the target networks follow, a step.",
    "buffer_size": "Steps the replay buffer remembers.",
    "learning_starts": "Steps of random actions before the first update.",
    "gradient_steps": "Updates after every step of the copies.",
    "critic_l2": "Weight decay of the critic.",
    "noise": "Exploration: standard deviation, where actions span -1 to 1.",
    "noise_theta": "0: white noise; above: Ornstein-Uhlenbeck, 0.15 in the paper.",
    "noise_dt": "Time step of the Ornstein-Uhlenbeck noise.",
    "exploration": "How much the behaviour differs: share of uniform, or how much wider its noise is.",
    "rho_clip": "Ratios pi / b above this are cut; none: they may explode.",
}


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """All that makes a run, but for the seed."""

    algo: str
    algorithm: Algorithm
    spec: EnvSpec
    batched: bool
    settings: Checked
    n_envs: int
    total: int
    hidden: tuple[int, ...]
    backend: str
    preset: presets.Preset

    def make(self, n: int) -> VecEnv:
        """Copies of the environment on the run's backend."""
        return worlds.make_env(self.spec.id, n, batched=self.batched)

    def words(self, seed: int) -> told.RunSetup:
        """The setup, every value said."""
        return told.RunSetup(
            self.algo, self.spec.id, seed, self.total, self.n_envs, self.hidden or (0,), self.backend,
            told.settings_text(dataclasses.asdict(self.settings)),
        )  # fmt: skip


def choose(job: RlSetupFields) -> Chosen:
    """Preset and wishes together; RLError or UserError with a sentence for what cannot be."""
    chosen = algorithm(job.algo)
    own = presets.preset(job.algo, job.env)
    batched = job.backend != "gymnasium"
    if job.backend == "tensor" and job.env not in worlds.BATCHED:
        raise UserError(f"{job.env} is not there as tensors.", hint=f"These are: {', '.join(worlds.BATCHED)}. Or choose the backend auto.")
    spec = worlds.make_env(job.env, 1, batched=batched).spec
    chosen.check(spec)
    hidden = tuple(width for width in job.hidden if width) if job.hidden else own.hidden
    made = Chosen(
        algo=job.algo, algorithm=chosen, spec=spec, batched=batched and job.env in worlds.BATCHED or job.env in gridworld.WORLDS,
        settings=changed(own.settings, told.parse_settings(job.settings)), n_envs=job.n_envs or own.n_envs,
        total=job.total_timesteps or own.total, hidden=hidden, backend=job.backend, preset=own,
    )  # fmt: skip
    memory(made)
    return made


def changed(settings: Checked, wishes: dict[str, told.Number]) -> Checked:
    """The settings with some in their place; a sentence for names that are none and values that do not fit."""
    kinds = {name: kind_of(type(settings), name) for name in fields_of(settings)}
    for name, value in wishes.items():
        if name not in kinds:
            whose = type(settings).__name__.removesuffix("Settings")
            raise UserError(f"{whose} has no setting {name[:60]}.", hint=f"It has: {', '.join(kinds)}.")
        kind, optional = kinds[name]
        such = f"Such as {told.settings_text({name: getattr(settings, name)})}."
        if value is None and optional:
            continue
        if isinstance(value, bool) != (kind == "switch") or value is None:
            raise UserError(f"{name} must be {'yes or no' if kind == 'switch' else 'a number'}.", hint=such)
        if kind == "whole" and not isinstance(value, int):
            raise UserError(f"{name} must be a whole number, not {value:g}.", hint=such)
    return replace(settings, **{name: float(v) if kinds[name][0] == "number" and v is not None else v for name, v in wishes.items()})


def fields_of(settings: Checked) -> dict[str, dataclasses.Field]:
    return {item.name: item for item in dataclasses.fields(settings)}


def kind_of(cls: type[Checked], name: str) -> tuple[str, bool]:
    """whole, number or switch; and whether it may be None."""
    hint = get_type_hints(cls)[name]
    arms = get_args(hint) or (hint,)
    kind = "switch" if bool in arms else "number" if float in arms else "whole"
    return kind, type(None) in arms


def live(chosen: Chosen, text: str) -> Checked:
    """The settings that a person wishes for in a running run; those that cannot change then, or do not fit, raise."""
    wished = changed(chosen.preset.settings, told.parse_settings(text))
    fixed = [name for name, item in fields_of(wished).items() if not item.metadata.get("live", True)]
    moved = [name for name in fixed if getattr(wished, name) != getattr(chosen.settings, name)]
    if moved:
        raise UserError(f"{moved[0]} cannot change during a run.", hint="Start another run with it.")
    memory(replace(chosen, settings=wished))
    return wished


def memory(chosen: Chosen) -> str:
    """What the largest buffer will take, in words; raises before anything is made if it is too much."""
    s, n, dim = chosen.settings, chosen.n_envs, chosen.spec.obs_dim
    if isinstance(s, OnPolicy):
        check_rollout(n, s.n_steps, dim, getattr(s, "batch_size", 1))
        return f"A rollout of {n} x {s.n_steps:,} steps takes about {size_words(2 * 4 * n * s.n_steps * (dim + 8))}."
    if isinstance(s, DDPGSettings):
        actions = chosen.spec.actions.dim if isinstance(chosen.spec.actions, Box) else 1
        needed = 4 * s.buffer_size * (2 * dim + actions + 2)
        check_memory(f"A replay buffer of {s.buffer_size:,} steps", needed)
        return f"The replay buffer of {s.buffer_size:,} steps takes {size_words(needed)}."
    return "Nothing is stored: every step is learned from once."


# --- for people ---


def action_names(spec: EnvSpec) -> tuple[str, ...]:
    """What the actions of an environment are called."""
    known = {
        "CartPole-v1": ("left", "right"), "Pendulum-v1": ("torque",), "Acrobot-v1": ("torque -1", "none", "torque +1"),
        "MountainCar-v0": ("left", "none", "right"), "MountainCarContinuous-v0": ("force",),
        "LunarLander-v3": ("none", "left engine", "main engine", "right engine"),
        "LunarLanderContinuous-v3": ("main engine", "side engines"),
    }  # fmt: skip
    if spec.id in known:
        return known[spec.id]
    if spec.id in gridworld.WORLDS:
        return gridworld.ACTIONS
    count = spec.actions.n if isinstance(spec.actions, Discrete) else spec.actions.dim
    return tuple(f"action {i}" for i in range(count))


def setup_of(chosen: Chosen, seed: int = 0, settings: Checked | None = None) -> told.Setup:
    """What a run is made of, for people; `settings` are those in use if they have changed."""
    now = replace(chosen, settings=settings or chosen.settings)
    reference = now.preset.reference
    grid = gridworld.WORLDS.get(now.spec.id, "")
    return told.Setup(
        algo=now.algo, env=now.spec.id, total=now.total, n_envs=now.n_envs, hidden=now.hidden, settings=settings_of(now.settings),
        reference=None if reference is None else told.Reference(reference.mean, reference.std, reference.timesteps, reference.source),
        note=now.preset.note, title=now.algorithm.title, batched=now.batched, solved_at=now.spec.solved_at, memory=memory(now),
        grid=tuple(grid.split("\n")) if grid else (), action_names=action_names(now.spec), text=told.setup_text(now.words(seed)),
    )  # fmt: skip


def settings_of(settings: Checked) -> tuple[told.RlSetting, ...]:
    """Every setting with its value, range and meaning."""
    made = []
    for name, item in fields_of(settings).items():
        kind, optional = kind_of(type(settings), name)
        about = item.metadata or {"lo": 0.0, "hi": 1.0, "live": True, "open_lo": False}
        lo, hi, is_live, open_lo = (about[word] for word in ("lo", "hi", "live", "open_lo"))
        made.append(told.RlSetting(name, getattr(settings, name), lo, hi, is_live, HELP[name], kind, optional, open_lo))
    return tuple(made)


def rl_setup(job: RlSetup, ctx: Ctx) -> Generator[Event, None, Result]:
    """What a run would be made of, and what can be chosen instead."""
    yield Progress(done=0, note="looking")
    chosen = choose(job)
    return Result(files={"setup": setup_of(chosen)}, facts=choices(chosen.spec))


def choices(spec: EnvSpec) -> dict[str, Any]:
    """What a person may choose from."""
    tuned = [{"algo": algo, "env": env_id, "note": one.note} for (algo, env_id), one in presets.PRESETS.items()]
    return {"algorithms": suited(spec), "environments": environments(), "presets": tuned}


def suited(spec: EnvSpec) -> list[dict[str, Any]]:
    """All algorithms, and whether each can handle the environment's actions."""
    return [{"name": name, "title": a.title, **_ready(lambda a=a: a.check(spec), "suits")} for name, a in ALGORITHMS.items()]


def environments() -> list[dict[str, Any]]:
    """Those offered, and what is missing where one cannot be made."""
    return [{"id": env_id, **_ready(lambda env_id=env_id: _can_make(env_id), "ready")} for env_id in worlds.OFFERED]


def _ready(attempt: Callable[[], None], word: str) -> dict[str, Any]:
    try:
        attempt()
    except RLError as error:
        return {word: False, "note": f"{error.message} {error.hint}".strip()}
    return {word: True, "note": ""}


def _can_make(env_id: str) -> None:
    if env_id not in worlds.BATCHED:
        gym_env.make(env_id).close()
