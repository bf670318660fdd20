"""The device side of the worker: everything that needs torch, kept apart so that the loop runs without it.

Torch is imported when `TorchBackend` is made, which the worker does first thing inside its own thread; the
window is on the screen by then. Tests of the loop and the zoo put a fake in its place.
"""

from __future__ import annotations

import contextlib
import os
import sys
from dataclasses import dataclass
from typing import Any, Protocol

from app.protocol.errors import UserError


@dataclass(frozen=True)
class Place:
    """Where a run computes: a `torch.device` and a `torch.dtype` (any values with a fake backend)."""

    device: Any
    dtype: Any


class Backend(Protocol):
    """What the loop and the zoo ask of a device."""

    name: str
    dtype_name: str
    threads: int

    def place(self, wish: str, grad: bool) -> Place:
        """Device and dtype for a job that wishes for `auto`, `cpu`, `cuda` or `mps`."""

    def rng(self, seed: int) -> Any:
        """A generator of random numbers on the CPU."""

    def grad_mode(self, enabled: bool) -> contextlib.AbstractContextManager:
        """Gradients on or off around one `next()`."""

    def is_memory_error(self, error: BaseException) -> bool:
        """Has the device or the machine run out of memory?"""

    def free_cache(self) -> None:
        """Give cached memory back."""

    def memory(self) -> tuple[int, str]:
        """Bytes in use and what they are: "RAM" or "GPU"."""

    def budget(self, device: Any) -> int:
        """Bytes that models may take on a device."""

    def move(self, model: Any, device: Any) -> Any:
        """The model on another device."""

    def on_cpu(self, device: Any) -> bool:
        """Is this device the main memory?"""

    def size(self, model: Any) -> int:
        """Bytes of a model's numbers."""


class TorchBackend:
    """The real thing. `threads` and `device` come from the settings; None and "auto" mean the best there is."""

    def __init__(self, *, threads: int | None = None, device: str = "auto") -> None:
        import torch

        self._torch = torch
        if threads:
            torch.set_num_threads(threads)  # counts for the calling thread, which is the worker's
        self.threads = torch.get_num_threads()
        self._best = self._device(device)
        self.name = self._best.type
        self.dtype_name = str(self._dtype(self._best)).removeprefix("torch.")

    def place(self, wish: str, grad: bool) -> Place:
        """Training keeps fp32 master weights; autocast opens inside the function that calls the network."""
        device = self._best if wish == "auto" else self._device(wish)
        return Place(device, self._torch.float32 if grad else self._dtype(device))

    def rng(self, seed: int) -> Any:
        """A CPU `torch.Generator`; negative seeds do not reach this."""
        return self._torch.Generator("cpu").manual_seed(seed % 2**63)

    def grad_mode(self, enabled: bool) -> contextlib.AbstractContextManager:
        """`torch.set_grad_enabled`, open only while the generator runs."""
        return self._torch.set_grad_enabled(enabled)

    def is_memory_error(self, error: BaseException) -> bool:
        """CUDA and MPS have a class of their own; the CPU allocator says it in words."""
        if isinstance(error, MemoryError | self._torch.OutOfMemoryError):
            return True
        text = str(error).lower()
        return isinstance(error, RuntimeError) and ("out of memory" in text or "can't allocate memory" in text)

    def free_cache(self) -> None:
        """Return cached blocks to the driver."""
        if self._best.type == "cuda":
            self._torch.cuda.empty_cache()
        elif self._best.type == "mps":
            self._torch.mps.empty_cache()

    def memory(self) -> tuple[int, str]:
        """Device memory if there is a device, else the resident memory of the process."""
        if self._best.type == "cuda":
            return self._torch.cuda.memory_reserved(), "GPU"
        if self._best.type == "mps":
            return self._torch.mps.driver_allocated_memory(), "GPU"
        return resident_bytes(), "RAM"

    def budget(self, device: Any) -> int:
        """Four fifths of the device, half of the main memory: the rest is for activations and other programs."""
        if device.type == "cuda":
            return int(self._torch.cuda.get_device_properties(device).total_memory * 0.8)
        return physical_bytes() // 2

    def move(self, model: Any, device: Any) -> Any:
        """`model.to(device)` where there is such a method."""
        return model.to(device) if hasattr(model, "to") else model

    def on_cpu(self, device: Any) -> bool:
        """MPS shares the main memory but counts as a device of its own."""
        return device.type == "cpu"

    def size(self, model: Any) -> int:
        """Parameters and buffers, shared ones once, and packed weights (`models/nn/packed.py`), which are neither."""
        if not hasattr(model, "modules"):
            return getattr(model, "held_bytes", 0)  # what is no module says it itself (`models/language/loading.py`)
        tensors = {tensor.data_ptr(): tensor for tensor in (*model.parameters(), *model.buffers())}
        packed = sum(getattr(module, "packed_bytes", 0) for module in model.modules())
        return packed + sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())

    def _device(self, wish: str) -> Any:
        torch = self._torch
        there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
        if wish == "auto":
            wish = next(name for name in ("cuda", "mps", "cpu") if there[name])
        if not there.get(wish, False):
            usable = ", ".join(name for name, yes in there.items() if yes)
            raise UserError(f"This machine has no device {wish!r}.", hint=f"Choose auto or one of: {usable}.")
        return torch.device(wish)

    def _dtype(self, device: Any) -> Any:
        """fp16 on CUDA (the weights are stored so); fp32 elsewhere, where half precision is slow or unsafe."""
        return self._torch.float16 if device.type == "cuda" else self._torch.float32


def resident_bytes() -> int:
    """Memory the process holds now (Linux), or its peak (other Unix), or 0."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        pass  # not Linux
    try:
        import resource
    except ImportError:
        return 0  # Windows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def physical_bytes() -> int:
    """Main memory of the machine; 8 GB where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return 8 * 10**9
