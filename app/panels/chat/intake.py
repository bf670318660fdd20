"""What may be dropped on the panel: a model file, or the folder of a model."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QMimeData

ENDINGS = (".gguf", ".safetensors")


def model_path(mime: QMimeData) -> Path | None:
    """The path of a model among what is dropped; None if there is none."""
    for url in mime.urls():
        path = Path(url.toLocalFile()) if url.isLocalFile() else None
        if path is not None and (path.suffix.lower() in ENDINGS or path.name == "config.json" or path.is_dir()):
            return path
    return None
