"""Jobs of reinforcement learning. What they send and give back (`app/protocol/rl.py`):

    train-rl     Records and Previews as in the head of `app/protocol/rl.py`; files metrics.csv, evaluations.csv, episodes.csv,
                 policy.safetensors, with `tensorboard` also an event file; facts eval/mean_reward, eval/std_reward, steps_per_second,
                 settings, run_folder
    rl-setup     files "setup": Setup; facts algorithms: [{name, title, suits, note}], environments: [{id, ready, note}],
                 presets: [{algo, env, note}]
    rl-runs      files "runs": tuple[RunCard, ...], the newest first
    rl-history   files "metrics": tuple[RlRow, ...], "episodes": Episodes, "changes": tuple[RlChange, ...], "evals": tuple[RlRow, ...],
                 "moments": tuple[int, ...] (environment steps of the policies kept), "setup": Setup, "card": RunCard,
                 "lamps": tuple[LampView, ...] as they stood last
    play-rl      files "film": EpisodeFilm, "moments": as above
    rl-plane     files "plane": PlaneView | GridView
    compare-rl   files "film", "other": EpisodeFilm, "difference": float32 (T,): how differently the other acts in the states of the
                 first film; facts measure (in words), mean_difference
    export-rl    files metrics.csv, episodes.csv, events.out.tfevents…; the policy of the newest moment as policy.safetensors
A run is named by its folder. Pause, one update, resume and stop are the protocol's own; a stopped run can be resumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from app.protocol.job import Job, knob
from app.protocol.rl import parse_settings

Algo = Literal["qac", "a2c", "off-policy-ac", "deterministic-ac", "ddpg", "trpo", "ppo"]
RUN = "Folder of the run, or its name in the list of runs."


@dataclass(frozen=True, kw_only=True)
class RlSetupFields(Job):
    """What all share that describe a run to be."""

    algo: Algo = knob("ppo", top=True, title="Algorithm", help="How the policy learns.")
    env: str = knob("CartPole-v1", top=True, title="Environment", help="One of the list, or any registered gymnasium id.")
    total_timesteps: int = knob(
        0, lo=0, hi=10_000_000_000, top=True, title="Environment steps", help="In all, of all copies together; 0 takes the preset's."
    )
    n_envs: int = knob(0, lo=0, hi=1_000_000, title="Copies", help="Of the environment, stepping together; 0 takes the preset's.")
    hidden: tuple[int, ...] = knob((), lo=0, hi=4096, title="Hidden layers", help="Their widths; empty takes the preset's, 0 has none.")
    settings: str = knob(
        "", live=True, title="Settings", help="What differs from the preset, such as: lr=0.0003 clip_range=0.1. May change during a run."
    )
    backend: Literal["auto", "tensor", "gymnasium"] = knob(
        "auto", title="Backend", help="auto: as tensors where the environment is there so; gymnasium: its own Python code."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_settings(self.settings)  # so that a typing mistake is told before anything begins


@dataclass(frozen=True, kw_only=True)
class TrainRl(RlSetupFields):
    """Train an agent by reinforcement learning, everything about it visible while it learns."""

    grad: ClassVar[bool] = True
    interactive: ClassVar[bool] = False

    seed: int = knob(0, lo=-1, hi=2**32 - 1, widget="seed", top=True, title="Seed", help="Weights, noise and episodes; -1 draws one.")
    setup: str = knob("", title="Setup", help="A whole setup as one string; takes the place of the fields above.")
    eval_every: int = knob(
        0, lo=-1, hi=10_000_000_000, title="Evaluate every", unit="steps",
        help="Episodes without chance, apart from training; 0: ten times in the run, -1: only at its end.",
    )  # fmt: skip
    eval_episodes: int = knob(20, lo=1, hi=1000, title="Evaluation episodes", help="Of each evaluation.")
    watch_seed: int = knob(0, lo=0, hi=2**31 - 1, title="Watched seed", help="First episode of the environment that is watched.")
    watch: bool = knob(True, live=True, title="Watch", help="Send the watched agent, the maps and the pictures of the algorithm's inside.")
    tensorboard: bool = knob(False, title="TensorBoard", help="Also write an event file for TensorBoard.")
    folder: str = knob("", advanced=True, title="Folder", help="Where run folders lie; empty: the user's own data folder.")
    resume: str = knob("", advanced=True, title="Resume", help=f"{RUN} It goes on where it was saved; a larger number of steps extends it.")


@dataclass(frozen=True, kw_only=True)
class RlSetup(RlSetupFields):
    """What a run would be made of, checked before it begins: settings, reference, memory."""


@dataclass(frozen=True, kw_only=True)
class RlRuns(Job):
    """The list of runs, and deleting one."""

    folder: str = knob("", title="Folder", help="Where run folders lie; empty: the user's own data folder.")
    delete: str = knob("", title="Delete", help="Name of a run to be deleted first.")


@dataclass(frozen=True, kw_only=True)
class KeptRun(Job):
    """What all share that look at a run on the disk."""

    run: str = knob("", top=True, title="Run", help=RUN)
    folder: str = knob("", advanced=True, title="Folder", help="Where run folders lie; empty: the user's own data folder.")


@dataclass(frozen=True, kw_only=True)
class RlHistory(KeptRun):
    """Everything a run has measured."""


@dataclass(frozen=True, kw_only=True)
class Moment(KeptRun):
    """A policy of the past."""

    timesteps: int = knob(
        -1, lo=-1, hi=10_000_000_000, top=True, title="Moment", unit="steps", help="The last policy kept by then is taken; -1: the newest."
    )


@dataclass(frozen=True, kw_only=True)
class PlayRl(Moment):
    """One seeded episode with the policy of a moment."""

    name: ClassVar[str] = "play-rl"

    seed: int = knob(0, lo=0, hi=2**31 - 1, title="Episode", help="Seed of the episode: it begins alike for every policy.")


@dataclass(frozen=True, kw_only=True)
class RlPlane(Moment):
    """Values and policy of a moment over the state plane."""


@dataclass(frozen=True, kw_only=True)
class CompareRl(PlayRl):
    """Two policies on the same seeded episode, of one run or of two."""

    name: ClassVar[str] = "compare-rl"

    other: str = knob("", title="Other run", help=f"{RUN} Empty: the same run.")
    other_timesteps: int = knob(-1, lo=-1, hi=10_000_000_000, title="Other moment", unit="steps", help="-1: the newest.")


@dataclass(frozen=True, kw_only=True)
class ExportRl(KeptRun):
    """A run as files for other programs: CSV and TensorBoard."""
