"""Values that attention runs show and return: what was looked at, who looks at whom, and what each head does.

An attention weight says how much of a value a query took in; it shows one mechanism and is no explanation of an answer.
Rows are queries, columns are keys. `layer` counts from 0, names of layers stand in `Looked.layers`. Jobs: `app/jobs/attention.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.protocol.payloads import Image, Payload, Tokens, _freeze

NORMALISATIONS = ("as it is", "each row to 1", "absolute")
SCORES = ("entropy", "evenness", "distance", "sink", "previous", "itself", "induction", "duplicate")
"""Per-head scores of `OverviewMaps.scores`, as in `models/attention/measures.py`; nan where a score has no meaning."""


@dataclass(frozen=True, kw_only=True)
class Looked:
    """What a model looked at, before any map is asked for: the two sides of every map, and how many heads each layer has."""

    source: str
    """A word of `app.jobs.attention.SOURCES`."""
    model: str
    number_format: str
    rows: Tokens
    """Queries: tokens of a text, or cells of a grid (then texts are "row,column"). Where `grids` is set: of the first layer."""
    columns: Tokens
    """Keys; equal to `rows` where something looks at itself, and then each layer's columns are its rows."""
    row_grid: tuple[int, int] | None = None
    """(height, width) if the queries are cells of a picture, read row by row; tokens before the grid (a class token): `row_extra`."""
    column_grid: tuple[int, int] | None = None
    row_extra: int = 0
    column_extra: int = 0
    causal: bool
    layers: tuple[str, ...]
    heads: tuple[int, ...]
    """Heads of each layer."""
    grids: tuple[tuple[int, int] | None, ...] = ()
    """Grid of the queries by layer, where it differs from layer to layer (UNet); empty: `row_grid` holds everywhere."""
    scale: float
    """Factor before the softmax, 1 / sqrt(head width), of the first layer; 1 for cosines, 0 where an attention of another kind has none.
    Each map's caption names its own."""
    picture: Image | None = None
    """What the cells belong to."""
    steps: int = 0
    """Denoising steps of the run, each of which can be looked at; 0 for everything but a UNet."""
    sentence: str = ""
    """What these maps are, and what they do not tell."""


@dataclass(frozen=True, eq=False)
class OverviewMaps(Payload):
    """All layers and heads at once: small pictures of the maps and scores of each head."""

    thumbnails: np.ndarray
    """float32 (layers, most heads, size, size): means of the map's blocks (of size x size; single weights several times where a side has
    fewer places), each thumbnail divided by its largest; nan where a layer has fewer heads, or is not computed yet."""
    peaks: np.ndarray
    """float32 (layers, most heads): what each thumbnail was divided by."""
    scores: np.ndarray
    """float32 (scores, layers, most heads), in the order of SCORES. `distance` is in tokens, or in cells of the layer's grid."""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "thumbnails", _freeze(self.thumbnails, np.float32, (None, None, None, None), "thumbnails"))
        object.__setattr__(self, "peaks", _freeze(self.peaks, np.float32, (None, None), "peaks"))
        object.__setattr__(self, "scores", _freeze(self.scores, np.float32, (len(SCORES), *self.peaks.shape), "scores"))


@dataclass(frozen=True, eq=False)
class WeightMap(Payload):
    """A part of one map, exact where it is small enough and else the mean of blocks.

    `values` float32 (r, c) covers rows `rows` = (first, end) and columns `columns`, `block` = (queries, keys) to a value.
    """

    values: np.ndarray
    layer: int
    heads: tuple[int, ...]
    """One head, or those whose mean this is."""
    rows: tuple[int, int]
    columns: tuple[int, int]
    block: tuple[int, int] = (1, 1)
    normalisation: str = "as it is"
    dropped_first: bool = False
    """The first key was left out (its column is 0) and each row made to sum to 1 again."""
    caption: str = ""
    """One line that names what the values are: softmax weights, mean of which heads, normalisation, blocks."""
    seconds: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", _freeze(self.values, np.float32, (None, None), "WeightMap.values"))

    @property
    def exact(self) -> bool:
        """Every value is one weight."""
        return self.block == (1, 1)


@dataclass(frozen=True, eq=False)
class TokenProfile(Payload):
    """What some tokens look at together, and what looks at them: float32 (S,) and (T,), means over `tokens` and `heads`.

    Where cells look at words, a place counts as a query for `looks_at` and as a key for `looked_at_by`; all nan if none of `tokens` is one.
    """

    looks_at: np.ndarray
    looked_at_by: np.ndarray
    layer: int
    heads: tuple[int, ...]
    tokens: tuple[int, ...]
    caption: str = ""

    def __post_init__(self) -> None:
        for name in ("looks_at", "looked_at_by"):
            object.__setattr__(self, name, _freeze(getattr(self, name), np.float32, (None,), name))


@dataclass(frozen=True, kw_only=True)
class NextTokens:
    """The likeliest next tokens after a text, before or after some heads were changed."""

    texts: tuple[str, ...]
    ids: tuple[int, ...]
    p: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class HeadEdit:
    """A head whose output is multiplied by `factor` before the output projection; 0 removes it."""

    layer: int
    head: int
    factor: float = 0.0


@dataclass(frozen=True, kw_only=True)
class EditReport:
    """A text before and after heads were changed."""

    edits: tuple[HeadEdit, ...]
    before: NextTokens
    after: NextTokens
    before_text: str
    """Greedy continuation, unchanged model."""
    after_text: str
    before_loss: float
    """Mean negative log-likelihood of the given text, nats a token."""
    after_loss: float
    kl: tuple[float, ...]
    """KL(before || after) of the next-token law at every token of the text, nats."""
    sentence: str = ""
