"""Reading and writing of weights: safetensors only, lazily, strictly, under any published naming.

A model is built on the meta device (no memory), its file's names are mapped to ours, every tensor is read once,
cast and put in place. A name that nobody mapped, a parameter that nobody filled and a wrong shape are errors,
each told in one sentence (`CheckpointError`). The tables of names stand in each family's `keymaps.py`.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models import int8_blocks

KeymapEntry = str | tuple[str, Callable[[Tensor], Tensor]] | None
Keymap = Mapping[str, KeymapEntry]
Progress = Callable[[int, int], None]
Storage = Literal["fp16", "int8"]
"""How floating tensors are written: all in fp16, or the large ones in blocks of int8 (`models/int8_blocks.py`)."""

MAX_SHARD_BYTES = 20 * 2**20 - 256 * 2**10  # under 20 MiB, with room for the header
PICKLE_SUFFIXES = {".ckpt", ".pt", ".pth", ".bin", ".pkl"}
SHARD_NAME = re.compile(r"(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.safetensors")
PICKLE_HINT = (
    "Convert it once, on a machine you trust: load it with torch.load(path, weights_only=True), take its "
    "dictionary of tensors and write that with safetensors.torch.save_file(tensors, 'model.safetensors')."
)


class CheckpointError(Exception):
    """Weights that cannot be used: a sentence that says what is wrong, and a hint that says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


# --- files ---


def find_files(path: Path | str) -> list[Path]:
    """The safetensors files behind a file, a shard, an index, or a path without suffix (`folder/name`)."""
    path = Path(path)
    if path.suffix.lower() in PICKLE_SUFFIXES:
        raise CheckpointError(
            f"{path.name} is a pickle, which can run any program when it is opened; only safetensors are read.",
            PICKLE_HINT,
        )
    if path.name.endswith(".index.json"):
        return _files_of_index(path)
    if shard := SHARD_NAME.fullmatch(path.name):
        count = int(shard["count"])
        return [path.with_name(_shard_name(shard["stem"], i, count)) for i in range(1, count + 1)]
    if path.name.endswith(".safetensors"):
        return [path]
    for suffix in (".safetensors", ".safetensors.index.json"):
        if (found := path.with_name(path.name + suffix)).exists():
            return find_files(found)
    raise CheckpointError(f"There are no weights at {path}: neither one safetensors file nor an index of several.")


def _files_of_index(path: Path) -> list[Path]:
    try:
        weight_map = json.loads(path.read_text("utf-8"))["weight_map"]
        names = sorted({str(name) for name in weight_map.values()})
    except FileNotFoundError:
        raise CheckpointError(f"The weights index {path} is missing.") from None
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise CheckpointError(f"The weights index {path.name} is damaged ({error}).", "Fetch it again.") from None
    if any(Path(name).name != name or not name.endswith(".safetensors") for name in names):
        raise CheckpointError(f"The weights index {path.name} names files that are no safetensors beside it.")
    return [path.with_name(name) for name in names]


def _shard_name(stem: str, number: int, count: int) -> str:
    return f"{stem}-{number:05d}-of-{count:05d}.safetensors"


class Checkpoint:
    """One or several open safetensors files seen as one; a tensor is read when it is asked for, blocks of int8 as fp16."""

    def __init__(self, files: Path | str | Iterable[Path | str]) -> None:
        paths = [files] if isinstance(files, (str, Path)) else list(files)
        self.paths = [found for path in paths for found in find_files(path)]
        self.metadata: dict[str, str] = {}
        self._handles = {}
        for path in self.paths:
            handle = _open(path)
            self.metadata.update(handle.metadata() or {})
            for name in handle.keys():
                if name in self._handles:
                    raise CheckpointError(f"The tensor {name} stands twice in {_titles(self.paths)}.")
                self._handles[name] = handle

    @property
    def names(self) -> list[str]:
        return [name for name in self._handles if not self._is_scale(name)]

    def _is_scale(self, name: str) -> bool:
        return name.endswith(int8_blocks.SCALE) and name.removesuffix(int8_blocks.SCALE) in self._handles

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self._handles[name].get_slice(name).get_shape())

    def read(self, name: str) -> Tensor:
        stored, scale = self._handles[name].get_tensor(name), name + int8_blocks.SCALE
        if scale not in self._handles:
            return stored
        try:
            return int8_blocks.dequantise(stored, self._handles[scale].get_tensor(scale))
        except ValueError as error:
            raise CheckpointError(f"{name} in {_titles(self.paths)} is damaged ({error}).", "Fetch it again.") from None


