"""Errors of the plane lab that people read; the runner passes `message` and `hint` on as they are."""

from __future__ import annotations


class PlaneError(ValueError):
    """Something a person can put right: one sentence, and what to do about it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class DivergedError(PlaneError):
    """A training or a walk left the numbers; the network holds its last good weights."""

    def __init__(self, message: str, hint: str = "", *, step: int = 0) -> None:
        super().__init__(message, hint)
        self.step = step
