"""A bank of rendered Playworld scenes on disk, so that several trainings share the drawing work.

Row i is the scene of seed i of one split; chunks of 512 pictures are memory-mapped `.npy` files, each written whole and then
renamed, so an interrupted filling goes on where it stopped and two processes may fill the same bank. The folder's name carries a
fingerprint of the world's drawing law: when the world changes, a new bank is begun.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from models.playworld.render import render
from models.playworld.scene import Scene, sample_scene

CHUNK = 512  # pictures in a file: 25 MB at 128 px


@lru_cache(maxsize=1)
def fingerprint() -> str:
    """Eight hex digits that change when scenes are drawn differently."""
    digest = hashlib.sha256()
    for seed in range(24):
        digest.update(render(sample_scene(seed), 64).tobytes())
    return digest.hexdigest()[:8]


class SceneBank:
    """`count` rendered scenes of `split`; `images(rows)` gives uint8 (B, size, size, 3), `scene(row)` the scene itself."""

    def __init__(self, folder: Path, split: str = "train", count: int = 32768, size: int = 128) -> None:
        self.folder = folder / f"{split}-{size}px-{fingerprint()}"
        self.split, self.size = split, size
        self.count = -(-count // CHUNK) * CHUNK
        self._open: dict[int, np.ndarray] = {}

    def scene(self, row: int) -> Scene:
        return sample_scene(int(row), self.split)

    def images(self, rows: np.ndarray) -> np.ndarray:
        return np.stack([self._chunk(int(row) // CHUNK)[int(row) % CHUNK] for row in rows])

    def fill(self, workers: int = 1) -> Iterator[tuple[int, int]]:
        """Draw what is missing, yielding (pictures there, pictures wanted) after every chunk."""
        missing = [index for index in range(self.count // CHUNK) if not self._path(index).exists()]
        done = self.count - len(missing) * CHUNK
        tasks = [(self.folder, self.split, self.size, index) for index in missing]
        if workers > 1 and len(tasks) > 1:
            with get_context("spawn").Pool(workers) as pool:
                for _ in pool.imap_unordered(_draw_chunk, tasks):
                    done += CHUNK
                    yield done, self.count
        else:
            for task in tasks:
                _draw_chunk(task)
                done += CHUNK
                yield done, self.count

    def rows(self, step: int, batch: int, seed: int = 0) -> np.ndarray:
        """Rows of the batch of `step`: shuffled epochs over the whole bank, a function of (seed, step)."""
        first = step * batch
        out = [self._order((first + k) // self.count, seed)[(first + k) % self.count] for k in range(batch)]
        return np.asarray(out)

    @lru_cache(maxsize=2)  # noqa: B019  a bank lives as long as its training
    def _order(self, epoch: int, seed: int) -> np.ndarray:
        return np.random.default_rng([seed, epoch]).permutation(self.count)

    def _path(self, index: int) -> Path:
        return self.folder / f"{index:05d}.npy"

    def _chunk(self, index: int) -> np.ndarray:
        if index not in self._open:
            if not self._path(index).exists():
                _draw_chunk((self.folder, self.split, self.size, index))
            self._open[index] = np.load(self._path(index), mmap_mode="r")
        return self._open[index]


def _draw_chunk(task: tuple[Path, str, int, int]) -> None:
    folder, split, size, index = task
    pictures = np.stack([render(sample_scene(index * CHUNK + k, split), size) for k in range(CHUNK)])
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f"{index:05d}.{os.getpid()}.tmp"
    with open(fresh, "wb") as file:
        np.save(file, pictures)
    os.replace(fresh, folder / f"{index:05d}.npy")
