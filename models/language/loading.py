"""From a file or folder to a language model that can be talked to: net, tokenizer, chat template, number format.

Two layouts are read: one GGUF file, or a folder with safetensors, config.json and tokenizer.json. Expanding quantised
weights takes seconds, so the result is kept in the cache folder in the format's own numbers, and the next start reads
that. Nothing is allocated before config and header are checked and the memory is known to suffice.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import platformdirs
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from models.checkpoint import Checkpoint, CheckpointError, Progress
from models.language.chat_template import ChatTemplate
from models.language.formats import STORED, Choice, FormatError, apply_format, choose_format, stored
from models.language.gguf import GgufFile, config_of
from models.language.keymaps import assemble, config_from_json, gguf_keymap, hf_keymap
from models.language.llama import Llama, LlamaConfig
from models.language.tokenizer import Tokenizer
from models.language.tokenizer_files import read_json

CACHE_FILES = 4
"""Expanded models kept; the oldest goes first."""
CACHE_BYTES = 4 * 2**30
"""Largest expanded model that is kept."""
CACHE_VERSION = 1
"""Counts up when our names or layouts change."""
PLAIN_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
"""For models that carry no template: texts one after another."""


@dataclass(frozen=True, eq=False)
class LanguageModel:
    """A model ready for use. `format` names its numbers, `formats` the ms a token of each candidate; `context` in tokens."""

    model: Llama
    tokenizer: Tokenizer
    template: ChatTemplate
    name: str
    format: str
    formats: dict[str, float]
    fingerprint: str
    context: int
    has_template: bool = True

    @property
    def held_bytes(self) -> int:
        """Memory of the weights; packed ones are no parameters of a module."""
        if not hasattr(self.model.config, "parameters"):  # a mixture of experts, which is never packed
            return sum(weight.nbytes for weight in self.model.parameters())
        return held_bytes(self.model.config, self.format)

    def parameters(self) -> Iterator[nn.Parameter]:
        """Of the net, as far as they are not packed."""
        return self.model.parameters()

    def buffers(self) -> Iterator[Tensor]:
        """Of the net."""
        return self.model.buffers()

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> LanguageModel:
        """The same with the net on a device; the number format stays, packed weights stay on the CPU."""
        if self.format != "fp16-fbgemm":
            self.model.to(device)
        return self


@dataclass(frozen=True)
class _Source:
    """What a file or folder offers: everything but the weights, and how to read those."""

    path: Path
    name: str
    config: LlamaConfig
    tokenizer: Tokenizer
    template: str | None
    quantised: bool
    weights: Callable[[dict[str, torch.Size]], Iterator[tuple[str, Tensor]]]


def load_language_model(
    path: Path | str,
    device: torch.device | str = "cpu",
    progress: Progress | None = None,
    format: str | None = None,
    keep: bool = True,
) -> LanguageModel:
    """Load a GGUF file or a safetensors folder; `format` None chooses by measurement, fp32 if fp16 cannot hold the weights.

    `progress(done, total)` counts weights. `keep` writes expanded weights into the cache folder for the next start.
    Raises CheckpointError with one sentence if the model cannot be used or does not fit into memory.
    """
    if (family := _with_experts(Path(path))) is not None:
        return _sparse(Path(path), family, device, progress, format)
    source = _open(Path(path))
    check_memory(source.config, format or "fp16", source.name)
    choice = Choice(format) if format else choose_format(source.config, device, cache_folder() / "formats.json")
    try:
        try:
            model = _loaded(source, choice.name, progress, keep)
        except FormatError:
            if format or choice.name == "fp32":
                raise
            choice = Choice("fp32", choice.table)
            model = _loaded(source, choice.name, progress, keep)
    except FormatError as error:
        raise CheckpointError(error.message, error.hint) from None
    tokenizer = source.tokenizer
    template = ChatTemplate(source.template or PLAIN_TEMPLATE, tokenizer.bos, tokenizer.eos)
    return LanguageModel(
        model.to(device), tokenizer, template, source.name, choice.name, choice.table, tokenizer.fingerprint,
        source.config.max_len, source.template is not None,
    )  # fmt: skip


# --- mixtures of experts ---


def _with_experts(path: Path) -> str | None:
    """The model_type of a folder that `moe_keymaps` reads; None for all else."""
    if not (path / "config.json").is_file():
        return None
    from models.language.moe_keymaps import FAMILIES

    kind = read_json(path / "config.json").get("model_type")
    return kind if kind in FAMILIES else None


def _sparse(path: Path, family: str, device: torch.device | str, progress: Progress | None, format: str | None) -> LanguageModel:
    """A folder with a mixture of experts; in fp32 if twice its files fit into the memory that is free, else in bf16."""
    from models.language.moe_keymaps import load_moe

    if format is None:
        size, free = sum(file.stat().st_size for file in path.glob("*.safetensors")), free_memory()
        format = "fp32" if free is None or 2 * size < free else "bf16"
    if format not in STORED or format == "fp16-fbgemm":
        raise CheckpointError(f"{path.name} is a {family} with experts, which is kept in fp32, bf16 or fp16, not in {format[:40]}.")
    tokenizer = Tokenizer.from_folder(path)
    model = load_moe(path, STORED[format], progress)
    _check_vocabulary(tokenizer, model.config, path.name)
    template = _folder_template(path)
    return LanguageModel(
        model.to(device), tokenizer, ChatTemplate(template or PLAIN_TEMPLATE, tokenizer.bos, tokenizer.eos), path.name, format, {},
        tokenizer.fingerprint, model.config.max_len, template is not None,
    )  # fmt: skip


def _loaded(source: _Source, format: str, progress: Progress | None, keep: bool) -> Llama:
    if format not in STORED:
        raise FormatError(f"There is no number format {format[:40]!r}.", f"Known are {', '.join(STORED)}.")
    check_memory(source.config, format, source.name)
    return apply_format(_filled(source, format, progress, keep), format)


def _open(path: Path) -> _Source:
    if path.is_dir():
        return _open_folder(path)
    return _open_gguf(path)


def _open_gguf(path: Path) -> _Source:
    file = GgufFile(path)
    file.check()
    config, tokenizer = config_of(file), Tokenizer.from_gguf(file)
    _check_vocabulary(tokenizer, config, path.name)
    template, name = file.metadata.get("tokenizer.chat_template"), file.metadata.get("general.name")

    def weights(shapes: dict[str, torch.Size]) -> Iterator[tuple[str, Tensor]]:
        return assemble(shapes, file.names, file.read, gguf_keymap(config), path.name, file.shape)

    return _Source(
        path, name[:80] if isinstance(name, str) and name else path.stem, config, tokenizer,
        template if isinstance(template, str) else None, True, weights,
    )  # fmt: skip


def _open_folder(path: Path) -> _Source:
    config = config_from_json(read_json(path / "config.json"), path.name)
    tokenizer = Tokenizer.from_folder(path)
    _check_vocabulary(tokenizer, config, path.name)
    index = path / "model.safetensors.index.json"
    checkpoint = Checkpoint(index if index.is_file() else path / "model.safetensors")

    def weights(shapes: dict[str, torch.Size]) -> Iterator[tuple[str, Tensor]]:
        return assemble(shapes, checkpoint.names, checkpoint.read, hf_keymap(config), path.name, checkpoint.shape)

    return _Source(path, path.name, config, tokenizer, _folder_template(path), False, weights)


def _folder_template(path: Path) -> str | None:
    """chat_template.jinja, or the entry of tokenizer_config.json, which may list several by name."""
    own = path / "chat_template.jinja"
    if own.is_file():
        return own.read_text("utf-8", errors="replace")[:1_000_000]
    found = read_json(path / "tokenizer_config.json", optional=True).get("chat_template")
    if isinstance(found, list):
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else None


def _check_vocabulary(tokenizer: Tokenizer, config: LlamaConfig, title: str) -> None:
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"The tokenizer of {title} has {tokenizer.vocab_size} tokens, its embedding only {config.vocab_size}.",
            "They belong to different models; fetch both again.",
        )


# --- memory ---


def held_bytes(config: LlamaConfig, format: str) -> int:
    """Memory of the weights in a format; a tied matrix is kept twice when packed, as table of rows and as blocks."""
    twice = config.vocab_size * config.dim if config.tied and format == "fp16-fbgemm" else 0
    return (config.parameters + twice) * STORED[format].itemsize


def check_memory(config: LlamaConfig, format: str, title: str) -> None:
    """CheckpointError if the weights, and the largest of them once more in fp32, exceed the memory that is free now."""
    largest = config.dim * max(config.vocab_size, 2 * config.ffn_dim)
    free, needed = free_memory(), held_bytes(config, format) + 8 * largest
    if free is not None and needed > free:
        raise CheckpointError(
            f"{title} needs {needed / 2**30:.1f} GiB of memory in {format}, and {free / 2**30:.1f} GiB are free.",
            "Close other programs, or choose a smaller model.",
        )


def free_memory() -> int | None:
    """Bytes that can be had without swapping; all of the memory where the system does not say; None if unknown."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            found = dict(line.split(":") for line in file)
        return int(found["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass  # not Linux
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


# --- weights, from the source or from the cache ---


def _filled(source: _Source, format: str, progress: Progress | None, keep: bool) -> Llama:
    """The net with its weights in the numbers that the format stores."""
    with torch.device("meta"):
        model = Llama(source.config)
    shapes = {name: weight.shape for name, weight in model.named_parameters()}
    state = _cached(source, format, shapes)
    if state is None:
        state = {}
        for name, tensor in source.weights(shapes):
            state[name] = stored(tensor, format)
            if progress is not None:
                progress(len(state), len(shapes))
        if source.quantised and keep:
            _keep(source, format, state)
    if source.config.tied:
        state["unembed.weight"] = state["tokens.weight"]
    model.load_state_dict(state, strict=True, assign=True)
    if source.config.tied:
        model.unembed.weight = model.tokens.weight
    return model.eval().requires_grad_(False)


def cache_folder() -> Path:
    """Where expanded weights lie; `GLASSBOX_HOME` moves it, as everything of the user's."""
    home = os.environ.get("GLASSBOX_HOME")
    root = Path(home) / "cache" if home else Path(platformdirs.user_cache_dir("Glassbox", appauthor=False))
    return root / "language"


def _cache_stem(path: Path) -> str:
    """Names the cache of a file as it is now: another size or time is another file."""
    stat = path.stat()
    identity = f"{path.resolve()}|{stat.st_size}|{stat.st_mtime_ns}|{CACHE_VERSION}"
    return hashlib.sha256(identity.encode()).hexdigest()[:24]


def _cache_file(source: _Source, format: str) -> Path:
    return cache_folder() / f"{_cache_stem(source.path)}-{STORED[format]}.safetensors".replace("torch.", "")


def forget(path: Path | str) -> None:
    """Delete the expanded weights of a file, which is about to be removed."""
    for kept in cache_folder().glob(f"{_cache_stem(Path(path))}-*.safetensors") if Path(path).is_file() else ():
        kept.unlink(missing_ok=True)


def _cached(source: _Source, format: str, shapes: dict[str, torch.Size]) -> dict[str, Tensor] | None:
    """The expanded weights of an earlier start; None if there are none or they are damaged."""
    path = _cache_file(source, format) if source.quantised else None
    if path is None or not path.is_file():
        return None
    try:
        checkpoint = Checkpoint(path)
        state = {name: checkpoint.read(name) for name in checkpoint.names}
    except CheckpointError:
        return None
    fits = {name: tensor.shape for name, tensor in state.items()} == shapes
    return state if fits and {tensor.dtype for tensor in state.values()} == {STORED[format]} else None


def _keep(source: _Source, format: str, state: dict[str, Tensor]) -> None:
    """Write the expanded weights for the next start, if they are not too large and the disk has room to spare."""
    size = sum(tensor.nbytes for tensor in state.values())
    path = _cache_file(source, format)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if size > CACHE_BYTES or shutil.disk_usage(path.parent).free < 2 * size:
            return
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        save_file(state, part)
        os.replace(part, path)
        kept = sorted(path.parent.glob("*.safetensors"), key=lambda file: file.stat().st_mtime, reverse=True)
        for old in kept[CACHE_FILES:]:
            old.unlink()
    except OSError:
        return  # a full or read-only disk: the next start takes longer, that is all


