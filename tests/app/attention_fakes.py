"""Canned attention for the tests of the attention panel: an engine without a worker, and maps whose numbers are known by formula."""

from __future__ import annotations

from typing import Any

import numpy as np

from app.jobs.attention import (
    AttentionEdit,
    AttentionExport,
    AttentionLens,
    AttentionMap,
    AttentionOverview,
    AttentionProfile,
    AttentionRollout,
    AttentionSum,
)
from app.jobs.maps import PlayworldScene
from app.jobs.models import ListModels
from app.protocol.attention import SCORES, EditReport, Looked, NextTokens, OverviewMaps, TokenProfile, WeightMap
from app.protocol.chat import Alternative, LensRow
from app.protocol.payloads import Image, Result, Tokens
from tests.app.chat_fakes import words
from tests.app.image_panel_fakes import FakeEngine, FakeHandle

LAYERS, HEADS, SIZE = 4, 3, 12


def tokens_of(texts: list[str]) -> Tokens:
    return Tokens(texts=tuple(texts), ids=tuple(range(len(texts))))


def weights(rows: int, columns: int, layer: int, heads: tuple[int, ...], *, causal: bool) -> np.ndarray:
    """A map (rows, columns) whose rows sum to 1; every cell is another number for another layer, head, row and column."""
    maps = []
    for head in heads:
        i, j = np.arange(rows)[:, None], np.arange(columns)[None, :]
        logits = np.sin(1.3 * i + 0.7 * j * (head + 1) + layer) * 2
        if causal:
            logits = np.where(j > i, -np.inf, logits)
        w = np.exp(logits - logits.max(1, keepdims=True))
        maps.append(w / w.sum(1, keepdims=True))
    return np.mean(maps, axis=0)


def sides(job: Any) -> tuple[Tokens, Tokens, dict[str, Any]]:
    """Rows, columns and what else is known of a source."""
    text = tokens_of(words(job.text) if not job.ids else [f"t{number}" for number in job.ids])
    cells = tokens_of([f"{row},{column}" for row in range(4) for column in range(4)])
    picture = job.picture or Image(np.full((64, 64, 3), 90, np.uint8), label="picture")
    if job.source in ("text", "clip-text", "small"):
        return text, text, {"causal": True}
    if job.source == "clip-picture":
        patches = tokens_of(["class", *cells.texts])
        grid = {"row_grid": (4, 4), "column_grid": (4, 4), "row_extra": 1, "column_extra": 1}
        return patches, patches, {"causal": False, "picture": picture, **grid}
    if job.source == "clip-words":
        return text, cells, {"causal": False, "column_grid": (4, 4), "picture": picture}
    grids = ((4, 4), (2, 2), (4, 4), (4, 4))
    if job.source == "unet-words":
        return cells, text, {"causal": False, "row_grid": (4, 4), "grids": grids, "picture": picture, "steps": job.steps}
    both = {"row_grid": (4, 4), "column_grid": (4, 4)}
    return cells, cells, {"causal": False, **both, "grids": grids, "picture": picture, "steps": job.steps}


def looked_of(job: Any) -> Looked:
    rows, columns, more = sides(job)
    return Looked(
        source=job.source, model=job.model, number_format="fp32", rows=rows, columns=columns,
        layers=tuple(f"layer {n}" for n in range(LAYERS)), heads=(HEADS,) * LAYERS, scale=0.125, sentence="Canned maps.", **more,
    )  # fmt: skip


def counts(job: Any) -> tuple[int, int, bool]:
    looked = looked_of(job)
    grid = looked.grids[job.layer] if looked.grids else None
    rows = grid[0] * grid[1] if grid else len(looked.rows.texts)
    columns = rows if looked.source == "unet-self" else len(looked.columns.texts)
    return rows, columns, looked.causal


