"""Long curves that grow: thinned to what can be seen, smoothed as they come, averaged over seeds. Numbers only, no window.

A `Series` keeps the least and the largest of every 8, 64, 512 … points, so that a stretch of a million points is drawn from a few
thousand numbers, with every peak in its place, and a new point costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

BASE = 8
"""Points of one level behind a point of the next."""
BLOCK = 64
"""Points smoothed at once."""
GRID = 256
"""Places at which seeds are averaged."""


class Growing:
    """A float array that is appended to; capacity doubles."""

    def __init__(self) -> None:
        self._room = np.empty(64)
        self.n = 0

    @property
    def values(self) -> np.ndarray:
        """What has been appended so far."""
        return self._room[: self.n]

    def extend(self, values: np.ndarray) -> None:
        """Append."""
        end = self.n + len(values)
        if end > len(self._room):
            room = np.empty(max(end, 2 * len(self._room)))
            room[: self.n] = self.values
            self._room = room
        self._room[self.n : end] = values
        self.n = end


class Series:
    """One curve; x grows."""

    def __init__(self) -> None:
        self._x, self._y = Growing(), Growing()
        self._levels: list[tuple[Growing, Growing]] = []

    def __len__(self) -> int:
        return self._x.n

    @property
    def x(self) -> np.ndarray:
        """All places."""
        return self._x.values

    @property
    def y(self) -> np.ndarray:
        """All values."""
        return self._y.values

    def follows(self, x: np.ndarray, y: np.ndarray) -> bool:
        """Do these arrays begin with what is here? Looked at in three places."""
        n = len(self)
        if len(x) < n:
            return False
        same = (x[i] == self.x[i] and (y[i] == self.y[i] or (y[i] != y[i] and self.y[i] != self.y[i])) for i in (0, n // 2, n - 1))
        return n == 0 or all(same)

    def extend(self, x: np.ndarray, y: np.ndarray) -> None:
        """Append points, and finish the groups that they complete."""
        self._x.extend(x)
        self._y.extend(y)
        low = high = self.y
        level = 0
        while len(low) >= BASE:
            if level == len(self._levels):
                self._levels.append((Growing(), Growing()))
            lows, highs = self._levels[level]
            done, whole = lows.n, len(low) // BASE
            if whole > done:
                part = slice(done * BASE, whole * BASE)
                lows.extend(np.fmin.reduce(low[part].reshape(-1, BASE), axis=1))
                highs.extend(np.fmax.reduce(high[part].reshape(-1, BASE), axis=1))
            low, high = lows.values, highs.values
            level += 1

    def within(self, x0: float, x1: float) -> tuple[int, int]:
        """From which to which point a stretch goes, with a neighbour at each end."""
        first = max(int(np.searchsorted(self.x, x0, "right")) - 1, 0)
        return first, min(int(np.searchsorted(self.x, x1, "left")) + 1, len(self))

    def seen(self, x0: float, x1: float, most: int) -> tuple[np.ndarray, np.ndarray]:
        """The stretch x0 .. x1 in at most about 2 `most` points: all of them, or the least and the largest of each group."""
        first, end = self.within(x0, x1)
        if end - first <= 2 * most:
            return self.x[first:end], self.y[first:end]
        stride = 1 << int(np.ceil(np.log2((end - first) / most)))
        return self._envelope(first // stride * stride, end, stride)

    def _envelope(self, first: int, end: int, stride: int) -> tuple[np.ndarray, np.ndarray]:
        """Groups of `stride` points (a power of two) from the finest level that is coarse enough; what it lacks comes from the points."""
        level, size = 0, 1
        while size * BASE <= stride and level < len(self._levels):
            level, size = level + 1, size * BASE
        low, high = (self.y, self.y) if level == 0 else (growing.values for growing in self._levels[level - 1])
        whole = min(end // size, len(low))
        part = slice(first // size, whole)
        starts = np.arange(0, whole - first // size, stride // size)
        lows, highs = np.fmin.reduceat(low[part], starts), np.fmax.reduceat(high[part], starts)
        xs = self.x[first + starts * size]
        rest = slice(whole * size, end)
        if rest.stop > rest.start:
            tail = self.y[rest]
            xs = np.append(xs, self.x[rest.start])
            lows, highs = np.append(lows, np.fmin.reduce(tail)), np.append(highs, np.fmax.reduce(tail))
        return np.append(np.repeat(xs, 2), self.x[end - 1]), np.append(np.stack((lows, highs), 1).ravel(), self.y[end - 1])

    def nearest(self, x: float) -> int:
        """Number of the point nearest to x; -1 if there is none."""
        if not len(self):
            return -1
        after = min(int(np.searchsorted(self.x, x)), len(self) - 1)
        before = max(after - 1, 0)
        return before if abs(self.x[before] - x) <= abs(self.x[after] - x) else after


class Smoother:
    """Exponential moving average of span `window`: `s += (1 - b)(y - s)`, `b = 1 - 2 / (window + 1)`, divided by `1 - b^t`.

    The division takes out the pull of the beginning (Kingma & Ba 2015, section 3), as TensorBoard does. What is not finite is left out.
    """

    def __init__(self, window: int) -> None:
        self.beta = 1 - 2 / (max(window, 1) + 1)
        self.sum, self.count = 0.0, 0
        steps = np.arange(BLOCK)
        self._weights = np.tril((1 - self.beta) * self.beta ** np.clip(steps[:, None] - steps[None], 0, None))
        self._fade = self.beta ** (steps + 1.0)

    def extend(self, y: np.ndarray) -> np.ndarray:
        """The averages at the next points."""
        good = np.isfinite(y)
        out = np.full(len(y), np.nan)
        values = y[good]
        blocks = -(-len(values) // BLOCK)
        padded = np.zeros(blocks * BLOCK)
        padded[: len(values)] = values
        parts = padded.reshape(blocks, BLOCK) @ self._weights.T
        carried, carry = np.empty(blocks), self.sum
        ends = parts[:, -1].tolist()
        for number in range(blocks):
            carried[number] = carry
            carry = carry * self._fade[-1] + ends[number]
        sums = (parts + carried[:, None] * self._fade).ravel()[: len(values)]
        last = float(sums[-1]) if len(values) else self.sum
        early = int(np.clip(-40 / np.log(self.beta) - self.count, 0, len(values))) if self.beta else 0  # beyond, 1 - b^t is 1
        sums[:early] /= 1 - self.beta ** (self.count + np.arange(1.0, early + 1))
        out[good] = sums
        self.sum, self.count = last, self.count + len(values)
        return out


def mean_and_band(lines: Sequence[Series], x0: float, x1: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(x, mean, standard deviation with n - 1) over several seeds, where all of them have points; empty if nowhere."""
    first = max(max(float(line.x[0]) for line in lines), x0)
    last = min(min(float(line.x[-1]) for line in lines), x1)
    if not last > first:
        return np.empty(0), np.empty(0), np.empty(0)
    at = np.linspace(first, last, GRID)
    table = np.stack([np.interp(at, line.x, line.y) for line in lines])
    return at, table.mean(0), table.std(0, ddof=1)


def standing(mean: float, std: float, timesteps: float, x: np.ndarray, y: np.ndarray) -> str:
    """Is a run early, on track or late against a reference? It is met where the curve first comes within one deviation below its mean."""
    goal = mean - std
    met = np.nonzero(y >= goal)[0]
    if len(met):
        at = float(x[met[0]])
        return f"met after {at:,.0f} steps: {'early' if at < 0.9 * timesteps else 'on track' if at <= 1.1 * timesteps else 'late'}"
    if not len(x):
        return ""
    return "late: not met yet" if x[-1] > 1.1 * timesteps else "not met yet"
