"""What every benchmark prints: the machine and the date, percentiles, ratios of two things measured in turn.

`python benchmarks/NAME.py` puts this folder on Python's path, so the scripts say `import report`; the program's own packages are put
there below.
"""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def heading(what: str, threads: int | None = None) -> None:
    """Print what is measured, on which machine, and when."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parts = [f"{datetime.datetime.now():%Y-%m-%d %H:%M}", cpu_model(), f"{usable} of {os.cpu_count()} cores"]
    parts += [f"{threads} torch threads"] if threads else []
    parts += [platform.system(), f"Python {platform.python_version()}", f"torch {version('torch')}"]
    parts += [f"load of the last minute {os.getloadavg()[0]:.1f}"] if hasattr(os, "getloadavg") else []
    print(what, " | ".join(parts), sep="\n", flush=True)


def cpu_model() -> str:
    """The processor's name as the system tells it."""
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        return names[0] if names else platform.machine()
    if sys.platform == "darwin":
        return subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True).stdout.strip()
    return platform.processor()


def percentiles(values: Sequence[float], unit: str) -> str:
    """p50, p95, p99 and the largest."""
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    return f"p50 {p50:.4g}  p95 {p95:.4g}  p99 {p99:.4g}  max {max(values):.4g} {unit}  (n {len(values)})"


def spread(values: Sequence[float], unit: str) -> str:
    """Median and range of a few repetitions."""
    return f"median {np.median(values):.4g} {unit}, {min(values):.4g} to {max(values):.4g}  (n {len(values)})"


def alternate(first: Callable[[], float], second: Callable[[], float], repeat: int) -> tuple[list[float], list[float]]:
    """Measure two things in turn, so that a drift of the machine meets both; the order changes every time."""
    taken: tuple[list[float], list[float]] = ([], [])
    for turn in range(repeat):
        for which in (0, 1) if turn % 2 == 0 else (1, 0):
            taken[which].append((first, second)[which]())
    return taken


def ratio(first: Sequence[float], second: Sequence[float]) -> str:
    """The median of the ratios first / second of all pairs, and their range."""
    ratios = np.divide(first, second)
    return f"ratio {np.median(ratios):.3f}x, {ratios.min():.3f} to {ratios.max():.3f}  (n {len(ratios)})"


Calls = list[list[float]]
"""[begin, end] of each call in seconds of `time.perf_counter`; the end is infinite while the call lasts."""


@contextmanager
def timed_calls(cls: type, method: str) -> Iterator[Calls]:
    """Note when every call of a method begins and ends, whichever object and thread it is called on."""
    calls: Calls = []
    original = getattr(cls, method)

    def noted(*args, **kwargs):
        call = [time.perf_counter(), float("inf")]
        calls.append(call)
        try:
            return original(*args, **kwargs)
        finally:
            call[1] = time.perf_counter()

    setattr(cls, method, noted)
    try:
        yield calls
    finally:
        setattr(cls, method, original)
