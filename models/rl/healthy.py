"""Is the run healthy? Lamps that look at the recent metrics and say in a sentence what they see.

Thresholds are rules of thumb, each with its source; they point at where to look, they prove nothing. A lamp without data stays off.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Verdict = Literal["off", "good", "watch", "bad"]
KL_WATCH, KL_BAD = 0.03, 0.1
"""approx_kl per update: usually below 0.02 (Huang et al. 2022, "The 37 implementation details of PPO", on debugging); Spinning Up
ends an update at 1.5 x 0.01."""
CLIP_WATCH, CLIP_BAD = 0.3, 0.5
"""Share of ratios outside the clip band; a rule of thumb of our own: above a half, most samples have no gradient left."""
EV_BAD, EV_WATCH = 0.0, 0.2
"""Explained variance: below 0 the critic is worse than a constant (stable-baselines3, "Logger")."""
ENTROPY_WATCH, ENTROPY_BAD = 0.1, 0.02
"""Share of the largest entropy (numbered actions) that is left."""
STD_WATCH, STD_BAD = 0.1, 0.02
"""Standard deviation of a Gaussian policy as a share of half the action range; tiny ones explore nothing."""
DEAD = 1e-6
"""Standard deviation of the advantages, relative to the size of the returns, below which there is nothing to learn from."""
FLAT_AFTER = 0.3
"""Share of the run after which a return that has not risen is called flat."""


@dataclass(frozen=True)
class Lamp:
    """One light and its reason."""

    name: str
    verdict: Verdict
    sentence: str


def lamps(
    history: Sequence[Mapping[str, float]], *, progress: float, max_entropy: float | None = None, half_range: float | None = None,
    advantage_std: float | None = None, return_size: float = 1.0, solved_at: float | None = None,
) -> tuple[Lamp, ...]:  # fmt: skip
    """Judge a run by its updates so far, oldest first (thinned, if long); the last ten are called recent.

    `progress` 0 .. 1; `max_entropy` is log n of n numbered actions, `half_range` half the span of a real one; `advantage_std` of the last
    update and `return_size`, the size its returns had.
    """
    recent = history[-10:]
    return (
        _kl(_mean(recent, "train/approx_kl", "train/kl_divergence_loss")),
        _critic(_mean(recent, "train/explained_variance"), progress),
        _exploration(_mean(recent, "train/entropy_loss"), _mean(recent, "train/std"), max_entropy, half_range),
        _clipping(_mean(recent, "train/clip_fraction")),
        _advantage(advantage_std, return_size),
        _progress(history, progress, solved_at),
    )


def _mean(rows: Sequence[Mapping[str, float]], *names: str) -> float | None:
    """Mean of the first of the names that occurs; NaN if a value is not finite; None without data."""
    for name in names:
        values = [row[name] for row in rows if name in row]
        if values:
            return sum(values) / len(values)
    return None


def _kl(kl: float | None) -> Lamp:
    if kl is None:
        return Lamp("KL", "off", "This algorithm does not measure how far an update moves the policy.")
    if not math.isfinite(kl):
        return Lamp("KL", "bad", "The KL divergence is not a number: the policy has broken. Go back to a snapshot with a lower rate.")
    if kl > KL_BAD:
        return Lamp("KL", "bad", f"Each update moves the policy by {kl:.3f} nats, above {KL_BAD:g}: lower the rate or the epochs.")
    if kl > KL_WATCH:
        return Lamp("KL", "watch", f"Each update moves the policy by {kl:.3f} nats; below {KL_WATCH:g} is usual.")
    return Lamp("KL", "good", f"Updates are small: {kl:.4f} nats each.")


def _critic(variance: float | None, progress: float) -> Lamp:
    if variance is None:
        return Lamp("Critic", "off", "This algorithm does not compare its values with returns.")
    if math.isnan(variance):
        return Lamp("Critic", "off", "All returns are equal, so there is no variance to explain.")
    if variance < EV_BAD and progress > 0.05:
        return Lamp("Critic", "bad", f"Explained variance is {variance:.2f}, below 0: the values are worse than a constant would be.")
    if variance < EV_WATCH:
        return Lamp("Critic", "watch", f"Explained variance is {variance:.2f}: the critic says little about the returns yet.")
    return Lamp("Critic", "good", f"The critic explains {variance:.0%} of the variance of the returns.")


def _exploration(entropy_loss: float | None, std: float | None, max_entropy: float | None, half_range: float | None) -> Lamp:
    if std is not None and half_range:
        left, words = std / half_range, f"actions are spread by {std:.2f}, {std / half_range:.0%} of half their range"
        watch, bad = STD_WATCH, STD_BAD
    elif entropy_loss is not None and max_entropy:
        left, words = -entropy_loss / max_entropy, f"{-entropy_loss / max_entropy:.0%} of the largest possible entropy is left"
        watch, bad = ENTROPY_WATCH, ENTROPY_BAD
    else:
        return Lamp("Exploration", "off", "The policy has no entropy: its noise comes from outside.")
    if not math.isfinite(left) or left < bad:
        return Lamp("Exploration", "bad", f"Exploration is gone: {words}. Raise the entropy weight if the return is not good yet.")
    if left < watch:
        return Lamp("Exploration", "watch", f"Exploration is nearly gone: {words}.")
    return Lamp("Exploration", "good", f"The policy explores: {words}.")


def _clipping(fraction: float | None) -> Lamp:
    if fraction is None:
        return Lamp("Clipping", "off", "Only PPO clips.")
    if not math.isfinite(fraction) or fraction > CLIP_BAD:
        return Lamp("Clipping", "bad", f"{fraction:.0%} of the ratios are outside the clip band: most of the data is ignored.")
    if fraction > CLIP_WATCH:
        return Lamp("Clipping", "watch", f"{fraction:.0%} of the ratios are outside the clip band; up to {CLIP_WATCH:.0%} is usual.")
    return Lamp("Clipping", "good", f"{fraction:.0%} of the ratios are outside the clip band.")


def _advantage(std: float | None, size: float) -> Lamp:
    if std is None:
        return Lamp("Signal", "off", "No advantages have been measured.")
    if not math.isfinite(std):
        return Lamp("Signal", "bad", "Returns or values are not numbers.")
    if std <= DEAD * max(1.0, abs(size)):
        return Lamp("Signal", "bad", "All actions look equally good: the advantages are all alike, so nothing can be learned from them.")
    return Lamp("Signal", "good", f"Advantages differ by {std:.2g} (standard deviation).")


def _progress(history: Sequence[Mapping[str, float]], progress: float, solved_at: float | None) -> Lamp:
    returns = [row["rollout/ep_rew_mean"] for row in history if "rollout/ep_rew_mean" in row]
    if len(returns) < 5:
        return Lamp("Return", "off", "Too few episodes have ended to judge.")
    if not all(map(math.isfinite, returns)):
        return Lamp("Return", "bad", "A return is not a number.")
    now, first, best = returns[-1], returns[0], max(returns)
    span = best - min(returns)
    if solved_at is not None and now >= solved_at:
        return Lamp("Return", "good", f"Solved: the mean return of {now:.1f} is above {solved_at:g}.")
    if span > 0 and best - now > 0.5 * span and best > first:
        return Lamp("Return", "bad", f"The return has fallen from {best:.1f} to {now:.1f}: go back to the best snapshot with a lower rate.")
    third = max(1, len(returns) // 3)
    if progress > FLAT_AFTER and max(returns[-third:]) <= max(returns[:-third]) and now <= first + 0.1 * abs(first):
        return Lamp("Return", "watch", f"The return stays about {now:.1f} since the beginning: no progress yet.")
    return Lamp("Return", "good", f"The return went from {first:.1f} to {now:.1f}.")
