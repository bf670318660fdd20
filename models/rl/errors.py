"""What a person can put right in a training run: a sentence and a hint."""

from __future__ import annotations

import math


class RLError(Exception):
    """An environment, a setting or a snapshot that cannot be used: a sentence that says why, and a hint that says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def check_range(name: str, value: float, lo: float, hi: float = math.inf, *, open_lo: bool = False) -> None:
    """Raise `RLError` unless `value` is a finite number within [lo, hi], or (lo, hi] with `open_lo`."""
    if not math.isfinite(value) or not lo <= value <= hi or (open_lo and value == lo):
        if hi == math.inf:
            wanted = f"above {lo:g}" if open_lo else f"{lo:g} or more"
        else:
            wanted = f"above {lo:g} and at most {hi:g}" if open_lo else f"between {lo:g} and {hi:g}"
        raise RLError(f"{name} is {value:g}, but must be {wanted}.", f"Choose a value {wanted}.")
