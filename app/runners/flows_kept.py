"""Trainings of the tile lab on the disk, the last one of each kind: they outlive the program, and a crash costs seconds.

    KIND.safetensors           averaged weights, with the job, how far it is and its losses in the header; replaced as a whole
    KIND-DIGEST/checkpoint…    all that a training needs to go on (`models/fitting.py`); gone once it is finished
The digest is the job's, so a checkpoint is never taken up by another training.
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load as tensors_of
from safetensors.torch import save as tensor_bytes
from torch import Tensor

from app import paths
from app.jobs.flows import SIZE, LearnFlow
from app.protocol.errors import UserError
from app.protocol.job import job_from_dict, job_to_dict
from app.protocol.tiles import KeptFlow
from app.storage import write_now
from models.fitting import checkpoint_step
from models.flows.coupling import GlowConfig
from models.flows.nice import NiceConfig
from models.flows.tiles import TileFlow, glow_tiles, nice_tiles

MOST_ROWS = 2000
"""Losses kept of a training, evenly over its updates."""
HEADER = "glassbox"
NAMES = {"glow": "Glow", "nice": "NICE"}
DAMAGED = "The {} that was trained here is damaged and cannot be read."


def build(job: LearnFlow) -> TileFlow:
    """The flow a job describes."""
    if job.kind == "glow":
        return glow_tiles(GlowConfig(channels=3, size=SIZE, levels=3, steps=job.depth, width=job.width, mixing=job.mixing))
    return nice_tiles(NiceConfig(dim=SIZE * SIZE, couplings=job.couplings, width=4 * job.width, depth=3, prior="logistic"))


def plain(job: LearnFlow) -> LearnFlow:
    """What decides the weights: without how it is looked at, and without whether it is taken up again."""
    looks = LearnFlow()
    return replace(job, resume=False, temperature=looks.temperature, look_every=looks.look_every, samples=looks.samples)


def folder() -> Path:
    """Where all of them lie."""
    return paths.data_dir() / "flows"


def checkpoints(job: LearnFlow) -> Path:
    """Where the training of a job keeps what it needs to go on."""
    digest = hashlib.sha256(json.dumps(job_to_dict(plain(job)), sort_keys=True).encode()).hexdigest()[:12]
    return folder() / f"{job.kind}-{digest}"


def begin(job: LearnFlow) -> int:
    """Make ready for a training: updates that are behind it already; UserError if there is nothing to take up."""
    place = checkpoints(job)
    if not job.resume:
        shutil.rmtree(place, ignore_errors=True)
        return 0
    try:
        done = checkpoint_step(place)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise UserError("The training that was kept is damaged.", hint="Train again.") from error
    if done == 0:
        raise UserError("This training was not kept, so it cannot go on.", hint="Train again.")
    return done


def keep(job: LearnFlow, weights: dict[str, Tensor], step: int, rows: list[tuple[int, float]], notice: str) -> None:
    """Replace what is kept of this kind; of other trainings of the kind nothing stays. UserError if it cannot be written."""
    told = {
        "job": job_to_dict(plain(job)), "step": step, "rows": rows[:: 1 + len(rows) // MOST_ROWS], "notice": notice,
        "when": f"{datetime.datetime.now():%Y-%m-%d %H:%M}",
    }  # fmt: skip
    copies = {name: value.contiguous().clone() for name, value in weights.items()}
    write_now(folder() / f"{job.kind}.safetensors", tensor_bytes(copies, metadata={HEADER: json.dumps(told)}))
    mine = checkpoints(job)
    for place in folder().glob(f"{job.kind}-*"):
        if place != mine or step == job.steps or notice:
            shutil.rmtree(place, ignore_errors=True)


def card(kind: str) -> KeptFlow | None:
    """What is kept of a kind; None without any, UserError if it is damaged."""
    path = folder() / f"{kind}.safetensors"
    if not path.is_file():
        return None
    try:
        with safe_open(str(path), "pt") as file:
            told = json.loads(file.metadata()[HEADER])
        job, _ = job_from_dict(LearnFlow, told["job"])
        rows = tuple((int(step), float(bits)) for step, bits in told["rows"])
        can_go_on = int(told["step"]) < job.steps and not told["notice"] and checkpoint_step(checkpoints(job)) > 0
        return KeptFlow(job=json.dumps(job_to_dict(job)), kind=kind, step=int(told["step"]), total=job.steps, rows=rows,
                        notice=str(told["notice"]), when=str(told["when"]), can_go_on=can_go_on)  # fmt: skip
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(DAMAGED.format(NAMES[kind]), hint="Train again.") from error


def rows_until(job: LearnFlow, step: int) -> list[tuple[int, float]]:
    """The losses that are kept of this very training, up to an update."""
    mine = json.dumps(job_to_dict(plain(job)))
    return [row for known in cards() if known.job == mine for row in known.rows if row[0] <= step]


def model(kind: str) -> TileFlow | None:
    """The flow that is kept; None without any, UserError if it is damaged."""
    known = card(kind)
    if known is None:
        return None
    job, _ = job_from_dict(LearnFlow, json.loads(known.job))
    made = build(job).requires_grad_(False)
    try:
        made.load_state_dict(tensors_of((folder() / f"{kind}.safetensors").read_bytes()))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise UserError(DAMAGED.format(NAMES[kind]), hint="Train again.") from error
    return made


def cards() -> tuple[KeptFlow, ...]:
    """All that are kept; damaged ones are left out."""
    found = []
    for kind in NAMES:
        with contextlib.suppress(UserError):
            found.append(card(kind))
    return tuple(one for one in found if one is not None)
