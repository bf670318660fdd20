"""Runners that look at runs on the disk: the list, a run's history, the policy of a moment playing, maps, comparisons, exports."""

from __future__ import annotations

from collections.abc import Generator

import numpy as np
from torch import nn

from app.jobs.rl import CompareRl, ExportRl, KeptRun, Moment, PlayRl, RlHistory, RlPlane, RlRuns, TrainRl
from app.protocol import rl as told
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress
from app.protocol.payloads import Result
from app.runners import rl_folder as folders
from app.runners import rl_setup as setups
from app.runners import rl_watch as watching
from app.runners.rl import policy_bytes, with_words
from app.runners.rl_events import event_file
from app.runners.rl_setup import Chosen
from app.worker.context import Ctx
from models.rl.envs import Discrete
from models.rl.evaluation import difference

Look = Generator[Event, None, Result]


def rl_runs(job: RlRuns, ctx: Ctx) -> Look:
    """All runs of the folder, after deleting one if asked."""
    yield Progress(done=0, note="looking")
    root = folders.root_of(job.folder)
    if job.delete:
        folders.delete(root, job.delete)
    cards = folders.cards(root)
    return Result(files={"runs": cards}, facts={"runs": len(cards), "folder": str(root)})


def rl_history(job: RlHistory, ctx: Ctx) -> Look:
    """All that a run has measured; while it goes on, up to now."""
    yield Progress(done=0, note="reading")
    folder = folder_of(job)
    chosen, now = chosen_of(folder)
    card = folder.card()
    files = {
        "metrics": folders.rows_of(folder.metrics), "episodes": folders.episodes_of(folder.episodes),
        "changes": folders.changes_of(folder.changes), "evals": folders.rows_of(folder.evals), "moments": folder.shelf.moments(),
        "setup": setups.setup_of(chosen, card.seed, now), "card": card, "lamps": folder.lamps(),
    }  # fmt: skip
    return Result(files=files, facts={"run": card.run, "state": card.state, "timesteps": card.timesteps})


def play_rl(job: PlayRl, ctx: Ctx) -> Look:
    """The film of one seeded episode."""
    yield Progress(done=0, note="reading")
    chosen, nets, moment, folder = nets_of(job)
    film, _ = yield from watching.film(chosen, nets, moment, job.seed)
    facts = {"return": film.total, "steps": film.frames[-1].step + 1, "timesteps": moment}
    return Result(files={"film": film, "moments": folder.shelf.moments()}, facts=facts)


def rl_plane(job: RlPlane, ctx: Ctx) -> Look:
    """The map of a moment."""
    yield Progress(done=0, note="reading")
    chosen, nets, moment, folder = nets_of(job)
    view = watching.plane_view(chosen, nets, chosen_of(folder)[1], moment)
    if view is None:
        raise UserError(f"The state of {chosen.spec.id} is too large for a map.", hint="CartPole, Pendulum and grid worlds have one.")
    return Result(files={"plane": view}, facts={"timesteps": moment})


def compare_rl(job: CompareRl, ctx: Ctx) -> Look:
    """Two films of one seeded episode, and how differently the two policies act in the states of the first."""
    yield Progress(done=0, note="reading")
    chosen, nets, moment, _ = nets_of(job)
    other = PlayRl(run=job.other or job.run, folder=job.folder, timesteps=job.other_timesteps, seed=job.seed)
    chosen_other, nets_other, moment_other, _ = nets_of(other)
    if chosen_other.spec.id != chosen.spec.id:
        raise UserError(
            f"One run is of {chosen.spec.id}, the other of {chosen_other.spec.id}.", hint="Policies can be compared in one environment."
        )
    film, episode = yield from watching.film(chosen, nets, moment, job.seed)
    second, _ = yield from watching.film(chosen_other, nets_other, moment_other, job.seed)
    apart = difference(nets["policy"], nets_other["policy"], episode.obs).numpy().astype(np.float32)
    numbered = isinstance(chosen.spec.actions, Discrete)
    measure = "total variation of the action probabilities, 0 to 1" if numbered else "distance of the actions, in the environment's units"
    facts = {"measure": measure, "mean_difference": float(apart.mean()), "return": film.total, "other_return": second.total}
    return Result(files={"film": film, "other": second, "difference": apart}, facts=facts)


def export_rl(job: ExportRl, ctx: Ctx) -> Look:
    """A run's tables, its event file and its newest policy."""
    yield Progress(done=0, note="reading")
    chosen, nets, moment, folder = nets_of(Moment(run=job.run, folder=job.folder))
    rows = folders.rows_of(folder.metrics)
    tables = (folders.METRICS, folders.EVALS, folders.EPISODES, folders.CHANGES)
    files = {name: (folder.path / name).read_text("utf-8") for name in tables if (folder.path / name).is_file()}
    name, data = event_file(rows, folders.rows_of(folder.evals))
    files |= {name: data, "policy.safetensors": policy_bytes(chosen, nets, folder.facts["setup"])}
    return Result(files=files, facts={"rows": len(rows), "timesteps": moment, "setup": folder.facts["setup"]})


# --- from the disk ---


def folder_of(job: KeptRun) -> folders.RunFolder:
    return folders.opened(folders.find(job.run, job.folder))


def chosen_of(folder: folders.RunFolder) -> tuple[Chosen, setups.Checked]:
    """What a run is made of, and the settings it has now."""
    chosen = setups.choose(with_words(TrainRl(), folder.setup))
    text = folder.facts.get("settings", "")
    return chosen, setups.changed(chosen.preset.settings, told.parse_settings(text)) if text else chosen.settings


def nets_of(job: Moment) -> tuple[Chosen, nn.ModuleDict, int, folders.RunFolder]:
    """The networks of a moment, filled."""
    folder = folder_of(job)
    chosen, _ = chosen_of(folder)
    kept = folder.shelf.at(job.timesteps)
    nets = watching.nets_for(chosen)
    folders.fill(nets, kept)
    return chosen, nets, kept.timesteps, folder
