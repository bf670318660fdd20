"""What is shown of a map, a few rows at a time: windows, means of blocks, means of heads, sinks left out, scores of all heads."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from app.jobs.attention import AttentionView
from app.protocol.attention import SCORES, Looked, OverviewMaps
from app.protocol.errors import UserError
from app.protocol.events import Event, Progress
from app.protocol.payloads import Tokens
from app.runners.captures import Heads, Weights
from models.attention.measures import RowSums, normalised_for_view
from models.attention.softmax import averaging

VALUES_AT_ONCE = 2**21
"""Weights that are held at a time while a map is read, 8 MB."""
ROWS_AT_ONCE = 128
WITHOUT_MEANING = {
    "clip-picture": ("previous",), "clip-words": SCORES, "unet-self": ("sink", "previous"),
}  # fmt: skip
"""Scores that say nothing of a source: a cell has no token before it, and no first cell to sink into."""

RowsOf = Callable[[int, int], Tensor]
"""`rows(start, count) -> (rows, S)` of a whole map."""


def chosen_heads(heads: Sequence[int], count: int) -> tuple[int, ...]:
    """The heads named, or all; UserError for those that are not there."""
    wrong = [head for head in heads if not 0 <= head < count]
    if wrong:
        raise UserError(f"The layer has {count} heads, there is no head {wrong[0]}.", hint=f"Heads are counted from 0 to {count - 1}.")
    return tuple(dict.fromkeys(heads)) or tuple(range(count))


def check_layer(layer: int, looked: Looked) -> None:
    """UserError for layers that are not there."""
    count = len(looked.layers)
    if layer >= count:
        raise UserError(f"{looked.model} has {count} layers, there is no layer {layer}.", hint=f"They are counted from 0 to {count - 1}.")


def without_first(weights: Tensor) -> Tensor:
    """The first key's weight becomes 0, and each row sums to 1 again; a row that had no other weight stays 0."""
    rest = weights[..., 1:]
    total = rest.sum(-1, keepdim=True)
    return torch.cat([torch.zeros_like(weights[..., :1]), rest / total.masked_fill(total == 0, 1)], dim=-1)


