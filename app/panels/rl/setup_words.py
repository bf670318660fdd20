"""A setup between form, job and words."""

from __future__ import annotations

from typing import Any

from app.jobs.rl import TrainRl
from app.protocol.errors import UserError
from app.protocol.rl import Number, RunSetup, Setup, parse_settings

MOST_LAYERS, MOST_SEEDS = 6, 10


def job_of(run: RunSetup, **more: Any) -> TrainRl:
    """The job that trains a setup."""
    return TrainRl(
        algo=run.algo, env=run.env, seed=run.seed, total_timesteps=run.total, n_envs=run.n_envs, hidden=run.hidden, backend=run.backend,
        settings=run.settings, **more,
    )  # fmt: skip


def layers_text(widths: tuple[int, ...]) -> str:
    """(64, 64) -> "64, 64"."""
    return ", ".join(map(str, widths)) if widths else "none"


def read_layers(text: str) -> tuple[int, ...]:
    """ "64, 64" -> (64, 64), "none" -> (); UserError for anything else."""
    words = text.replace(",", " ").split()
    if words in ([], ["none"], ["0"]):
        return ()
    if len(words) > MOST_LAYERS or not all(word.isascii() and word.isdigit() and 1 <= int(word) <= 4096 for word in words):
        raise UserError(f"'{text.strip()[:40]}' are no hidden layers.", hint="Write their widths, such as 64, 64, or none.")
    return tuple(map(int, words))


def run_values(run: RunSetup, setup: Setup | None) -> dict[str, Number]:
    """The settings of a run by name, those of the preset for what it leaves open; UserError if it has one that the algorithm has not."""
    values = {row.name: row.value for row in setup.settings} if setup else {}
    given = parse_settings(run.settings)
    unknown = [name for name in given if name not in values]
    if unknown:
        raise UserError(f"{run.algo} has no setting named {unknown[0][:40]}.", hint=f"It has {', '.join(values)}.")
    return values | given


def preset_words(setup: Setup) -> str:
    """Where the settings come from, and what is published for them."""
    parts = [setup.note] if setup.note else []
    if setup.reference is not None:
        known = setup.reference
        parts.append(f"Published: {known.mean:g} ± {known.std:g} after {known.timesteps:,} steps ({known.source}).")
    if setup.solved_at is not None:
        parts.append(f"Solved at {setup.solved_at:g}.")
    return " ".join(parts)


def seeds_of(text: str) -> list[int]:
    """ "0", "3, 5" or "0-4" as seeds; UserError with a sentence for anything else, or too many."""
    found: list[int] = []
    for part in text.replace(",", " ").split():
        first, dash, last = part.replace("–", "-").partition("-")
        if not (first + last).isascii() or not (first.isdigit() and (not dash or last.isdigit())) or len(first) > 10 or len(last) > 10:
            raise UserError(f"'{part[:20]}' is no seed.", hint="Write 0, or 0-4, or 1, 7.")
        found += range(int(first), min(int(last or first), int(first) + MOST_SEEDS) + 1)
    found = list(dict.fromkeys(found))
    if not found:
        raise UserError("There is no seed.", hint="Write 0, or 0-4, or 1, 7.")
    if len(found) > MOST_SEEDS:
        raise UserError(f"More than {MOST_SEEDS} seeds at once would only wait for one another.", hint=f"Take at most {MOST_SEEDS}.")
    return found
