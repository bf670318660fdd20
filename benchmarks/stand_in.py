"""Random weights in the place of built-in ones that are missing: what is measured here does not depend on what was learned."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import report  # noqa: F401 - puts the program on the path
import torch

from models import catalog
from models.checkpoint import save_sharded

KEYS = tuple(f"playworld/{name}" for name in ("vae", "clip", "unet", "control-canny", "control-pose"))


@contextmanager
def weights() -> Iterator[None]:
    """While the block lasts, every model that a picture needs can be loaded; prints which ones are random."""
    missing = [key for key in KEYS if not catalog.available(key)]
    if not missing:
        yield
        return
    print(f"Random weights, since there are no built-in ones: {', '.join(missing)}")
    before = os.environ.get("GLASSBOX_WEIGHTS")
    with tempfile.TemporaryDirectory(prefix="glassbox-weights-") as folder:
        if catalog.weights_folder().is_dir():
            shutil.copytree(catalog.weights_folder(), folder, dirs_exist_ok=True)
        torch.manual_seed(0)
        for key in missing:
            save_sharded(catalog.spec(key).build().state_dict(), Path(folder) / catalog.spec(key).file)
        os.environ["GLASSBOX_WEIGHTS"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["GLASSBOX_WEIGHTS"]
            else:
                os.environ["GLASSBOX_WEIGHTS"] = before
