"""What the panel remembers between sessions, as JSON-able values, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from app.jobs.diffusion import Txt2Img
from app.protocol.job import job_from_dict, job_to_dict

if TYPE_CHECKING:
    from app.panels.image.panel import ImagePanel

VERSION = 1


def saved(panel: ImagePanel) -> dict[str, Any]:
    """Form, controls, both drawings, and how the views stand."""
    return {
        "version": VERSION,
        "job": job_to_dict(panel.remembered_job()),
        "canvas": panel.canvas.save_state(),
        "pose": panel.poser.save_state(),
        "attached": panel.desk.attached(),
        "expanded": panel.form.is_expanded(),
        "stage": panel.stage.currentIndex(),
        "side": panel.side.currentIndex(),
        "lens": panel.timeline.lens,
        "overlay": panel.watch.overlay_percent(),
    }


def restore(panel: ImagePanel, state: dict[str, Any]) -> list[str]:
    """Put a saved state back; returns a sentence for each part that could not be used."""
    job, warnings = job_from_dict(Txt2Img, state["job"])
    panel.put_job(job, undoable=False)
    attached = state.get("attached", {})
    for kind, editor in (("canny", panel.canvas), ("pose", panel.poser)):
        kept = dict(state.get("canvas" if kind == "canny" else "pose", {}))
        if attached.get(kind, -1) >= 0:
            panel.desk.attach(kind, attached[kind])
            kept.pop("map", None)  # the row has it already
            kept.pop("people", None)
        warnings += editor.restore_state(kept)
    panel.desk.accept_drawings()
    panel.form.set_expanded(bool(state.get("expanded", False)))
    panel.stage.setCurrentIndex(int(state.get("stage", 0)))
    panel.side.setCurrentIndex(int(state.get("side", 0)))
    panel.timeline.set_lens(state.get("lens", "x0"))
    panel.watch.set_overlay_percent(int(state.get("overlay", 0)))
    return warnings
