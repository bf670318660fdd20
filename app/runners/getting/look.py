"""A look into a language model's files without loading it: is it one that can be read, whole, and how large will it be.

Headers are read by the readers that load models (`models.language`), so advice and loading cannot differ.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from app.protocol.errors import UserError
from app.protocol.sizes import size_words
from models.checkpoint import PICKLE_HINT, PICKLE_SUFFIXES, Checkpoint

UNSTATED = "not stated"
EXPERTS = "Experts"
"""Name of the fact that only mixtures of experts have."""
MAX_JSON_BYTES = 64 * 2**20
WHAT_FITS = "Add a .gguf file, or a folder with safetensors, config.json and tokenizer.json."
ARCHIVES = (".zip", ".tar", ".gz", ".bz2", ".xz", ".7z", ".rar")


@dataclass(frozen=True, kw_only=True)
class Look:
    """What the headers tell: pairs of a name and a value in words, and the licence if one is stated."""

    facts: tuple[tuple[str, str], ...]
    licence: str = UNSTATED


def look(path: Path) -> Look:
    """What is known of a model file or folder; UserError or CheckpointError with a sentence if it cannot be read."""
    if not path.exists():
        raise UserError(f"There is nothing at {path}.", hint="Was it moved or deleted? Add it again from where it is now.")
    if path.is_dir():
        return _look_into_folder(path)
    suffix = path.suffix.lower()
    if suffix == ".gguf":
        return _look_into_gguf(path)
    if suffix in PICKLE_SUFFIXES:
        raise _pickle(path.name)
    if suffix == ".safetensors":
        raise UserError(
            f"{path.name} holds weights alone.", hint="Add the folder it lies in: it needs config.json and tokenizer.json beside it."
        )
    if suffix in ARCHIVES:
        raise UserError(f"{path.name} is an archive.", hint="Unpack it and add the .gguf file, or the folder with the safetensors.")
    raise UserError(f"{path.name} is no model that Glassbox can read.", hint=WHAT_FITS)


def _pickle(name: str) -> UserError:
    return UserError(
        f"{name} is a pickle, which can run any program when it is opened; only safetensors and GGUF are read.", hint=PICKLE_HINT
    )


def _look_into_gguf(path: Path) -> Look:
    from models.language.gguf import GgufFile, config_of

    if path.stat().st_size == 0:
        raise UserError(f"{path.name} is empty.", hint="Fetch it again.")
    file = GgufFile(path)
    config = config_of(file)
    file.check()
    parameters = sum(math.prod(info.shape) for info in file.tensors.values())
    licence = file.metadata.get("general.license")
    return Look(facts=_facts(config, parameters, _format_of(file)), licence=str(licence)[:60] if licence else UNSTATED)


def _format_of(file: object) -> str:
    """The number format that most weights have, such as Q4_1."""
    from gguf.constants import GGMLQuantizationType

    counts: dict[int, int] = {}
    for info in file.tensors.values():
        counts[info.kind] = counts.get(info.kind, 0) + math.prod(info.shape)
    return GGMLQuantizationType(max(counts, key=counts.get)).name if counts else ""


def _look_into_folder(path: Path) -> Look:
    from models.language import keymaps, moe_keymaps

    names = {entry.name for entry in path.iterdir()}
    weights = path / "model.safetensors.index.json"
    weights = weights if weights.name in names else path / "model.safetensors"
    if weights.name not in names:
        ggufs = sorted(name for name in names if name.lower().endswith(".gguf"))
        if ggufs:
            raise UserError(f"{path.name} holds GGUF files.", hint=f"Add one of the files itself, such as {ggufs[0]}.")
        pickles = sorted(name for name in names if Path(name).suffix.lower() in PICKLE_SUFFIXES)
        if pickles:
            raise _pickle(pickles[0])
        raise UserError(f"{path.name} holds no model.safetensors and no index of several.", hint=WHAT_FITS)
    for needed in ("config.json", "tokenizer.json"):
        if needed not in names:
            raise UserError(f"{path.name} lacks {needed}.", hint="Put the file beside the weights: it comes with the model.")
    described = read_json(path / "config.json")
    sparse = isinstance(described, dict) and described.get("model_type") in moe_keymaps.FAMILIES
    config = (moe_keymaps if sparse else keymaps).config_from_json(described, path.name)
    checkpoint = Checkpoint(weights)  # opens each file: all are there and whole
    return Look(facts=_facts(config, sum(_numbers_in(file) for file in checkpoint.paths), "safetensors"))


def _numbers_in(file: Path) -> int:
    with safe_open(file, framework="pt") as handle:
        return sum(math.prod(handle.get_slice(name).get_shape()) for name in handle.keys())


def read_json(path: Path) -> object:
    """A JSON file of bounded size; UserError with a sentence if it is none."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise UserError(f"{path.name} has {size_words(path.stat().st_size)}, which is too much for what it is.", hint="Fetch it again.")
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        raise UserError(f"{path.name} in {path.parent.name} is damaged.", hint="Fetch it again.") from None
    except OSError as error:
        raise UserError(f"{path.name} cannot be read: {(error.strerror or str(error)).lower()}.") from None


def _facts(config: object, parameters: int, number_format: str) -> tuple[tuple[str, str], ...]:
    experts = ((EXPERTS, f"{config.n_experts} in a layer, {config.top_k} a token"),) if hasattr(config, "n_experts") else ()
    return (
        ("Parameters", count_words(parameters)),
        ("Layers", f"{config.n_layers}, {config.dim} wide"),
        *experts,
        ("Context", f"{config.max_len} tokens"),
        ("Vocabulary", f"{config.vocab_size} tokens"),
        ("Stored as", number_format),
        ("Memory", f"{size_words(2 * parameters)} fp16, {size_words(4 * parameters)} fp32"),
    )


def count_words(count: int) -> str:
    """134515008 -> "134.5 M"."""
    return f"{count / 1e9:.2f} B" if count >= 1e9 else f"{count / 1e6:.1f} M"

