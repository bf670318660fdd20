"""What the panel remembers between sessions, as JSON-able values, and back. Runs keep themselves, in their folders."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QMimeData

from app.protocol.errors import UserError
from app.protocol.rl import parse_setup, setup_text

if TYPE_CHECKING:
    from app.panels.rl.panel import RlPanel

VERSION, MOST_RUNS = 1, 6


def saved(panel: RlPanel) -> dict[str, Any]:
    """The form, and how the views stand."""
    form, stage = panel.side_form, panel.stage
    try:
        setup = setup_text(form.run())
    except UserError:
        setup = " ".join(form.pair)
    return {
        "version": VERSION, "setup": setup, "seeds": form.seeds.text(), "more": form.rows.fold.isChecked(), "curves": stage.curves.save(),
        "page": stage.pages.currentIndex(), "grown": stage.small.grown, "episode": panel.looking.seed,
        "runs": [training.folder for training in panel.trainings.all if training.folder][-MOST_RUNS:],
    }  # fmt: skip


def folder_of(mime: QMimeData) -> str:
    """The folder of a run that was dropped, or that a dropped file lies in; "" if it is none."""
    found = [Path(url.toLocalFile()) for url in mime.urls() if url.isLocalFile()] if mime.hasUrls() else []
    folders = [path if path.is_dir() else path.parent for path in found]
    return next((str(folder) for folder in folders if (folder / "run.json").is_file()), "")


def restore(panel: RlPanel, state: dict[str, Any]) -> None:
    """Put a saved state back; the preset is asked for when the worker is there."""
    run = parse_setup(str(state["setup"]))
    panel.side_form.set_pair(run.algo, run.env)
    panel.wanted = run
    panel.wanted_runs = [str(folder) for folder in state.get("runs", ())]
    panel.wanted_seeds = str(state.get("seeds", "0"))
    panel.side_form.rows.set_expanded(bool(state.get("more", False)))
    panel.stage.curves.restore(dict(state.get("curves", {})))
    panel.stage.pages.setCurrentIndex(int(state.get("page", 0)))
    panel.stage.small.grow(str(state.get("grown", "")))
    panel.looking.seed = int(state.get("episode", 0))
    panel.stage.agent.bar.seed.set_value(panel.looking.seed)