def rows_at_once(heads: int, keys: int) -> int:
    """How many rows of so many maps may be held."""
    return max(1, min(ROWS_AT_ONCE, VALUES_AT_ONCE // (heads * keys)))


def rows_of_heads(ready: Heads | Weights, start: int, count: int, drop_first: bool) -> Tensor:
    """(heads, rows, S), the first key left out if that is asked for and the map is one of weights."""
    weights = ready.rows(start, count)
    return without_first(weights) if drop_first and ready.softmax else weights


def mean_rows(ready: Heads | Weights, drop_first: bool) -> RowsOf:
    """The mean of the heads' maps."""
    return lambda start, count: rows_of_heads(ready, start, count, drop_first).mean(0)


# --- a window on a map ---


@dataclass(frozen=True, kw_only=True)
class Frame:
    """The part of a map that is shown: rows and columns (first, end), and how many of each make one value."""

    rows: tuple[int, int]
    columns: tuple[int, int]
    block: tuple[int, int]

    @classmethod
    def of(cls, job: AttentionView, shape: tuple[int, int], most: int | None = None) -> Frame:
        """The window of a job on a map of (queries, keys), in blocks if a side is longer than `most` (the job's own if absent)."""
        sides = [_span(span, length, name) for span, length, name in zip((job.rows, job.columns), shape, ("rows", "columns"), strict=True)]
        most = most or job.most
        rows, columns = sides
        return cls(rows=rows, columns=columns, block=tuple(-(-(end - first) // most) for first, end in sides))

    def values(self, rows_of: RowsOf, at_once: int) -> Generator[Event, None, Tensor]:
        """(r, c) on the CPU: the weights, or the means of the blocks, of which those at the lower and right edge may be smaller.

        About `at_once` rows are held at a time.
        """
        (first, end), (left, right), (high, _) = self.rows, self.columns, self.block
        step = max(1, at_once // high) * high
        parts = []
        for start in range(first, end, step):
            part = rows_of(start, min(step, end - start))[:, left:right]    # (rows, columns)
            parts.append(avg_pool2d(part[None], self.block, ceil_mode=True)[0].cpu() if self.block != (1, 1) else part.cpu())
            if start + step < end:
                yield Progress(done=start + step - first, total=end - first, unit="rows", note="computing the map")
        return torch.cat(parts)

    def caption(self) -> str:
        """What the blocks are, in words; empty if every value is one weight."""
        high, wide = self.block
        return "" if self.block == (1, 1) else f"each value the mean of {high} × {wide}"


def _span(span: tuple[int, int], length: int, name: str) -> tuple[int, int]:
    first, end = (0, length) if span == (0, 0) else span
    if not 0 <= first < end <= length:
        raise UserError(f"The map has {length} {name}, {first} to {end} is no part of them.", hint="0, 0 takes all.")
    return first, end


def for_the_eye(values: Tensor, how: str) -> np.ndarray:
    """A map normalised as asked, float32."""
    return normalised_for_view(values.float(), how).numpy()


def heads_in_words(chosen: Sequence[int], count: int) -> str:
    """ "head 3", "mean of heads 1, 4" or "mean of all 9 heads"."""
    if len(chosen) == 1:
        return f"head {chosen[0]}" if count > 1 else ""
    return f"mean of all {count} heads" if len(chosen) == count else f"mean of heads {', '.join(map(str, chosen))}"


EYE_WORDS = {"as it is": "", "each row to 1": "each shown row divided by its largest", "absolute": "divided by the largest shown"}


def caption_of(looked: Looked, what: str, *details: str) -> str:
    """One line: what the values are, everything that was done to them, and the model."""
    return " · ".join(filter(None, (what, *details, looked.model)))


def where(looked: Looked, layer: int, step: int) -> str:
    """The layer's name, and the step of a run that has steps."""
    return looked.layers[layer] + (f", step {step} of {looked.steps}" if looked.steps else "")


# --- what the sides of a map are ---


def cells(height: int, width: int, first: tuple[str, ...] = ()) -> Tokens:
    """Places of a grid, row by row, behind what stands before it."""
    texts = (*first, *(f"{row},{column}" for row in range(height) for column in range(width)))
    return Tokens(texts=texts, ids=tuple(range(len(texts))), label="cells")


def side_tokens(looked: Looked, layer: int, frame: Frame) -> tuple[list[str], list[str]]:
    """Texts of the rows and of the columns that are shown, in that layer's own grid if layers differ."""
    rows, columns = looked.rows, looked.columns
    if looked.grids:
        own = cells(*looked.grids[layer])
        rows, columns = own, own if looked.columns == looked.rows else columns
    return list(rows.texts[slice(*frame.rows)]), list(columns.texts[slice(*frame.columns)])


# --- all heads of a layer at once ---


class Summary:
    """Thumbnails and scores of all layers, filled in layer by layer; what is not there yet is nan."""

    def __init__(self, looked: Looked, size: int) -> None:
        layers, heads = len(looked.layers), max(looked.heads)
        self.looked, self.size = looked, size
        self.thumbnails = np.full((layers, heads, size, size), np.nan, np.float32)
        self.peaks = np.full((layers, heads), np.nan, np.float32)
        self.scores = np.full((len(SCORES), layers, heads), np.nan, np.float32)

    def add(self, layer: int, heads: Heads | Weights, ids: Tensor | None) -> Iterator[Event]:
        """Read the maps of a layer once, a few rows at a time."""
        ready, (count, queries, keys) = heads.ready(), heads.shape
        sums = RowSums(ids, causal=heads.causal, own=self.looked.rows == self.looked.columns)
        cells = _CellDistance(self._grid(layer), self.looked.row_extra, heads.like.device) if sums.own and self._grid(layer) else None
        high, wide = averaging(queries, self.size, ready.like), averaging(keys, self.size, ready.like)
        pooled, step = 0, rows_at_once(count, keys)
        for start in range(0, queries, step):
            weights = ready.seen(start, step)                               # (H, rows, keys that are seen)
            pooled = pooled + high[:, start : start + step] @ (weights @ wide[:, : weights.shape[-1]].T)  # (H, size, size)
            if heads.softmax:
                sums.take(weights[None], start)
                if cells:
                    cells.take(weights, start)
            if start + step < queries and queries * keys > VALUES_AT_ONCE:
                yield Progress(done=layer + start / queries, total=len(self.looked.layers), unit="layers", note="computing the maps")
        self._fill(layer, count, pooled, sums, cells)

    def _grid(self, layer: int) -> tuple[int, int] | None:
        return self.looked.grids[layer] if self.looked.grids else self.looked.row_grid

    def _fill(self, layer: int, count: int, pooled: Tensor, sums: RowSums, cells: _CellDistance | None) -> None:
        peaks = pooled.abs().amax((-2, -1))                                 # (H,)
        self.peaks[layer, :count] = peaks.cpu()
        self.thumbnails[layer, :count] = (pooled / peaks.masked_fill(peaks == 0, 1)[:, None, None]).cpu()
        found = vars(sums.scores(none=float("nan"))) if sums.totals else {}
        if cells:
            found = found | {"distance": cells.mean()[None]}
        for place, name in enumerate(SCORES):
            if found.get(name) is not None and name not in WITHOUT_MEANING.get(self.looked.source, ()):
                self.scores[place, layer, :count] = found[name][0].cpu()

    def maps(self, seconds: float) -> OverviewMaps:
        """What is known so far."""
        return OverviewMaps(thumbnails=self.thumbnails, peaks=self.peaks, scores=self.scores, seconds=seconds)


class _CellDistance:
    """Mean distance in cells between a cell and those it looks at (arXiv 2010.11929, figure 7), without extra tokens."""

    def __init__(self, grid: tuple[int, int], extra: int, device: torch.device) -> None:
        places = torch.cartesian_prod(*(torch.arange(side, device=device, dtype=torch.float32) for side in grid)).view(-1, 2)
        self.far, self.extra = torch.cdist(places, places), extra           # (cells, cells)
        self.total, self.rows = 0, 0

    def take(self, weights: Tensor, start: int) -> None:
        """Rows `start` onwards (H, rows, S)."""
        skip = max(0, self.extra - start)
        weights, first = weights[:, skip:, self.extra :], start + skip - self.extra
        far = self.far[first : first + weights.shape[1]]                    # (rows, cells)
        share = weights.sum(-1).clamp(min=torch.finfo(weights.dtype).tiny)  # (H, rows)
        self.total = self.total + ((weights * far).sum(-1) / share).sum(-1)
        self.rows += weights.shape[1]

    def mean(self) -> Tensor:
        """(H,)."""
        return self.total / self.rows
