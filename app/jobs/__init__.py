"""Table of all jobs: name -> "module:Class", imported only when asked for."""

from __future__ import annotations

import importlib

from app.protocol.errors import UserError
from app.protocol.job import Job

JOBS: dict[str, str] = {
    "txt2img": "app.jobs.diffusion:Txt2Img",
    "check-controls": "app.jobs.diffusion:CheckControls",
    "decode-latent": "app.jobs.diffusion:DecodeLatent",
    "edge-map": "app.jobs.maps:EdgeMap",
    "pose-map": "app.jobs.maps:PoseMap",
    "pose-from-json": "app.jobs.maps:PoseFromJson",
    "pose-to-json": "app.jobs.maps:PoseToJson",
    "pose-from-picture": "app.jobs.maps:PoseFromPicture",
    "playworld-scene": "app.jobs.maps:PlayworldScene",
    "open-picture": "app.jobs.library:OpenPicture",
    "read-recipe": "app.jobs.library:ReadRecipe",
    "save-to-gallery": "app.jobs.library:SaveToGallery",
    "list-gallery": "app.jobs.library:ListGallery",
    "delete-from-gallery": "app.jobs.library:DeleteFromGallery",
    "vocabulary": "app.jobs.vocabulary:Vocabulary",
    "train-vae": "app.jobs.training:TrainVae",
    "train-clip": "app.jobs.training:TrainClip",
    "train-unet": "app.jobs.training:TrainUnet",
    "train-control": "app.jobs.training:TrainControl",
    "train-judge": "app.jobs.training:TrainJudge",
    "evaluate-txt2img": "app.jobs.evaluation:EvaluateTxt2Img",
}


def job_class(name: str) -> type[Job]:
    """The job class of that name; UserError if there is none."""
    if name not in JOBS:
        raise UserError(f"There is no job named {name!r}.", hint=f"Jobs: {', '.join(JOBS)}.")
    module, attribute = JOBS[name].split(":")
    return getattr(importlib.import_module(module), attribute)