def _open(path: Path):
    if not path.is_file():
        raise CheckpointError(f"The weights file {path} is missing.", "Fetch the models again.")
    with path.open("rb") as file:
        start = file.read(16)
    header_follows = start[8:9] == b"{"  # else the length of a header may look like the first bytes of a pickle
    if start[:2] in (b"PK", b"\x80\x02", b"\x80\x04", b"\x80\x05") and not header_follows:
        raise CheckpointError(f"{path.name} is named safetensors but holds a pickle, which is not read.", PICKLE_HINT)
    if start.startswith(b"version https://"):
        raise CheckpointError(
            f"{path.name} is only a pointer to weights kept in Git LFS.", "Run `git lfs pull` in its repository."
        )
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is damaged or cut short ({error}).", "Fetch it again.") from None


def _titles(paths: Iterable[Path]) -> str:
    return ", ".join(path.name for path in paths)


# --- names ---


def map_names(names: Iterable[str], keymap: Keymap | None) -> dict[str, tuple[str, Callable | None]]:
    """{our name: (their name, transform)}; an unmapped name is an error, a name mapped to None is dropped."""
    if keymap is None:
        return {name: (name, None) for name in names}
    rules = _compile(keymap)
    mapped: dict[str, tuple[str, Callable | None]] = {}
    unknown = []
    for name in names:
        entry = _translate(name, rules)
        if entry is None:
            unknown.append(name)
        elif entry[0] is not None:
            if entry[0] in mapped:
                raise CheckpointError(f"Both {mapped[entry[0]][0]} and {name} are weights of {entry[0]}.")
            mapped[entry[0]] = (name, entry[1])
    if unknown:
        raise CheckpointError(f"The weights hold {_some(unknown)}, which this model does not have.")
    return mapped


def _compile(keymap: Keymap) -> list[tuple[re.Pattern, str | None, Callable | None]]:
    """Regular expressions for the templates, the most specific (longest) first."""
    rules = []
    for theirs in sorted(keymap, key=len, reverse=True):
        ours = keymap[theirs]
        target, transform = ours if isinstance(ours, tuple) else (ours, None)
        pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>\\d+)", re.escape(theirs))
        rules.append((re.compile(pattern + r"(?P<rest>(\..+)?)"), target, transform))
    return rules


def _translate(name: str, rules: list) -> tuple[str | None, Callable | None] | None:
    for pattern, target, transform in rules:
        if match := pattern.fullmatch(name):
            if target is None:
                return None, None
            groups = match.groupdict()
            return target.format(**groups) + groups["rest"], transform
    return None


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


# --- loading ---


def load_into(
    build: Callable[[], nn.Module],
    files: Path | str | Iterable[Path | str],
    keymap: Keymap | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
    progress: Progress | None = None,
) -> nn.Module:
    """Build the model without memory, fill it from the files, return it in eval mode.

    Floating tensors are cast to `dtype` (None keeps the file's). `progress(done, total)` counts tensors. Raises
    CheckpointError if a file is missing or damaged or does not fit the model exactly.
    """
    checkpoint = Checkpoint(files)
    with torch.device("meta"):
        model = build()
    wanted = model.state_dict()
    mapped = map_names(checkpoint.names, keymap)
    _check_names(wanted.keys(), mapped.keys(), checkpoint)
    state = {}
    for done, (ours, (theirs, transform)) in enumerate(mapped.items(), start=1):
        tensor = checkpoint.read(theirs)
        tensor = tensor if transform is None else transform(tensor)
        if tensor.shape != wanted[ours].shape:
            raise CheckpointError(
                f"{theirs} in {_titles(checkpoint.paths)} has the shape {tuple(tensor.shape)}, "
                f"the model needs {tuple(wanted[ours].shape)}.",
                "These are weights of a model of another size.",
            )
        state[ours] = tensor.to(device, dtype if tensor.is_floating_point() else None)
        if progress is not None:
            progress(done, len(mapped))
    model.load_state_dict(state, strict=True, assign=True)
    _check_complete(model)
    return model.eval()


