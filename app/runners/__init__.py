"""Table of all runners: job name -> "module:function", imported by the worker when first needed."""

from __future__ import annotations

import importlib
from collections.abc import Callable

from app.protocol.errors import UserError

RUNNERS: dict[str, str] = {
    "txt2img": "app.runners.diffusion:txt2img",
    "check-controls": "app.runners.diffusion:check_controls",
    "decode-latent": "app.runners.diffusion:decode_latent",
    "edge-map": "app.runners.maps:edge_map",
    "pose-map": "app.runners.maps:pose_map",
    "pose-from-json": "app.runners.maps:pose_from_json",
    "pose-to-json": "app.runners.maps:pose_to_json",
    "pose-from-picture": "app.runners.maps:pose_from_picture",
    "playworld-scene": "app.runners.maps:playworld_scene",
    "open-picture": "app.runners.library:open_picture",
    "read-recipe": "app.runners.library:read_recipe",
    "save-to-gallery": "app.runners.library:save_to_gallery",
    "list-gallery": "app.runners.library:list_gallery",
    "delete-from-gallery": "app.runners.library:delete_from_gallery",
    "vocabulary": "app.runners.vocabulary:vocabulary",
    "train-vae": "app.runners.training:train_vae",
    "train-clip": "app.runners.training:train_clip",
    "train-unet": "app.runners.training:train_unet",
    "train-control": "app.runners.training:train_control",
    "train-judge": "app.runners.training:train_judge",
    "evaluate-txt2img": "app.runners.evaluation:evaluate_txt2img",
}


def runner(name: str) -> Callable:
    """The generator function that runs jobs of that name."""
    if name not in RUNNERS:
        raise UserError(f"Nothing runs jobs named {name!r}.")
    module, function = RUNNERS[name].split(":")
    return getattr(importlib.import_module(module), function)
