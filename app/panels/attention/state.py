"""What the panel remembers between sessions, as JSON-able values, and back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from app.jobs.attention import AttentionOverview
from app.protocol.errors import UserError
from app.protocol.job import job_from_dict, job_to_dict

if TYPE_CHECKING:
    from app.panels.attention.panel import AttentionPanel

VERSION = 1
PICTURED = ("clip-picture", "clip-words", "unet-self", "unet-words")
"""Sources whose cells lie on a picture."""


def saved(panel: AttentionPanel) -> dict[str, Any]:
    """What is set, which heads were shown, how the views stand. A picture is not kept: it may be large."""
    try:
        job = replace(panel.form.job(), picture=None)
    except UserError:
        job = AttentionOverview()
    return {
        "version": VERSION,
        "job": job_to_dict(job),
        "layer": panel.selection.layer,
        "heads": list(panel.selection.heads),
        "direction": panel.selection.chosen,
        "options": panel.stage.options.choices(),
        "grid": panel.stage.heads.choices(),
        "beside": panel.form.beside.choices(),
        "side": panel.side.currentIndex(),
        "opacity": panel.stage.picture.opacity.value(),
    }


def restore(panel: AttentionPanel, state: dict[str, Any]) -> None:
    """Put a saved state back; nothing is computed until somebody looks."""
    job, _warnings = job_from_dict(AttentionOverview, state["job"])
    panel.form.set_job(job)
    panel.viewing.pictured = job.source in PICTURED
    panel.selection.select(int(state["layer"]), tuple(int(head) for head in state["heads"]))
    if state["direction"] in ("rows", "columns"):
        panel.selection.turn(state["direction"])
        panel.stage.direction.setCurrentIndex(panel.stage.direction.findData(state["direction"]))
    panel.stage.options.set_choices(state["options"])
    panel.stage.heads.set_choices(state["grid"])
    panel.form.beside.set_choices(state["beside"])
    panel.side.setCurrentIndex(int(state["side"]))
    panel.stage.picture.opacity.setValue(int(state["opacity"]))
