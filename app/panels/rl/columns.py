"""Rows of named numbers that grow, as arrays: one column a name, NaN where a row did not tell it. Bounded by thinning the older half."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

MOST_ROWS = 250_000
"""Rows kept for drawing; `metrics.csv` in the run's folder has every one."""
FIRST_ROOM = 256


class Columns:
    """float64 columns of equal length; appending is cheap on average."""

    def __init__(self, most: int = MOST_ROWS) -> None:
        self._most, self._room, self._n = max(4, most), FIRST_ROOM, 0
        self._data: dict[str, np.ndarray] = {}
        self.thinned = 0
        """How often every second of the older rows was left out."""

    def __len__(self) -> int:
        return self._n

    def names(self) -> tuple[str, ...]:
        """Columns in the order they were first told."""
        return tuple(self._data)

    def __getitem__(self, name: str) -> np.ndarray:
        """A column as it stands, a view; all NaN if nothing of that name was told."""
        return self._data[name][: self._n] if name in self._data else np.full(self._n, np.nan)

    def last(self, name: str, default: float = float("nan")) -> float:
        """The newest number told under a name."""
        if name not in self._data:
            return default
        there = np.flatnonzero(~np.isnan(self._data[name][: self._n]))
        return float(self._data[name][there[-1]]) if len(there) else default

    def add(self, rows: Iterable[Iterable[tuple[str, float]]]) -> None:
        """Append rows of (name, number)."""
        for row in rows:
            if self._n == self._room:
                self._grow()
            for name, value in row:
                if name not in self._data:
                    self._data[name] = np.full(self._room, np.nan)
                self._data[name][self._n] = value
            self._n += 1
        if self._n > self._most:
            self._thin()

    def _grow(self) -> None:
        self._room *= 2
        for name, old in self._data.items():
            self._data[name] = np.concatenate((old, np.full(self._room - len(old), np.nan)))

    def _thin(self) -> None:
        half = self._n // 2
        kept = np.concatenate((np.arange(0, half, 2), np.arange(half, self._n)))
        for name, old in self._data.items():
            fresh = np.full(self._room, np.nan)
            fresh[: len(kept)] = old[kept]
            self._data[name] = fresh
        self._n = len(kept)
        self.thinned += 1

    def cut(self, name: str, value: float) -> None:
        """Forget the rows whose `name` (a rising column) is not below `value`."""
        kept = int(np.searchsorted(self[name], value, side="left"))
        for column in self._data.values():
            column[kept : self._n] = np.nan
        self._n = kept

    def at(self, name: str, value: float) -> int:
        """Index of the last row whose `name` (a rising column) is not above `value`; 0 before the first."""
        return max(0, int(np.searchsorted(self[name], value, side="right")) - 1)


class Table:
    """Blocks (k, c) laid under one another, e.g. episodes; bounded likewise."""

    def __init__(self, columns: int, most: int = MOST_ROWS) -> None:
        self._rows, self._n, self._most = np.empty((FIRST_ROOM, columns)), 0, max(4, most)

    def __len__(self) -> int:
        return self._n

    @property
    def rows(self) -> np.ndarray:
        """(n, c), a view."""
        return self._rows[: self._n]

    def cut(self, value: float) -> None:
        """Forget the rows whose first number (a rising one) is not below `value`."""
        self._n = int(np.searchsorted(self.rows[:, 0], value, side="left"))

    def add(self, block: np.ndarray) -> None:
        """Append k rows."""
        need = self._n + len(block)
        if need > len(self._rows):
            grown = np.empty((max(need, 2 * len(self._rows)), self._rows.shape[1]))
            grown[: self._n] = self.rows
            self._rows = grown
        self._rows[self._n : need] = block
        self._n = need
        while self._n > self._most:
            half = self._n // 2
            kept = np.concatenate((self._rows[:half:2], self._rows[half : self._n]))
            self._rows[: len(kept)], self._n = kept, len(kept)