def _check_names(wanted: Iterable[str], given: Iterable[str], checkpoint: Checkpoint) -> None:
    missing = sorted(set(wanted) - set(given))
    unexpected = sorted(set(given) - set(wanted))
    where = _titles(checkpoint.paths)
    if missing:
        raise CheckpointError(f"{where} lacks {_some(missing)}.", "These are weights of another model, or a part of it.")
    if unexpected:
        raise CheckpointError(f"{where} holds {_some(unexpected)}, which this model does not have.")


def _check_complete(model: nn.Module) -> None:
    tensors = [*model.named_parameters(), *model.named_buffers()]
    if empty := [name for name, tensor in tensors if tensor.is_meta]:
        raise CheckpointError(f"{_some(empty)} of {type(model).__name__} got no value from the file.")


# --- saving ---


def save_sharded(
    state: Mapping[str, Tensor],
    path: Path | str,
    metadata: Mapping[str, str] | None = None,
    max_bytes: int = MAX_SHARD_BYTES,
    storage: Storage = "fp16",
) -> list[Path]:
    """Write tensors to `path`.safetensors, or to shards with an index if they exceed `max_bytes`.

    Each file is written beside its place and then moved there; files of an earlier layout are removed last.
    Raises CheckpointError if a value does not fit fp16.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    shards = _split(_stored(state, storage), max_bytes)
    if len(shards) == 1:
        files = [path.with_name(f"{path.name}.safetensors")]
    else:
        files = [path.with_name(_shard_name(path.name, i, len(shards))) for i in range(1, len(shards) + 1)]
    for file, shard in zip(files, shards):
        part = file.with_name(f".{file.name}.part")
        save_file(shard, part, metadata={"format": "pt", **(metadata or {})})
        os.replace(part, file)
    written = files if len(shards) == 1 else [*files, _write_index(path, files, shards)]
    for old in path.parent.glob(f"{path.name}*.safetensors*"):
        if _belongs(old.name, path.name) and old not in written:
            old.unlink()
    return written


def _stored(state: Mapping[str, Tensor], storage: Storage) -> dict[str, Tensor]:
    """What a file will hold."""
    stored = {name: _half(name, tensor) for name, tensor in state.items()}
    if storage == "int8":
        for name in [name for name, tensor in state.items() if int8_blocks.worthwhile(tensor)]:
            stored[name], stored[name + int8_blocks.SCALE] = int8_blocks.quantise(state[name])
    return stored


def _half(name: str, tensor: Tensor) -> Tensor:
    tensor = tensor.detach().to("cpu")
    if not tensor.is_floating_point():
        return tensor.contiguous()
    half = tensor.to(torch.float16, memory_format=torch.contiguous_format)
    if not half.isfinite().all():
        raise CheckpointError(f"{name} holds values that fp16 cannot hold, or that are not numbers.")
    return half


def _split(state: dict[str, Tensor], max_bytes: int) -> list[dict[str, Tensor]]:
    """Consecutive tensors filled into shards, none above max_bytes unless a single tensor is."""
    shards: list[dict[str, Tensor]] = [{}]
    filled = 0
    for name, tensor in state.items():
        if shards[-1] and filled + tensor.nbytes > max_bytes:
            shards.append({})
            filled = 0
        shards[-1][name] = tensor
        filled += tensor.nbytes
    return shards


def _write_index(path: Path, files: list[Path], shards: list[dict[str, Tensor]]) -> Path:
    index = path.with_name(f"{path.name}.safetensors.index.json")
    total = sum(tensor.nbytes for shard in shards for tensor in shard.values())
    weight_map = {name: file.name for file, shard in zip(files, shards) for name in shard}
    text = json.dumps({"metadata": {"total_size": total}, "weight_map": weight_map}, indent=1)
    part = index.with_name(f".{index.name}.part")
    part.write_text(text, "utf-8")
    os.replace(part, index)
    return index


def _belongs(file_name: str, stem: str) -> bool:
    """Whether a file is one that `save_sharded` would write for this stem (not for a longer one)."""
    if file_name in (f"{stem}.safetensors", f"{stem}.safetensors.index.json"):
        return True
    shard = SHARD_NAME.fullmatch(file_name)
    return shard is not None and shard["stem"] == stem
