"""Attention maps as files: NPZ for programs, CSV for tables; the picture is drawn in `attention_picture.py`."""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Sequence

import numpy as np

from app.protocol.attention import Looked
from app.protocol.events import Event, Progress
from app.protocol.payloads import Image
from app.runners.attention_picture import small_multiples
from app.runners.attention_views import Frame, side_tokens
from app.runners.captures import Heads, Weights

ROWS_AT_ONCE = 64


def map_picture(
    weights: np.ndarray, looked: Looked, layer: int, frame: Frame, title: str, names: Sequence[str], caption: str
) -> Image:
    """Maps (n, r, c) of one layer side by side; what a causal model may not see is left grey."""
    unseen = None
    if looked.causal:
        unseen = np.arange(*frame.columns) > np.arange(*frame.rows)[:, None]
    return small_multiples(weights, title, caption, names, *side_tokens(looked, layer, frame), unseen)


def npz_bytes(weights: np.ndarray, looked: Looked, layer: int, heads: Sequence[int], frame: Frame, source: Heads | Weights | None) -> bytes:
    """weights float32 (heads, T, S) with the texts of both sides; nothing in it needs a pickle to be read.

    Without a `source`, weights (1, T, S) are no head's own: there is no scale, and `heads` says whose mean they go back to.
    """
    rows, columns = side_tokens(looked, layer, frame)
    scale = {} if source is None or source.scale is None else {"scale": np.float32(source.scale)}
    buffer = io.BytesIO()
    np.savez(
        buffer, weights=weights, tokens=np.array(rows), column_tokens=np.array(columns), layer=layer, heads=np.array(heads),
        rows=np.array(frame.rows), columns=np.array(frame.columns), **scale,
    )  # fmt: skip
    return buffer.getvalue()


def csv_text(values: np.ndarray, looked: Looked, layer: int, frame: Frame) -> Generator[Event, None, str]:
    """A table with a query to a row and a key to a column."""
    rows, columns = side_tokens(looked, layer, frame)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["query \\ key", *columns])
    for start in range(0, len(rows), ROWS_AT_ONCE):
        for text, row in zip(rows[start : start + ROWS_AT_ONCE], values[start : start + ROWS_AT_ONCE], strict=True):
            writer.writerow([text, *(f"{value:.7g}" for value in row)])
        yield Progress(done=min(start + ROWS_AT_ONCE, len(rows)), total=len(rows), unit="rows", note="writing the table")
    return buffer.getvalue()
