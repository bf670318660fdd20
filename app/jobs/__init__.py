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
    "list-models": "app.jobs.models:ListModels",
    "fetch-model": "app.jobs.models:FetchModel",
    "look-up-hub": "app.jobs.models:LookUpHub",
    "fetch-hub": "app.jobs.models:FetchHub",
    "import-model": "app.jobs.models:ImportModel",
    "check-model": "app.jobs.models:CheckModel",
    "remove-model": "app.jobs.models:RemoveModel",
    "chat": "app.jobs.chat:Chat",
    "raw-template": "app.jobs.chat:RawTemplate",
    "chat-status": "app.jobs.chat:ChatStatus",
    "load-language-model": "app.jobs.chat:LoadLanguageModel",
    "lossless-stamp": "app.jobs.chat:LosslessStamp",
    "measure-plain": "app.jobs.chat:MeasurePlain",
    "gamma-curve": "app.jobs.chat:GammaCurve",
    "logit-lens": "app.jobs.chat:LogitLens",
    "choose-drafter": "app.jobs.chat:ChooseDrafter",
    "benchmark-decoding": "app.jobs.drafters:BenchmarkDecoding",
    "write-conversations": "app.jobs.drafters:WriteConversations",
    "vocabulary": "app.jobs.vocabulary:Vocabulary",
    "train-vae": "app.jobs.training:TrainVae",
    "train-clip": "app.jobs.training:TrainClip",
    "train-unet": "app.jobs.training:TrainUnet",
    "train-control": "app.jobs.training:TrainControl",
    "train-judge": "app.jobs.training:TrainJudge",
    "train-flow": "app.jobs.training:TrainFlow",
    "flow-tiles": "app.jobs.flows:FlowTiles",
    "train-drafter": "app.jobs.drafters:TrainDrafter",
    "evaluate-txt2img": "app.jobs.evaluation:EvaluateTxt2Img",
    "train-moe": "app.jobs.moe:TrainMoe",
    "evaluate-moe": "app.jobs.moe:EvaluateMoe",
    "routing": "app.jobs.routing:Routing",
    "routing-steer": "app.jobs.routing:RoutingSteer",
    "routing-pair": "app.jobs.routing:RoutingPair",
    "routing-specialisation": "app.jobs.routing:RoutingSpecialisation",
    "routing-status": "app.jobs.routing:RoutingStatus",
    "attention": "app.jobs.attention:Attention",
    "attention-overview": "app.jobs.attention:AttentionOverview",
    "attention-map": "app.jobs.attention:AttentionMap",
    "attention-profile": "app.jobs.attention:AttentionProfile",
    "attention-rollout": "app.jobs.attention:AttentionRollout",
    "attention-edit": "app.jobs.attention:AttentionEdit",
    "attention-lens": "app.jobs.attention:AttentionLens",
    "attention-export": "app.jobs.attention:AttentionExport",
    "attention-kinds": "app.jobs.attention_lab:AttentionKinds",
    "compare-attentions": "app.jobs.attention_lab:CompareAttentions",
    "attention-lengths": "app.jobs.attention_lab:AttentionLengths",
    "flash-tiles": "app.jobs.attention_lab:FlashTiles",
    "attention-scale": "app.jobs.attention_lab:AttentionScale",
    "train-attentions": "app.jobs.attention_lab:TrainAttentions",
    "train-rl": "app.jobs.rl:TrainRl",
    "rl-setup": "app.jobs.rl:RlSetup",
    "rl-runs": "app.jobs.rl:RlRuns",
    "rl-history": "app.jobs.rl:RlHistory",
    "play-rl": "app.jobs.rl:PlayRl",
    "rl-plane": "app.jobs.rl:RlPlane",
    "compare-rl": "app.jobs.rl:CompareRl",
    "export-rl": "app.jobs.rl:ExportRl",
    "plane-methods": "app.jobs.plane:PlaneMethods",
    "plane": "app.jobs.plane:Plane",
    "compare-plane": "app.jobs.plane:ComparePlane",
    "quadratic": "app.jobs.quadratic:Quadratic",
    "gradient": "app.jobs.derivatives:Gradient",
    "export-plane": "app.jobs.plane:ExportPlane",
}


def job_class(name: str) -> type[Job]:
    """The job class of that name; UserError if there is none."""
    if name not in JOBS:
        raise UserError(f"There is no job named {name!r}.", hint=f"Jobs: {', '.join(JOBS)}.")
    module, attribute = JOBS[name].split(":")
    return getattr(importlib.import_module(module), attribute)
