"""The models that Glassbox knows by name: how each is built, where its weights lie, under which licence.

`load(key)` gives a ready network. The built-in weights were trained by this project (`assets/weights`, a model card
each); the folder can be changed with the environment variable GLASSBOX_WEIGHTS. Language models are fetched into the
user's model folder (GLASSBOX_MODELS), or are named by their path as `language:/path/to/model.gguf`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
import torch
from torch import nn

from models.checkpoint import CheckpointError, Keymap, Progress, Storage, find_files, load_into
from models.nn.packed import pack_convolutions

if TYPE_CHECKING:
    from models.language.loading import LanguageModel

WEIGHTS = Path(__file__).resolve().parents[1] / "assets" / "weights"
LANGUAGE = "language:"
"""Begins the key of a language model that is named by its path."""
LANGUAGE_FORMATS = ("fp32", "bf16", "fp16", "fp16-fbgemm")
"""May end the key of a language model, after an @."""
BUILT_IN_LICENCE = "the project's own: trained here, on pictures made here"
MIXTURE_LICENCE = "the project's own: trained here, on Python's standard library, text by SmolLM2 (Apache-2.0) and text made here"
DRAFTER_LICENCE = "Apache-2.0: trained here, on text of a model under that licence"


def weights_folder() -> Path:
    """Where the built-in weights lie."""
    return Path(os.environ.get("GLASSBOX_WEIGHTS") or WEIGHTS)


def models_folder() -> Path:
    """Where fetched models lie; the same folder as `app.paths.models_dir`."""
    if named := os.environ.get("GLASSBOX_MODELS"):
        return Path(named)
    home = os.environ.get("GLASSBOX_HOME")
    data = Path(home) / "data" if home else Path(platformdirs.user_data_dir("Glassbox", appauthor=False))
    return data / "models"


@dataclass(frozen=True)
class ModelSpec:
    """One model: `file` is its path without suffix inside the weights folder; `keymap` None means our own names."""

    key: str
    title: str
    build: Callable[[], nn.Module]
    file: str
    keymap: Keymap | None
    licence: str
    storage: Storage = "fp16"
    """How a training writes it: shipped weights may be 120 MiB together."""

    @property
    def path(self) -> Path:
        return weights_folder() / self.file

    @property
    def bytes(self) -> int:
        """Size of the files on disk, all shards together; 0 if one is missing."""
        try:
            files = find_files(self.path)
            return sum(file.stat().st_size for file in files)
        except (CheckpointError, FileNotFoundError):
            return 0


@dataclass(frozen=True)
class LanguageSpec:
    """A language model: a GGUF file or a folder with safetensors; `file` inside the model folder, or an absolute path."""

    key: str
    title: str
    file: str
    licence: str
    format: str | None = None
    """Number format (`models.language.formats`); None: whatever is fastest without loss here."""

    @property
    def path(self) -> Path:
        return models_folder() / self.file  # an absolute `file` replaces the folder

    @property
    def bytes(self) -> int:
        """Size of its weights on disk; 0 if they are missing."""
        try:
            files = sorted(self.path.glob("*.safetensors")) if self.path.is_dir() else [self.path]
            return sum(file.stat().st_size for file in files)
        except OSError:
            return 0


def playworld_clip_config():
    """CLIP_CONFIGS["playworld"] with room for exactly the words of Playworld."""
    from models.multimodal.clip import CLIP_CONFIGS
    from models.playworld.words import VOCAB_SIZE

    return CLIP_CONFIGS["playworld"].with_vocabulary(VOCAB_SIZE)


def _vae() -> nn.Module:
    from models.diffusion.vae import VAE_CONFIGS, AutoencoderKL

    return AutoencoderKL(VAE_CONFIGS["playworld"])


def _clip() -> nn.Module:
    from models.multimodal.clip import Clip

    return Clip(playworld_clip_config())


def _unet() -> nn.Module:
    from models.diffusion.unet import UNET_CONFIGS, UNet

    return UNet(UNET_CONFIGS["playworld"])


def _controlnet() -> nn.Module:
    from models.diffusion.controlnet import CONTROLNET_CONFIGS, ControlNet

    return ControlNet(CONTROLNET_CONFIGS["playworld"])


def _joints() -> nn.Module:
    from models.vision.judges import JointRegressor
    from models.vision.training import JOINT_CONFIG

    return JointRegressor(JOINT_CONFIG)


def _flow(name: str) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        from models.flows.tiles import TILES

        return TILES[name]()

    return build


def _facts() -> nn.Module:
    from models.vision.judges import FactClassifier
    from models.vision.training import fact_config

    return FactClassifier(fact_config())


def _built_in(name: str, title: str, build: Callable[[], nn.Module], storage: Storage = "fp16") -> ModelSpec:
    return ModelSpec(f"playworld/{name}", title, build, f"playworld-{name}", None, BUILT_IN_LICENCE, storage)


def _mixture() -> nn.Module:
    from models.language.deepseek_v3 import DEEPSEEK_CONFIGS, DeepseekV3

    return DeepseekV3(DEEPSEEK_CONFIGS["mixture"])


def _drafter(model: str, kind: str, title: str) -> ModelSpec:
    def build() -> nn.Module:
        from models import drafters

        return drafters.build(model, kind, weights_folder() / f"{model}-{kind}")

    return ModelSpec(f"{model}/{kind}", title, build, f"{model}-{kind}", None, DRAFTER_LICENCE, storage="int8")


SPECS: dict[str, ModelSpec | LanguageSpec] = {
    spec.key: spec
    for spec in (
        _built_in("vae", "Playworld autoencoder", _vae),
        _built_in("clip", "Playworld CLIP", _clip),
        _built_in("unet", "Playworld UNet", _unet, "int8"),
        _built_in("control-canny", "Playworld ControlNet for edges", _controlnet, "int8"),
        _built_in("control-pose", "Playworld ControlNet for poses", _controlnet, "int8"),
        _built_in("joints", "Playworld joint regressor", _joints),
        _built_in("facts", "Playworld fact classifier", _facts),
        _built_in("glow", "Glow on Playworld tiles", _flow("glow"), "int8"),
        _built_in("nice", "NICE on grey Playworld tiles", _flow("nice"), "int8"),
        LanguageSpec("smollm2", "SmolLM2 135M Instruct", "SmolLM2-135M-Instruct.Q4_1.gguf", "Apache-2.0"),
        _drafter("smollm2", "ngram", "N-gram memory for SmolLM2"),
        _drafter("smollm2", "medusa", "Medusa heads for SmolLM2"),
        _drafter("smollm2", "eagle", "EAGLE layer for SmolLM2"),
        _drafter("smollm2", "mtp", "Multi-token heads for SmolLM2"),
        _drafter("smollm2", "draft", "Draft model for SmolLM2"),
        ModelSpec("builtin-moe", "Mixture of experts", _mixture, "builtin-moe", None, MIXTURE_LICENCE, storage="int8"),
    )
}


def spec(key: str) -> ModelSpec | LanguageSpec:
    """The entry of that key; raises CheckpointError with the known keys if there is none."""
    name, at, format = key.rpartition("@")
    if at and format in LANGUAGE_FORMATS and isinstance(found := spec(name), LanguageSpec):
        return replace(found, key=key, format=format)
    if key.startswith(LANGUAGE) and (path := Path(key.removeprefix(LANGUAGE))).is_absolute():
        return LanguageSpec(key, path.stem, str(path), "its makers'")
    if key not in SPECS:
        raise CheckpointError(f"There is no model named {key!r}.", f"Known are {', '.join(SPECS)}.")
    return SPECS[key]


def available(key: str) -> bool:
    """Whether all files of the model are there (not whether they are sound: `load` tells that)."""
    return spec(key).bytes > 0


def total_bytes() -> int:
    """Size on disk of all models that are there."""
    return sum(entry.bytes for entry in SPECS.values())


def load(
    key: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
) -> nn.Module | LanguageModel:
    """The model with its weights on the device, cast to dtype, in eval mode, without gradients.

    Convolutions get channels_last weights, the faster layout on CPUs and GPUs alike; large ones are packed for the CPU.
    A language model chooses its number format itself, unless its key names one: `smollm2@fp32`.
    """
    entry = spec(key)
    if isinstance(entry, LanguageSpec):
        return _load_language(entry, device, progress)
    if not available(key):
        raise CheckpointError(
            f"The weights of {entry.title} ({entry.file}) are missing in {weights_folder()}.",
            "Get the file again with the program, or train it: `python main.py run train-...`.",
        )
    model = load_into(entry.build, entry.path, entry.keymap, device, dtype, progress)
    return pack_convolutions(model.requires_grad_(False).to(memory_format=torch.channels_last))


def _load_language(entry: LanguageSpec, device: torch.device | str, progress: Progress | None) -> LanguageModel:
    from models.language.loading import load_language_model

    if not entry.path.exists():
        hint = "Fetch it on the Models page, or with `python main.py models fetch smollm2`." if not Path(entry.file).is_absolute() else ""
        raise CheckpointError(f"{entry.title} is missing: there is no {entry.path}.", hint)
    model = load_language_model(entry.path, device, progress, entry.format)
    return model if Path(entry.file).is_absolute() else replace(model, name=entry.title)
