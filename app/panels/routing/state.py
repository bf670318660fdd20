"""What the panel remembers between sessions, as JSON-able values, and back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QMimeData

from app.jobs.moe import TrainMoe
from app.jobs.routing import Routing
from app.protocol.errors import UserError
from app.protocol.job import job_from_dict, job_to_dict

if TYPE_CHECKING:
    from app.panels.routing.panel import RoutingPanel

VERSION = 1


def saved(panel: RoutingPanel) -> dict[str, Any]:
    """Both forms, and how the views stand."""
    stage = panel.stage
    return {
        "version": VERSION, "job": job_to_dict(_job(panel.side_form.job, Routing)), "more": panel.side_form.form.is_expanded(),
        "training": job_to_dict(_job(stage.training.side.job, TrainMoe)), "page": stage.pages.currentIndex(), "phase": stage.load.phase,
        "row": panel.looking.row, "other": stage.pair.other.text(),
    }  # fmt: skip


def _job(make, default) -> Any:
    try:
        return make()
    except UserError:
        return default()


def restore(panel: RoutingPanel, state: dict[str, Any]) -> None:
    """Put a saved state back."""
    job, _warnings = job_from_dict(Routing, _pairs(state["job"]))
    panel.side_form.set_job(job)
    panel.side_form.form.set_expanded(bool(state.get("more", False)))
    training, _warnings = job_from_dict(TrainMoe, state.get("training", {}))
    panel.stage.training.side.form.set_job(training)
    panel.stage.pages.setCurrentIndex(int(state.get("page", 0)))
    panel.stage.load.set_phase(str(state.get("phase", "all")))
    panel.stage.pair.other.set_text(str(state.get("other", "")))
    panel.looking.wanted = int(state.get("row", 0))


def _pairs(values: dict[str, Any]) -> dict[str, Any]:
    """JSON knows no tuples inside of tuples."""
    return {**values, **{name: tuple(tuple(pair) for pair in values.get(name, ())) for name in ("off", "force")}}


def folders_of(mime: QMimeData) -> list[Path]:
    """Folders that were dropped, or the folders of dropped files of a model."""
    found = [Path(url.toLocalFile()) for url in mime.urls() if url.isLocalFile()] if mime.hasUrls() else []
    whole = [path if path.is_dir() else path.parent for path in found if path.is_dir() or path.suffix == ".safetensors"]
    return [path for path in whole if (path / "config.json").is_file() or (path / "checkpoint.safetensors").is_file()]
