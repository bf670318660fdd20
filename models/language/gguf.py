"""GGUF, llama.cpp's file of weights and metadata: header, key/values, table of tensors, aligned data.

The header is read here, every length checked against the file before anything is allocated, so that a cut or hostile
file ends in one sentence. Quantised blocks are expanded by the `gguf` package (`gguf.quants.dequantize`), exactly.
Shapes are listed fastest dimension first in the file; here they stand in torch's order. The format is described in
ggml's docs/gguf.md.
"""

from __future__ import annotations

import math
import mmap
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from models.checkpoint import CheckpointError
from models.language.llama import LlamaConfig
from models.nn.rope import RopeScaling

MAGIC = b"GGUF"
VERSIONS = (2, 3)
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9
SMALLEST = {**{kind: struct.calcsize(code) for kind, code in SCALARS.items()}, STRING: 8, ARRAY: 12}
"""Fewest bytes that one value of a kind takes: how many can at most follow."""
MAX_DIMENSIONS = 4
MAX_ALIGNMENT = 1 << 20
AGAIN = "Fetch the file again."


@dataclass(frozen=True)
class TensorInfo:
    """Where a tensor lies: `kind` is its ggml type, `offset` counts from the beginning of the file."""

    kind: int
    shape: tuple[int, ...]
    offset: int


