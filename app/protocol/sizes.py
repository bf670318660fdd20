"""Bytes in words, one way everywhere: in units of 1024, which are written KiB, MiB and GiB so that nobody takes them for thousands."""

from __future__ import annotations

UNITS = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))
MIB = 1 << 20


def size_words(count: float) -> str:
    """Bytes for people, in two or three figures: 1288490188 -> "1.2 GiB"."""
    for unit, name in UNITS:
        if count >= unit:
            return f"{count / unit:.{1 if count < 100 * unit else 0}f} {name}"
    return f"{count:.0f} B"


def progress_words(done: float, total: float) -> str:
    """How much of a load or fetch is there: "12 of 257 MiB"."""
    unit, name = next((pair for pair in UNITS if total >= 2 * pair[0]), UNITS[-1])
    digits = 0 if total >= 10 * unit else 1
    return f"{done / unit:.{digits}f} of {total / unit:.{digits}f} {name}"
