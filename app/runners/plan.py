"""Everything about a picture that can be known, and refused, before a network is asked."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from app.jobs.diffusion import Txt2Img
from app.protocol.errors import UserError
from app.runners.control_maps import ControlPlan, plan_control
from app.runners.diffusion_models import Family, family
from models import catalog
from models.checkpoint import CheckpointError
from models.diffusion.schedule import SCHEDULES, NoiseSchedule

MAX_LISTED = 12
"""So many words are named in a note; the rest is counted."""
START_AND_END = 2


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A checked job: noise levels, one plan a control, and sentences worth showing."""

    job: Txt2Img
    kind: Family
    schedule: NoiseSchedule
    sigmas: Tensor  # (n + 1,) float64, falling, last 0
    controls: tuple[ControlPlan, ...]
    notes: tuple[str, ...]
    unknown_words: tuple[str, ...]

    @property
    def levels(self) -> list[float]:
        """The sigmas as numbers."""
        return self.sigmas.tolist()

    @property
    def timesteps(self) -> list[float]:
        """The network's clock at each step."""
        return [self.schedule.sigma_to_t(sigma) for sigma in self.levels[:-1]]

    @property
    def active(self) -> tuple[ControlPlan, ...]:
        """The controls that will act."""
        return tuple(control for control in self.controls if control.active)

    def refuse(self) -> None:
        """Raise the first problem of an enabled control as UserError."""
        for number, control in enumerate(self.controls, start=1):
            if control.problem:
                raise UserError(f"Control {number} ({control.control.kind}): {control.problem}", hint=control.hint)

    def recipe(self, seed: int, cfg_used: tuple[float, ...]) -> Txt2Img:
        """The job that makes one picture of this run again: its seed, its maps inside, CFG as it was used."""
        constant = len(set(cfg_used)) == 1
        return replace(
            self.job,
            seed=seed,
            batch_count=1,
            cfg_scale=cfg_used[0] if constant else self.job.cfg_scale,
            cfg_curve=() if constant else cfg_used,
            control=tuple(control.control for control in self.controls),
        )


def make_plan(job: Txt2Img) -> Plan:
    """Check a job. Raises UserError for what concerns the whole run; problems of controls stand in their plans."""
    kind = family(job.model)
    schedule = kind.schedule()
    sigmas = SCHEDULES[job.schedule_used](schedule, job.steps)
    levels = sigmas.tolist()
    controls = tuple(_with_weights(plan_control(c, job.width, job.height, levels), job.model) for c in job.control)
    unknown = tuple(kind.unknown_words(job.prompt) + kind.unknown_words(job.negative_prompt))
    notes = [
        *_too_long(job.prompt, "prompt", kind),
        *_too_long(job.negative_prompt, "negative prompt", kind),
        *_unknown(unknown),
    ]
    if job.negative_prompt.strip() and job.cfg_scale == 1 and not job.cfg_curve:
        notes.append("At CFG scale 1 the negative prompt is not used.")
    if job.eta and job.sampler != "ddim":
        notes.append("Eta is used by the sampler DDIM only.")
    return Plan(
        job=job, kind=kind, schedule=schedule, sigmas=sigmas, controls=controls, notes=tuple(notes), unknown_words=unknown
    )


def missing_models(model: str) -> str:
    """A sentence if weights every picture needs are not there, else ""."""
    for part in ("clip", "unet", "vae"):
        if problem := _missing(f"{model}/{part}"):
            return problem
    return ""


def _missing(key: str) -> str:
    try:
        if catalog.available(key):
            return ""
        return f"The weights of {catalog.spec(key).title} are missing."
    except CheckpointError as error:
        return error.message


def _with_weights(control: ControlPlan, model: str) -> ControlPlan:
    """The plan with a problem if the network of this control is not there."""
    if control.problem or not control.active:
        return control
    if problem := _missing(f"{model}/control-{control.control.kind}"):
        return replace(control, problem=problem, hint="Get the file again with the program, or train it.")
    return control


def text_notes(text: str, name: str, kind: Family) -> list[str]:
    """Sentences about what of a text the model does not read or know."""
    return [*_too_long(text, name, kind), *_unknown(tuple(kind.unknown_words(text)))]


def _too_long(text: str, name: str, kind: Family) -> list[str]:
    """A note naming the words that do not fit the text tower."""
    found = kind.split_words(text)
    room = kind.max_len - START_AND_END
    if len(found) <= room:
        return []
    dropped = found[room:]
    more = f" and {len(dropped) - MAX_LISTED} more" if len(dropped) > MAX_LISTED else ""
    listed = ", ".join(word[:30] for word in dropped[:MAX_LISTED])
    return [f"The {name} has {len(found)} words and marks, and the model reads {room}; not read: {listed}{more}."]


def _unknown(found: tuple[str, ...]) -> list[str]:
    if not found:
        return []
    listed = ", ".join(word[:30] for word in found[:MAX_LISTED])
    more = f" and {len(found) - MAX_LISTED} more" if len(found) > MAX_LISTED else ""
    return [f"The model does not know: {listed}{more}."]
