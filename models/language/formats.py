"""Number formats of a language model's weights, and the choice among them by measurement.

Decoding one token reads every weight once, so its time is the bytes of the weights over the memory's speed: halving the
bytes nearly halves the time. The formats:

    fp32           exact, 4 bytes a weight
    bf16, fp16     2 bytes; activations are rounded too, so the sums depend on how many tokens share a pass
    fp16-fbgemm    fp16 weights, fp32 activations and sums (`packed.py`; x86 only)

Speculative decoding keeps a text exactly only if checking k tokens at once gives what k single steps give. That holds
for the formats with fp32 activations (`lossless`), to about 1e-4 on logits.
"""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import linear

from models.language.llama import Llama, LlamaConfig
from models.language.packed import HalfEmbedding, PackedBlock, PackedLinear, PackedNorm

STORED = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "fp16-fbgemm": torch.float16}
"""What the weights of a format are stored in."""


class FormatError(ValueError):
    """A number format that cannot be used here."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


def lossless(name: str) -> bool:
    """Whether a check of several tokens gives what single steps give, so that speculation keeps the text."""
    return name in ("fp32", "fp16-fbgemm")


def stored(weight: Tensor, name: str) -> Tensor:
    """A weight in the numbers of a format; FormatError if it has values that these cannot hold."""
    cast = weight.to(STORED[name])
    if STORED[name] is torch.float16 and weight.dtype is not torch.float16 and not cast.isfinite().all() and weight.isfinite().all():
        raise FormatError("This model has weights that fp16 cannot hold.", "Choose fp32 or bf16.")
    return cast


@cache
def has_fbgemm() -> bool:
    """Whether this torch on this processor multiplies by packed fp16 weights."""
    try:
        return bool(torch.equal(PackedLinear(torch.eye(16))(torch.ones(1, 16)), torch.ones(1, 16)))
    except (RuntimeError, AttributeError):
        return False


def apply_format(model: Llama, name: str) -> Llama:
    """Change the weights of a model to a format, in place. FormatError if it cannot be had, or not any more.

    "fp16-fbgemm" is a way of no return: packed weights are not unpacked. It replaces layers one by one, so that little
    more than one model is in memory.
    """
    if name not in STORED:
        raise FormatError(f"There is no number format {name!r}.", f"Known are {', '.join(STORED)}.")
    if isinstance(model.unembed, PackedLinear):
        if name == "fp16-fbgemm":
            return model
        raise FormatError("Packed weights cannot be brought to another number format.", "Load the model again.")
    if name != "fp16-fbgemm":
        return model.to(STORED[name])
    if not has_fbgemm():
        raise FormatError("This processor has no FBGEMM.", "Choose fp32 or bf16.")
    with torch.no_grad():
        for weight in model.parameters():
            stored(weight, name)
        for i, block in enumerate(model.blocks):
            model.blocks[i] = PackedBlock(block)
        model.unembed = PackedLinear(model.unembed.weight)
        model.tokens = HalfEmbedding(model.tokens.weight)
        model.norm_out = PackedNorm(model.norm_out)
    return model


# --- the choice ---


@dataclass(frozen=True)
class Choice:
    """The chosen format, and milliseconds a token of every candidate, estimated from a measurement on this machine."""

    name: str
    table: dict[str, float] = field(default_factory=dict)


TRIAL_WEIGHTS = 24 * 2**20
"""Weights of a trial: 48 MB in fp16, more than most processors keep near, so that memory is what is measured."""
TRIAL_REPEATS = 3


def choose_format(model: Llama | LlamaConfig, device: torch.device | str = "cpu", notes: Path | None = None) -> Choice:
    """The fastest lossless format on this machine for a model of that size; a fraction of a second, once.

    bf16 is measured for comparison; it is not lossless under speculation and never chosen by itself. `notes` is a JSON
    file in which the measurement is kept for the next start.
    """
    config = model.config if isinstance(model, Llama) else model
    if torch.device(device).type == "cuda":
        return Choice("fp16")
    if torch.device(device).type != "cpu":
        return Choice("fp32")
    sizes = f"{config.dim} {config.ffn_dim} {config.parameters}"
    key = f"{_processor()}, torch {torch.__version__}, {torch.get_num_threads()} threads: {sizes}"
    known = _read_notes(notes)
    table = known.get(key)
    if not _is_table(table):
        table = _measure(config)
        _write_notes(notes, {**known, key: table})
    return Choice(min(filter(lossless, table), key=table.__getitem__), table)


def _measure(config: LlamaConfig) -> dict[str, float]:
    """Milliseconds a token of every candidate."""
    rows = max(1, TRIAL_WEIGHTS // config.dim // 3)
    share = config.parameters / (3 * rows * config.dim)
    candidates = ["fp32", "bf16", *(["fp16-fbgemm"] if has_fbgemm() else [])]
    with torch.no_grad():
        return {name: round(_trial(name, rows, config.dim) * share * 1e3, 2) for name in candidates}


def _trial(name: str, rows: int, dim: int) -> float:
    """Seconds for one token through three layers of that size; the first pass warms up and is not counted."""
    weights = [torch.full((rows, dim), 0.01) for _ in range(3)]
    layers = [PackedLinear(weight) if name == "fp16-fbgemm" else partial(_times, weight.to(STORED[name])) for weight in weights]
    x = torch.ones(1, dim, dtype=torch.float32 if name == "fp16-fbgemm" else STORED[name])
    taken = []
    for _ in range(TRIAL_REPEATS + 1):
        begin = time.perf_counter()
        for layer in layers:
            layer(x)
        taken.append(time.perf_counter() - begin)
    return min(taken[1:])


def _times(weight: Tensor, x: Tensor) -> Tensor:
    return linear(x, weight)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    except OSError:
        name = ""  # not Linux
    return f"{name or platform.processor() or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores"


def _read_notes(path: Path | None) -> dict:
    try:
        known = json.loads(path.read_text("utf-8")) if path else {}
    except (OSError, ValueError):
        return {}  # none yet, or damaged: measured again
    return known if isinstance(known, dict) else {}


def _write_notes(path: Path | None, notes: dict) -> None:
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dict(list(notes.items())[-20:]), indent=1), "utf-8")
    except OSError:
        return  # a full or read-only disk: measured again next time


def _is_table(table: object) -> bool:
    return isinstance(table, dict) and "fp32" in table and all(name in STORED and type(ms) is float for name, ms in table.items())
