"""Which words the built-in text encoder knows: asked once by the prompt box, which must not import models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from app.protocol.job import Job


@dataclass(frozen=True, kw_only=True)
class Vocabulary(Job):
    """The words of a model: facts "groups" (phrases to offer, by heading) and "words" (all that it knows)."""

    name: ClassVar[str] = "vocabulary"

    model: str = "playworld"