def map_of(job: Any) -> WeightMap:
    """What `attention-map` gives: exact where it fits `most`, else means of blocks."""
    rows, columns, causal = counts(job)
    heads = job.heads or tuple(range(HEADS))
    full = weights(rows, columns, job.layer, heads, causal=causal)
    r = job.rows if job.rows != (0, 0) else (0, rows)
    c = job.columns if job.columns != (0, 0) else (0, columns)
    part = full[r[0] : r[1], c[0] : c[1]]
    block = tuple(-(-n // job.most) for n in part.shape)
    if block != (1, 1):
        trimmed = part[: part.shape[0] // block[0] * block[0], : part.shape[1] // block[1] * block[1]]
        part = trimmed.reshape(trimmed.shape[0] // block[0], block[0], -1, block[1]).mean((1, 3))
    caption = f"softmax weights, heads {heads}, {job.normalisation}"
    return WeightMap(part, job.layer, heads, r, c, block, job.normalisation, job.drop_first, caption, 0.01)


def profile_of(job: AttentionProfile) -> TokenProfile:
    rows, columns, causal = counts(job)
    full = weights(rows, columns, job.layer, job.heads, causal=causal)
    chosen = list(job.tokens)
    return TokenProfile(full[chosen].mean(0), full[:, chosen].mean(1), job.layer, job.heads, job.tokens, "profile")


def overview_of(known: int = LAYERS) -> OverviewMaps:
    """Thumbnails of the first `known` layers, scores that rise from head to head."""
    maps = np.full((LAYERS, HEADS, SIZE, SIZE), np.nan, np.float32)
    scores = np.full((len(SCORES), LAYERS, HEADS), np.nan, np.float32)
    for layer in range(known):
        for head in range(HEADS):
            w = weights(SIZE, SIZE, layer, (head,), causal=True)
            maps[layer, head] = w / w.max()
            scores[:, layer, head] = 0.1 * ((layer * HEADS + head) * 5 % 12) + np.arange(len(SCORES))
    return OverviewMaps(maps, np.ones((LAYERS, HEADS)), scores, 0.2)


def lens_of(job: AttentionLens) -> Result:
    rows = tuple(
        LensRow(layer=n, top=(Alternative(id=5, text=" fox", p=0.2 * n),), p_next=0.2 * n, rank_next=LAYERS - n, entropy=6.0 - n)
        for n in range(LAYERS + 1)
    )
    return Result(files={"rows": rows}, facts={"position": job.token, "token": " a", "next": " fox"})


def report_of(job: AttentionEdit) -> EditReport:
    before = NextTokens(texts=(" dog", " cat"), ids=(1, 2), p=(0.6, 0.2))
    after = NextTokens(texts=(" cat", " hen"), ids=(2, 3), p=(0.5, 0.1))
    return EditReport(
        edits=job.edits, before=before, after=after, before_text="the lazy dog sleeps", after_text="the lazy cat sleeps", before_loss=2.0,
        after_loss=2.5, kl=tuple(0.01 * n for n in range(len(looked_of(job).rows.texts))), sentence="Canned.",
    )  # fmt: skip


class AttentionEngine(FakeEngine):
    """Keeps handles; answers when told to."""

    def submit(self, job: Any, *, key: str | None = None, policy: str = "queue", park_after: int | None = None) -> FakeHandle:
        handle = FakeHandle(self, len(self.handles) + 1, job, key or job.name, policy, park_after)
        self.handles.append(handle)
        return handle

    def out(self, kind: type) -> list[FakeHandle]:
        """All runs of a kind asked for."""
        return [handle for handle in self.handles if isinstance(handle.job, kind)]

    def answer(self, kind: type = object) -> None:
        """Finish what is out (of a kind), and what that brings about, until all is quiet."""
        while waiting := [handle for handle in self.handles if handle.active and isinstance(handle.job, kind)]:
            for handle in waiting:
                if handle.active:
                    self.finish(handle)

    def finish(self, handle: FakeHandle) -> None:
        job = handle.job
        if type(job) is AttentionOverview:
            handle.begin()
            handle.record.emit("looked", looked_of(job))
            if job.growing:
                handle.succeed(Result(files={"looked": looked_of(job)}))
                return
            handle.record.emit("overview", overview_of(2))
            handle.record.emit("overview", overview_of())
            handle.succeed(Result(files={"looked": looked_of(job), "overview": overview_of()}))
        elif isinstance(job, AttentionMap | AttentionRollout | AttentionSum):
            handle.succeed(Result(files={"map": map_of(job)}))
        elif isinstance(job, AttentionProfile):
            handle.succeed(Result(files={"profile": profile_of(job)}))
        elif isinstance(job, AttentionLens):
            handle.succeed(lens_of(job))
        elif isinstance(job, AttentionEdit):
            handle.succeed(Result(files={"report": report_of(job)}))
        elif isinstance(job, AttentionExport):
            picture = Image(np.zeros((2, 2, 3), np.uint8))
            files = {"attention.csv": "a,b\n", "attention.npz": {"weights": np.eye(2)}, "attention.png": picture}
            handle.succeed(Result(files=files))
        elif isinstance(job, ListModels):
            handle.succeed(Result(facts={"models": [{"key": "smollm2", "title": "SmolLM2 135M", "state": "ready"}]}))
        elif isinstance(job, PlayworldScene):
            handle.succeed(Result(files={"picture.png": Image(np.full((8, 8, 3), 5, np.uint8))}, facts={"caption": "a red house"}))
        else:
            handle.succeed()
