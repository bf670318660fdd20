"""A snapshot of the worker for the status bar."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class WorkerStatus:
    """What the worker is doing, in words and numbers; the newest snapshot wins."""

    state: str = "starting"
    """For people: "idle", "txt2img step 7/20, 0.21 s/step", …"""
    idle: bool = False
    """No run is active or waiting, and torch is there."""
    run_id: int = 0
    """The run the state speaks of, 0 = none."""
    queue: int = 0
    """Runs waiting for another to end."""
    parked: tuple[int, ...] = ()
    """Runs that stand still and hold memory."""
    device: str = ""
    dtype: str = ""
    threads: int = 0
    memory_bytes: int = 0
    memory_kind: str = "RAM"
    """"RAM": memory of the process; "GPU": memory of the device taken by torch."""
    models: tuple[str, ...] = ()
    """Keys of the models in memory."""
