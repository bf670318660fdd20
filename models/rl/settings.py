"""Settings of each algorithm: frozen, checked when made, read afresh before every update.

Defaults follow the papers and stable-baselines3; what suits an environment stands in `presets.py`. Fields marked live may change
during a run (those that shape a network or a buffer cannot).
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, get_args, get_type_hints

from models.rl.errors import check_range


def number(default: Any, lo: float = 0.0, hi: float = float("inf"), *, open_lo: bool = False, live: bool = True) -> Any:
    """A field with its range."""
    return field(default=default, metadata={"lo": lo, "hi": hi, "open_lo": open_lo, "live": live})


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Base of all settings: every number is within the range of its field, or an `RLError` says which is not."""

    gamma: float = number(0.99, 0.0, 1.0)  # discount
    lr: float = number(3e-4, 0.0, 10.0, open_lo=True)
    lr_decay: float = number(0.0, 0.0, 1.0)  # share of the rate that is lost, linearly, by the end of the run

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for item in fields(self):
            value = getattr(self, item.name)
            if item.metadata and not (value is None and type(None) in get_args(hints[item.name])):
                lo, hi = item.metadata["lo"], item.metadata["hi"]
                check_range(item.name, value, lo, hi, open_lo=item.metadata["open_lo"])

    def rate(self, left: float) -> float:
        """Learning rate when `left` (1 .. 0) of the run is still to come."""
        return self.lr * (1 - self.lr_decay * (1 - left))


@dataclass(frozen=True, kw_only=True)
class OnPolicy(Checked):
    """What A2C, PPO and TRPO share."""

    n_steps: int = number(2048, 1, 1_000_000)  # in every copy, between two updates
    gae_lambda: float = number(0.95, 0.0, 1.0)
    normalize_advantage: bool = True


@dataclass(frozen=True, kw_only=True)
class A2CSettings(OnPolicy):
    """Mnih et al. 2016; stable-baselines3's defaults. gae_lambda 1 gives plain n-step returns."""

    n_steps: int = number(5, 1, 1_000_000)
    lr: float = number(7e-4, 0.0, 10.0, open_lo=True)
    gae_lambda: float = number(1.0, 0.0, 1.0)
    normalize_advantage: bool = False
    ent_coef: float = number(0.0, 0.0, 10.0)
    vf_coef: float = number(0.5, 0.0, 10.0)
    max_grad_norm: float = number(0.5, 0.0, open_lo=True)


@dataclass(frozen=True, kw_only=True)
class PPOSettings(OnPolicy):
    """Schulman et al. 2017; stable-baselines3's defaults."""

    batch_size: int = number(64, 2, 1_000_000)
    n_epochs: int = number(10, 1, 1000)
    clip_range: float = number(0.2, 0.0, 10.0, open_lo=True)
    clip_decay: float = number(0.0, 0.0, 1.0)  # share of the clip range that is lost, linearly, by the end of the run
    clip_range_vf: float | None = number(None, 0.0, open_lo=True)  # None: values are not clipped
    target_kl: float | None = number(None, 0.0, open_lo=True)  # stop optimising when approx_kl exceeds 1.5 times this
    ent_coef: float = number(0.0, 0.0, 10.0)
    vf_coef: float = number(0.5, 0.0, 10.0)
    max_grad_norm: float = number(0.5, 0.0, open_lo=True)

    def clip(self, left: float) -> float:
        """Clip range when `left` (1 .. 0) of the run is still to come; never quite zero."""
        return max(1e-8, self.clip_range * (1 - self.clip_decay * (1 - left)))


@dataclass(frozen=True, kw_only=True)
class TRPOSettings(OnPolicy):
    """Schulman et al. 2015; sb3-contrib's defaults. `lr` is the critic's: the policy's step needs none."""

    lr: float = number(1e-3, 0.0, 10.0, open_lo=True)
    target_kl: float = number(0.01, 0.0, 10.0, open_lo=True)  # delta, the radius of the trust region
    cg_steps: int = number(15, 1, 1000)
    cg_damping: float = number(0.1, 0.0, 100.0)
    line_search_shrink: float = number(0.8, 0.01, 0.99)
    line_search_steps: int = number(10, 1, 100)
    n_critic_updates: int = number(10, 0, 1000)
    batch_size: int = number(128, 1, 1_000_000)  # of the critic


@dataclass(frozen=True, kw_only=True)
class DDPGSettings(Checked):
    """Lillicrap et al. 2016; rates and batch as in stable-baselines3."""

    lr: float = number(1e-3, 0.0, 10.0, open_lo=True)  # of the actor
    critic_lr: float = number(1e-3, 0.0, 10.0, open_lo=True)
    tau: float = number(0.005, 0.0, 1.0, open_lo=True)  # how fast the targets follow
    batch_size: int = number(256, 1, 1_000_000)
    buffer_size: int = number(200_000, 1, 100_000_000, live=False)
    learning_starts: int = number(100, 0, 100_000_000)  # environment steps of uniformly random actions before the first update
    gradient_steps: int = number(1, 1, 1000)  # after every step of the copies
    critic_l2: float = number(0.0, 0.0, 10.0)  # weight decay of the critic, 1e-2 in the paper
    noise: float = number(0.1, 0.0, 10.0)  # standard deviation, in units where the actions span -1 .. 1
    noise_theta: float = number(0.0, 0.0, 100.0)  # 0: white Gaussian noise; above: Ornstein-Uhlenbeck, 0.15 in the paper
    noise_dt: float = number(0.01, 0.0, 1.0, open_lo=True)  # of the Ornstein-Uhlenbeck process


@dataclass(frozen=True, kw_only=True)
class StepwiseSettings(Checked):
    """What the plain actor-critics share, which learn after every step: one rate for the actor, one for the critic (Adam)."""

    lr: float = number(3e-4, 0.0, 10.0, open_lo=True)
    critic_lr: float = number(1e-3, 0.0, 10.0, open_lo=True)
    max_grad_norm: float = number(10.0, 0.0, open_lo=True)


@dataclass(frozen=True, kw_only=True)
class QACSettings(StepwiseSettings):
    """The simplest actor-critic: Sarsa for q, its value as the weight of the policy gradient."""

    ent_coef: float = number(0.0, 0.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class OffPolicySettings(StepwiseSettings):
    """Off-policy actor-critic (Degris et al. 2012) without eligibility traces."""

    exploration: float = number(0.3, 0.0, 1.0)  # numbered actions: share of uniform in the behaviour; real ones: how much wider it is
    rho_clip: float | None = number(None, 0.0, open_lo=True)  # ratios above are cut; None: they may explode, and are shown doing so
    ent_coef: float = number(0.0, 0.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class DeterministicSettings(StepwiseSettings):
    """Deterministic actor-critic (Silver et al. 2014), on-line: neither replay nor target networks."""

    noise: float = number(0.3, 0.0, 10.0)  # standard deviation of the behaviour's actions, in units where they span -1 .. 1
