"""What the plane lab says about a moment, a method and a run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from app.panels.plane.lane import Lane, Told
from app.protocol.plane import MethodCard, Particles
from app.widgets.fact_rows import Row

REPORTED = (
    ("field_error", "Error of the field", "Mean |field − exact field| over mean |exact field| where the particles are, over the whole way"),
    ("straightness", "Straightness", "S = ∫ E|(Z1 − Z0) − v|² dt, of each round if there are several; 0: one Euler step is exact"),
    ("squared_displacement", "Displacement²", "E|Z1 − Z0|²: what the coupling costs"),
    ("scaling_spectrum", "Scaling", "exp(−a): how widely the data vary along each direction, once unbent"),
    ("inversion_error", "Sketch, there and back", "Mean distance of the drawing from itself after inversion and walk"),
    ("latent_size", "Size of its latents", "Root mean square of a coordinate; 1: as large as noise, more: no such data"),
    ("inverse_error", "Inverse error", "Largest difference after going there and back"),
    ("evaluations_forward", "Data to noise", "Evaluations of the adaptive solver"),
    ("evaluations_back", "Noise to data", "Evaluations of the adaptive solver"),
    ("hutchinson_error", "Hutchinson's error", "Root mean square of log p with one random probe against the exact trace, in nats"),
)
"""Facts that a method reports of itself: name, title, meaning."""
WAYS = {"training": "a quick look while it learns", "layers": "layer by layer"}
SOURCES = "arXiv {}"
EMPTY = "Press Train (Ctrl+Enter): in a few seconds particles travel from noise to the data you chose."
BUSY = "Learning …"


def figure(value: float) -> str:
    """Three figures; ∞ and a true minus."""
    if math.isinf(value):
        return "∞"
    return f"{value:.3g}".replace("-", "−")


def place_of(moment: Particles) -> str:
    """The clock of a moment in words."""
    words = [f"t {figure(moment.time)}"]
    if not math.isnan(moment.level):
        words.append(f"noise/signal {figure(moment.level)}")
    words.append(counted(moment))
    return " · ".join(words)


def short_place_of(moment: Particles) -> str:
    """Where a moment stands, for the timeline: its level if it has one, else its clock."""
    where = f"t {figure(moment.time)}" if math.isnan(moment.level) else f"noise/signal {figure(moment.level)}"
    return f"{where} · {counted(moment)}"


def counted(moment: Particles) -> str:
    """Evaluations so far."""
    return f"{moment.evaluations} evaluation{'' if moment.evaluations == 1 else 's'}"


def way_of(told: Told, moment: Particles) -> str:
    """From where to where."""
    source = told.job.source if told.job is not None else ""
    start = "noise" if source in ("", "noise") else source.replace("-", " ")
    end = "data" if start == "noise" or told.cloud is None else told.cloud.title.lower()
    return {"walk": f"{start} to {end}", "back": f"{end} to {start}"}.get(moment.way) or WAYS.get(moment.way, moment.way)


def scale_of(moment: Particles) -> float:
    """What positions are divided by, so that noise of any size fits the stage."""
    return max(1.0, moment.spread)


def names_of(runs: Sequence[Told]) -> list[str]:
    """What tells runs apart that stand side by side: methods by their titles, runs of one method by the settings in which they differ."""
    settings = [settings_of(told) for told in runs]
    names = []
    for mine in settings:
        like = [other for other in settings if other.get("title") == mine.get("title")]
        words = [word for key, word in mine.items() if word and any(other[key] != word for other in like)]
        titled = len(like) < len(settings) or not words
        names.append(", ".join([*([mine["title"]] if titled and mine else []), *words]))
    return names


def settings_of(told: Told) -> dict[str, str]:
    """Title and settings of a run in words; nothing before it has begun."""
    card, job = told.card, told.job
    if card is None or job is None:
        return {}
    set_now = dict(word.split("=") for word in job.knobs)
    knobs = {one.name: f"{one.title.lower()} {figure(float(set_now.get(one.name, one.default)))}" for one in card.knobs}
    return {
        "title": card.title, "solver": job.solver or card.solvers[0], "evaluations": f"{job.evaluations or card.evaluations} evaluations",
        "schedule": schedule_of(card, job.schedule),
        "exact": "exact" if job.exact else "learned", **knobs,
    }  # fmt: skip


def schedule_of(card: MethodCard, words: str) -> str:
    """A schedule by its kind and first number; nothing for a method that has none."""
    name, *numbers = words.split() or [card.schedules[0].name if card.schedules else ""]
    title = next((one.title.lower() for one in card.schedules if one.name == name), "")
    return f"{title}, from {figure(float(numbers[0]))}" if numbers else title


def title_of(name: str, moment: Particles | None, shown: int, *, brief: bool) -> str:
    """The line above a stage; `brief` where several stand side by side."""
    if moment is None:
        return name
    scale, count = scale_of(moment), len(moment.xy)
    if brief:
        level = "" if math.isnan(moment.level) else f"noise/signal {figure(moment.level)}"
        return " · ".join(filter(None, (name, level or f"t {figure(moment.time)}", f"÷ {figure(scale)}" if scale > 1.005 else "")))
    parts = [name, place_of(moment)]
    if scale > 1.005:
        parts.append(f"drawn ÷ {figure(scale)}")
    if shown < count:
        parts.append(f"{shown:,} of {count:,} shown")
    return " · ".join(filter(None, parts))


def rows_of(lane: Lane, moment: Particles | None) -> list[Row]:
    """Numbers of the inspector."""
    told, facts = lane.told, lane.told.facts
    rows: list[Row] = []
    if told.losses:
        last = told.losses[-1]
        rows.append(("Update", f"{last.step:,} of {last.total:,}", "Of the network, on fresh points of the cloud"))
        rows.append(("Loss", figure(last.loss)))
        if (solve := dict(last.metrics).get("evaluations")) is not None:
            rows.append(("A solve", f"{solve:.0f} evaluations", "Of the field, to carry the batch of this update from data to noise"))
        rows.append(("Training", f"{last.seconds:.1f} s"))
    if moment is not None:
        rows.append(("Way", way_of(told, moment)))
        rows.append(("Time", figure(moment.time), "On the method's own clock"))
        if not math.isnan(moment.level):
            rows.append(("Noise / signal", figure(moment.level), "sigma of the EDM paper; methods side by side stand at equal values"))
        rows.append(("Evaluations", f"{moment.evaluations}", "Of the network, for each particle, so far"))
    rows += _measured(facts)
    if told.job is not None and told.job.sketch and facts and not told.sketches:
        rows.append(("Sketch", "not carried", "This walk draws noise on its way, which nothing undoes; choose a deterministic solver"))
    if told.notice:
        rows.append(("Notice", told.notice))
    return rows


def _measured(facts: dict) -> list[Row]:
    if "sliced_wasserstein" not in facts:
        return []
    rows: list[Row] = [
        ("Distance to data", f"{facts['sliced_wasserstein']:.4f}",
         f"Sliced Wasserstein-1 between the particles at the end and held-out points, {facts['projections']} projections"),
        ("of fresh data", f"{facts['data_distance']:.4f}", "The same between two fresh samples of the data: what a perfect method gets"),
    ]  # fmt: skip
    if "nll_nats" in facts:
        nats = facts["nll_nats"]
        each = f"{nats:.3f} nats, {nats / math.log(2) / 2:.3f} bits/dim"
        rows.append(("Held-out points", each, f"Mean of −log p, {facts['density']}; bits for each of the two dimensions"))
    for name, words, tip in REPORTED:
        if name in facts:
            values = facts[name] if isinstance(facts[name], list) else [facts[name]]
            rows.append((words, "  ".join(figure(value) for value in values), tip))
    rows.append(("Walk", f"{facts['walk_seconds']:.2f} s"))
    return rows
