"""Values of the tile lab: one layer's view of a picture, a moment of a training, a training that is kept, a step of filling in.

Bits are bits per dimension of the whole picture. Jobs: `app/jobs/flows.py`.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.protocol.payloads import Image


@dataclass(frozen=True, kw_only=True)
class LayerLook:
    """One picture as a layer left it, every number at the place of its pixel."""

    index: int
    total: int
    title: str
    level: int
    """From 1; the coarsest has the largest number."""
    picture: Image
    span: float
    """Grey is 0; black and white are minus and plus this."""
    bits: float
    """What this layer alone adds."""
    so_far: float
    """The sum of all up to here, before the noise is paid for."""


@dataclass(frozen=True, kw_only=True)
class LearnMoment:
    """What the flow of this moment of its training makes of the same noise."""

    step: int
    total: int
    bits: float
    """Mean over the updates since the moment before."""
    sheet: Image
    seconds: float


@dataclass(frozen=True, kw_only=True)
class KeptFlow:
    """A training that is kept on the disk."""

    kind: str
    job: str
    """The `learn-flow` that made it, as JSON."""
    step: int
    total: int
    rows: tuple[tuple[int, float], ...]
    """Update and bits of its batch, evenly over the training."""
    notice: str
    """The sentence of one that diverged."""
    when: str
    """Local time at which it was kept last."""
    can_go_on: bool


@dataclass(frozen=True, kw_only=True)
class FillStep:
    """A step of filling in hidden pixels."""

    index: int
    total: int
    picture: Image
    bits: float
    """Of the whole picture as it stands."""
    accepted: bool