class GgufFile:
    """An open GGUF file: `metadata`, `tensors` and `read(name)`."""

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._data = _map(self.path)
        try:
            self.metadata, self.tensors = _Header(self._data, self.path.name).read()
        except (struct.error, UnicodeDecodeError) as error:
            raise CheckpointError(f"{self.path.name} is no sound GGUF file ({error}).", AGAIN) from None

    @property
    def names(self) -> list[str]:
        return list(self.tensors)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape in torch's order."""
        return self.tensors[name].shape

    def read(self, name: str) -> Tensor:
        """The tensor in fp32, quantised blocks expanded."""
        from gguf import quants
        from gguf.constants import GGMLQuantizationType

        info, data = self.tensors[name], self._bytes(name)
        kind = GGMLQuantizationType(info.kind)
        try:
            values = quants.dequantize(data, kind)
        except NotImplementedError:
            raise CheckpointError(f"{self.path.name} is quantised as {kind.name}, which cannot be expanded here.") from None
        return torch.from_numpy(np.array(values, np.float32)).view(info.shape)

    def check(self) -> None:
        """CheckpointError if a tensor ends beyond the file or has an unknown number format; no weight is read."""
        for name in self.tensors:
            self._bytes(name)

    def _bytes(self, name: str) -> np.ndarray:
        """The raw blocks of a tensor, (rows, bytes of a row), checked against the end of the file."""
        from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

        info = self.tensors[name]
        known = {kind.value for kind in GGMLQuantizationType}
        if info.kind not in known:
            raise CheckpointError(f"{name} in {self.path.name} has the unknown number format {info.kind}.", AGAIN)
        block, size = GGML_QUANT_SIZES[GGMLQuantizationType(info.kind)]
        if info.shape[-1] % block:
            raise CheckpointError(f"{name} in {self.path.name} has rows of {info.shape[-1]}, which blocks of {block} do not fill.")
        rows = math.prod(info.shape[:-1])
        wanted = rows * (info.shape[-1] // block) * size
        if info.offset + wanted > len(self._data):
            raise CheckpointError(f"{self.path.name} is cut short: {name} ends beyond the end of the file.", AGAIN)
        flat = np.frombuffer(self._data, np.uint8, wanted, info.offset)
        if info.kind in (0, 1):  # plain numbers are handed over as such
            flat = flat.view(np.float32 if info.kind == 0 else np.float16)
        return flat.reshape(rows, -1)


def _map(path: Path) -> mmap.mmap:
    if not path.is_file():
        raise CheckpointError(f"There is no file {path}.")
    with path.open("rb") as file:
        start = file.read(8)
        if len(start) < 8 or start[:4] != MAGIC:
            raise CheckpointError(f"{path.name} is no GGUF file.", "Choose a .gguf file, or a folder with config.json.")
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


class _Header:
    """Reads values one after another; every count is checked against the bytes that are left."""

    def __init__(self, data: mmap.mmap, title: str) -> None:
        self.data, self.title, self.at = data, title, 4

    def read(self) -> tuple[dict[str, Any], dict[str, TensorInfo]]:
        version = self.scalar(4)
        if version not in VERSIONS:
            raise CheckpointError(f"{self.title} is GGUF of version {version}; versions 2 and 3 are read.")
        n_tensors, n_values = self.scalar(10), self.scalar(10)
        metadata: dict[str, Any] = {}
        for _ in range(self.count(n_values, 8 + 4 + 1)):
            key = self.text()
            if key in metadata:
                raise CheckpointError(f"{self.title} names {key[:60]} twice.", AGAIN)
            metadata[key] = self.value(self.scalar(4))
        table = [self.tensor() for _ in range(self.count(n_tensors, 8 + 4 + 8 + 4 + 8))]
        tensors = self.placed(table, metadata.get("general.alignment", 32))
        if len(tensors) != len(table):
            raise CheckpointError(f"{self.title} lists a tensor twice.", AGAIN)
        return metadata, tensors

    def count(self, n: int, size: int) -> int:
        """n, if n values of at least `size` bytes can still follow."""
        if n * size > len(self.data) - self.at:
            raise CheckpointError(f"{self.title} is cut short or damaged: it promises more than it holds.", AGAIN)
        return n

    def scalar(self, kind: int) -> Any:
        code = SCALARS[kind]
        (value,) = struct.unpack_from(code, self.data, self.at)
        self.at += SMALLEST[kind]
        return value

    def text(self) -> str:
        n = self.count(self.scalar(10), 1)
        self.at += n
        return self.data[self.at - n : self.at].decode("utf-8")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            return self.array(depth)
        if kind not in SCALARS:
            raise CheckpointError(f"{self.title} holds a value of the unknown kind {kind}.", AGAIN)
        return self.scalar(kind)

    def array(self, depth: int) -> list:
        kind, n = self.scalar(4), self.scalar(10)
        if kind not in SMALLEST or depth > 1:
            raise CheckpointError(f"{self.title} holds a list of the unknown kind {kind}.", AGAIN)
        n = self.count(n, SMALLEST[kind])
        if kind in SCALARS:
            values = np.frombuffer(self.data, np.dtype(SCALARS[kind]), n, self.at).tolist()
            self.at += n * SMALLEST[kind]
            return values
        return [self.value(kind, depth + 1) for _ in range(n)]

    def tensor(self) -> tuple[str, TensorInfo]:
        name, n_dims = self.text(), self.scalar(4)
        if not 1 <= n_dims <= MAX_DIMENSIONS:
            raise CheckpointError(f"{name[:60]} in {self.title} has {n_dims} dimensions.", AGAIN)
        shape = tuple(self.scalar(10) for _ in range(n_dims))[::-1]
        if min(shape) < 1:
            raise CheckpointError(f"{name[:60]} in {self.title} has the shape {shape}.", AGAIN)
        return name, TensorInfo(self.scalar(4), shape, self.scalar(10))

    def placed(self, table: list[tuple[str, TensorInfo]], alignment: Any) -> dict[str, TensorInfo]:
        """Offsets from the beginning of the file, within the file."""
        sound = isinstance(alignment, int) and 0 < alignment <= MAX_ALIGNMENT and alignment & (alignment - 1) == 0
        if not sound:
            raise CheckpointError(f"{self.title} asks for the impossible alignment {alignment!r}.", AGAIN)
        begin = -(-self.at // alignment) * alignment
        if any(begin + info.offset >= len(self.data) or info.offset % alignment for _, info in table):
            raise CheckpointError(f"{self.title} is cut short: tensors lie beyond the end of the file.", AGAIN)
        return {name: TensorInfo(info.kind, info.shape, begin + info.offset) for name, info in table}


# --- the config in the metadata ---


def config_of(file: GgufFile) -> LlamaConfig:
    """Sizes of the net in a GGUF file; CheckpointError if it is not a LLaMA or a size is missing."""
    data, title = file.metadata, file.path.name
    arch = data.get("general.architecture")
    if arch != "llama":
        raise CheckpointError(f"{title} holds a {str(arch)[:40]!r} model; only the LLaMA family is read.")
    if data.get("llama.expert_count"):
        raise CheckpointError(f"{title} is a mixture of {data['llama.expert_count']} experts, which is not a plain LLaMA.")
    dim, n_heads = _whole(file, "embedding_length"), _whole(file, "attention.head_count")
    head_dim = _whole(file, "attention.key_length", dim // max(n_heads, 1))
    for key in ("attention.value_length", "rope.dimension_count"):
        if _whole(file, key, head_dim) != head_dim:
            raise CheckpointError(f"{title} has {key} {data[f'llama.{key}']} beside heads of {head_dim}, which is not read.")
    embedding = file.tensors.get("token_embd.weight")
    if embedding is None:
        raise CheckpointError(f"{title} lacks token_embd.weight.", "It is a part of a model; fetch all of it.")
    try:
        return LlamaConfig(
            dim=dim, n_layers=_whole(file, "block_count"), n_heads=n_heads,
            n_kv_heads=_whole(file, "attention.head_count_kv", n_heads), head_dim=head_dim,
            ffn_dim=_whole(file, "feed_forward_length"), vocab_size=embedding.shape[0],
            max_len=_whole(file, "context_length"), norm_eps=_number(file, "attention.layer_norm_rms_epsilon"),
            rope_theta=_number(file, "rope.freq_base", 10_000.0), rope_scaling=_scaling(file, head_dim),
            tied="output.weight" not in file.tensors,
        )  # fmt: skip
    except ValueError as error:
        raise CheckpointError(f"{title} describes an impossible model: {error}.", AGAIN) from None


def _number(file: GgufFile, key: str, default: float | None = None) -> Any:
    value = file.metadata.get(f"llama.{key}", default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise CheckpointError(f"{file.path.name} does not tell its {key}, or not as a number.", AGAIN)
    return value


def _whole(file: GgufFile, key: str, default: int | None = None) -> int:
    value = _number(file, key, default)
    if isinstance(value, float):
        raise CheckpointError(f"{file.path.name} tells its {key} as {value}, which is no whole number.", AGAIN)
    return value


def _scaling(file: GgufFile, head_dim: int) -> RopeScaling | None:
    """The rope.scaling keys, or a table of factors (Llama 3), or None."""
    data = file.metadata
    original = _whole(file, "rope.scaling.original_context_length", _whole(file, "context_length"))
    if "rope_freqs.weight" in file.tensors:
        return RopeScaling("factors", 1.0, original, factors=_factors(file, head_dim))
    kind = data.get("llama.rope.scaling.type", "linear" if "llama.rope.scale_linear" in data else "none")
    if kind == "none":
        return None
    factor = _number(file, "rope.scaling.factor", _number(file, "rope.scale_linear", 1.0))
    if kind not in ("linear", "yarn"):
        raise CheckpointError(f"{file.path.name} stretches its positions in the unknown way {str(kind)[:40]!r}.")
    return RopeScaling(kind, float(factor), original)


def _factors(file: GgufFile, head_dim: int) -> tuple[float, ...]:
    """One divisor for each pair of features."""
    shape = file.shape("rope_freqs.weight")
    if shape != (head_dim // 2,):
        raise CheckpointError(f"{file.path.name} has {shape} factors of its positions, heads of {head_dim} need {head_dim // 2}.", AGAIN)
    factors = file.read("rope_freqs.weight")
    if not (factors > 0).all():
        raise CheckpointError(f"{file.path.name} has factors of its positions that are not positive.", AGAIN)
    return tuple(factors.tolist())
