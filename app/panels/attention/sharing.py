"""The map on show as files: a picture, a table, arrays; and pictures, scenes and models on their way in."""

from __future__ import annotations

import io
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PySide6.QtCore import QObject, Slot
from PySide6.QtWidgets import QFileDialog

from app.jobs.attention import AttentionExport, AttentionRollout, AttentionSum
from app.jobs.library import OpenPicture
from app.jobs.maps import PlayworldScene
from app.jobs.models import ImportModel, ListModels
from app.panels.attention.looker import like
from app.panels.attention.maps import view_of
from app.panels.attention.options import SCORE_TABLE
from app.protocol.attention import SCORES, Looked, OverviewMaps
from app.protocol.errors import UserError
from app.protocol.payloads import Image, Result
from app.widgets.image_view import png_bytes

if TYPE_CHECKING:
    from app.panels.attention.panel import AttentionPanel

PICTURES = "Pictures (*.png *.jpg *.jpeg *.webp *.bmp *.gif *.tif *.tiff);;All files (*)"
SMOLLM2, LANGUAGE = "smollm2", "language:"


class Sharing(QObject):
    """Reads and writes what is outside."""

    def __init__(self, panel: AttentionPanel) -> None:
        super().__init__(panel)
        self._panel = panel
        self._scene = 0
        for signal, slot in (
            (panel.stage.options.export_wanted, self.export), (panel.form.picture.file_wanted, self._on_picture),
            (panel.form.picture.scene_wanted, self._on_scene), (panel.form.model_wanted, self._on_model),
        ):  # fmt: skip
            signal.connect(slot)

    # out -----------------------------------------------------------------------------------------------------------

    @Slot(str)
    def export(self, kind: str) -> None:
        """Ask where, then write the map on show, in full."""
        panel = self._panel
        job = panel.maps.job()
        if job is None or panel.looked is None:
            panel.show_message("info", "There is nothing to export yet.", "Look at a text or a picture first.")
            return
        if kind == SCORE_TABLE:
            self._export_scores()
            return
        looks, layer = panel.maps.looks, panel.selection.layer
        what = f"rollout-to-layer{layer}" if looks.rollout else f"all-layers-of-{looks.summed}" if looks.across else f"layer{layer}"
        proposed = f"attention-{panel.looked.source}-{what}.{kind}"
        name, _filter = QFileDialog.getSaveFileName(panel, "Export the map", proposed, f"*.{kind}")
        if name:
            more = {"rollout": True, "residual": job.residual} if isinstance(job, AttentionRollout) else {}
            more |= {"summed": job.summed} if isinstance(job, AttentionSum) else {}
            export = like(job, AttentionExport, **view_of(job), **more)
            panel.errands.run(export, partial(self._write, Path(name)), progress=panel.tell_progress)

    def _export_scores(self) -> None:
        panel, overview = self._panel, self._panel.stage.heads.overview
        if overview is None or panel.looked is None:
            panel.show_message("info", "The scores of the heads are not computed yet.", "Wait until all small maps are there.")
            return
        name, _filter = QFileDialog.getSaveFileName(panel, "Export the scores", f"heads-{panel.looked.source}.csv", "*.csv")
        if name:
            panel.settings.storage.write(Path(name), partial(_score_table, panel.looked, overview))
            panel.show_message("info", f"Saved {Path(name).name}.")

    def _write(self, path: Path, result: Result) -> None:
        self._panel.tell_progress(None)
        content = result.files[f"attention{path.suffix}"] if f"attention{path.suffix}" in result.files else None
        if content is None:
            raise UserError(f"{path.name} has an ending that no export has.", hint="Take .png, .csv or .npz.")
        self._panel.settings.storage.write(path, partial(_bytes_of, content))
        self._panel.show_message("info", f"Saved {path.name}.")

    # in ------------------------------------------------------------------------------------------------------------

    @Slot()
    def _on_picture(self) -> None:
        name, _filter = QFileDialog.getOpenFileName(self._panel, "Look at a picture", "", PICTURES)
        if name:
            self.open_picture(name)

    def open_picture(self, path: str) -> None:
        """Take a picture from a file."""
        self._panel.errands.run(OpenPicture(path=path), self._take_picture, key="picture")

    def _take_picture(self, result: Result) -> None:
        self._panel.form.set_picture(result.files["image.png"])
        self._panel.touch()

    @Slot()
    def _on_scene(self) -> None:
        self._panel.errands.run(PlayworldScene(seed=self._scene, split="held-out"), self._take_scene, key="scene")
        self._scene += 1

    def _take_scene(self, result: Result) -> None:
        self._panel.form.set_picture(result.files["picture.png"])
        if self._panel.form.job().source == "clip-words":
            self._panel.form.set_text(str(result.facts["caption"]))
        self._panel.touch()

    # models --------------------------------------------------------------------------------------------------------

    def list_models(self) -> None:
        """Which language models are here."""
        self._panel.errands.run(ListModels(), self._take_models, key="models")

    def _take_models(self, result: Result) -> None:
        rows = [(row["key"], row["title"]) for row in result.facts.get("models", ()) if _is_language(row)]
        self._panel.form.set_models(rows or [(SMOLLM2, "SmolLM2 135M")])

    @Slot()
    def _on_model(self) -> None:
        kinds = "Models (*.gguf config.json *.safetensors);;All files (*)"
        name, _filter = QFileDialog.getOpenFileName(self._panel, "Open a language model", "", kinds)
        if name:
            whole = Path(name) if name.endswith(".gguf") else Path(name).parent
            self._panel.errands.run(ImportModel(path=str(whole)), self._take_model, progress=self._panel.tell_progress)

    def _take_model(self, result: Result) -> None:
        self._panel.tell_progress(None)
        self._panel.form.set_model(str(result.facts["key"]))
        self.list_models()
        self._panel.touch()


def _is_language(row: dict[str, Any]) -> bool:
    return row.get("state") == "ready" and (row.get("key") == SMOLLM2 or str(row.get("key", "")).startswith(LANGUAGE))


def _bytes_of(content: Any) -> bytes:
    """The content of a file, encoded on the I/O thread."""
    if isinstance(content, Image):
        return png_bytes(content)
    if isinstance(content, dict):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **content)
        return buffer.getvalue()
    return content.encode("utf-8") if isinstance(content, str) else bytes(content)


def _score_table(looked: Looked, overview: OverviewMaps) -> bytes:
    """A row for every head: its layer and all its scores; empty where a score has no meaning."""
    lines = ["layer,head," + ",".join(SCORES)]
    for layer, count in enumerate(looked.heads):
        for head in range(count):
            values = ("" if np.isnan(value) else f"{value:.6g}" for value in overview.scores[:, layer, head])
            lines.append(f"{layer},{head}," + ",".join(values))
    return ("\n".join(lines) + "\n").encode("utf-8")
