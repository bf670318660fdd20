"""The models that Glassbox knows by name: how each is built, where its weights lie, under which licence.

`load(key)` gives a ready network. The built-in weights were trained by this project (`assets/weights`, a model card
each); the folder can be changed with the environment variable GLASSBOX_WEIGHTS.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from models.checkpoint import CheckpointError, Keymap, Progress, find_files, load_into
from models.nn.packed import pack_convolutions

WEIGHTS = Path(__file__).resolve().parents[1] / "assets" / "weights"
BUILT_IN_LICENCE = "the project's own: trained here, on pictures made here"


def weights_folder() -> Path:
    """Where the built-in weights lie."""
    return Path(os.environ.get("GLASSBOX_WEIGHTS") or WEIGHTS)


@dataclass(frozen=True)
class ModelSpec:
    """One model: `file` is its path without suffix inside the weights folder; `keymap` None means our own names."""

    key: str
    title: str
    build: Callable[[], nn.Module]
    file: str
    keymap: Keymap | None
    licence: str

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


def _facts() -> nn.Module:
    from models.vision.judges import FactClassifier
    from models.vision.training import fact_config

    return FactClassifier(fact_config())


def _built_in(name: str, title: str, build: Callable[[], nn.Module]) -> ModelSpec:
    return ModelSpec(
        key=f"playworld/{name}", title=title, build=build, file=f"playworld-{name}", keymap=None,
        licence=BUILT_IN_LICENCE,
    )


SPECS = {
    spec.key: spec
    for spec in (
        _built_in("vae", "Playworld autoencoder", _vae),
        _built_in("clip", "Playworld CLIP", _clip),
        _built_in("unet", "Playworld UNet", _unet),
        _built_in("control-canny", "Playworld ControlNet for edges", _controlnet),
        _built_in("control-pose", "Playworld ControlNet for poses", _controlnet),
        _built_in("joints", "Playworld joint regressor", _joints),
        _built_in("facts", "Playworld fact classifier", _facts),
    )
}


def spec(key: str) -> ModelSpec:
    """The entry of that key; raises CheckpointError with the known keys if there is none."""
    if key not in SPECS:
        raise CheckpointError(f"There is no model named {key!r}.", f"Known are {', '.join(SPECS)}.")
    return SPECS[key]


def available(key: str) -> bool:
    """Whether all files of the model are there (not whether they are sound: `load` tells that)."""
    return spec(key).bytes > 0


def total_bytes() -> int:
    """Size on disk of all weights that are there."""
    return sum(entry.bytes for entry in SPECS.values())


def load(
    key: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    progress: Progress | None = None,
) -> nn.Module:
    """The model with its weights on the device, cast to dtype, in eval mode, without gradients.

    Convolutions get channels_last weights, the faster layout on CPUs and GPUs alike; large ones are packed for the CPU.
    """
    entry = spec(key)
    if not available(key):
        raise CheckpointError(
            f"The weights of {entry.title} ({entry.file}) are missing in {weights_folder()}.",
            "Get the file again with the program, or train it: `python main.py run train-...`.",
        )
    model = load_into(entry.build, entry.path, entry.keymap, device, dtype, progress)
    return pack_convolutions(model.requires_grad_(False).to(memory_format=torch.channels_last))
