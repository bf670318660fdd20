"""What the plane lab remembers: lanes, data, the drawn cloud, switches. Networks are quick to train and are not kept."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from app.jobs.plane import MOST_POINTS, Plane, Point
from app.panels.plane.lane import Choice
from app.panels.plane.latents import ENDS
from app.protocol.job import job_from_dict, job_to_dict

if TYPE_CHECKING:
    from app.panels.plane.panel import PlanePanel


def saved(panel: PlanePanel) -> dict:
    """As JSON-able values."""
    data = panel.side.data
    return {
        "lanes": [asdict(choice) for choice in panel.lanes.choices()],
        "chosen": panel.lanes.chosen,
        "job": job_to_dict(data.knobs.job()),
        "source": data.source(),
        "from": data.wanted_source,
        "points": [list(point) for point in data.points],
        "latents": {"ends": panel.latents.ends, "of_data": panel.latents.of_data, "sketch": panel.latents.sketch},
        "page": panel.tabs.currentIndex(),
        "switches": {name: switch.isChecked() for name, switch in panel.stages.switches.items()},
    }


def restore(panel: PlanePanel, state: dict) -> None:
    """Take it up again."""
    choices = [Choice(**{**one, "knobs": tuple((str(k), float(v)) for k, v in one["knobs"])}) for one in state["lanes"]]
    if len(choices) not in (1, 2, 4):
        raise ValueError(f"{len(choices)} lanes")
    job, _warnings = job_from_dict(Plane, state["job"])
    data = panel.side.data
    data.knobs.set_job(job)
    data.set_points(tuple(pair(point) for point in state["points"][:MOST_POINTS]))
    data.wanted = str(state["source"])
    data.choose_source(str(state.get("from", "noise")))
    latents = state.get("latents", {"ends": ENDS, "of_data": False, "sketch": ()})
    first, second, *sketch = (pair(point) for point in (*latents["ends"], *latents["sketch"][:MOST_POINTS]))
    panel.latents.ends, panel.latents.of_data, panel.latents.sketch = (first, second), bool(latents["of_data"]), tuple(sketch)
    panel.lanes.set_choices(choices)
    panel.set_count(len(choices))
    panel.show_lane(min(max(int(state["chosen"]), 0), len(choices) - 1))
    panel.show_page(int(state["page"]) % 2)
    for name, switch in panel.stages.switches.items():
        switch.setChecked(bool(state["switches"].get(name, switch.isChecked())))


def pair(point: list) -> Point:
    """Two numbers."""
    x, y = point
    return float(x), float(y)
