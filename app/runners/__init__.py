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
    "list-models": "app.runners.models:list_models",
    "fetch-model": "app.runners.models:fetch_model",
    "look-up-hub": "app.runners.models:look_up_hub",
    "fetch-hub": "app.runners.models:fetch_hub",
    "import-model": "app.runners.models:import_model",
    "check-model": "app.runners.models:check_model",
    "remove-model": "app.runners.models:remove_model",
    "chat": "app.runners.chat:chat",
    "raw-template": "app.runners.chat:raw_template",
    "chat-status": "app.runners.chat:chat_status",
    "load-language-model": "app.runners.chat:load_language_model",
    "lossless-stamp": "app.runners.chat_analysis:lossless_stamp",
    "measure-plain": "app.runners.chat_analysis:measure_plain",
    "gamma-curve": "app.runners.chat_gamma:gamma_curve",
    "logit-lens": "app.runners.chat_analysis:logit_lens",
    "choose-drafter": "app.runners.decoding_bench:choose_drafter",
    "benchmark-decoding": "app.runners.decoding_bench:benchmark_decoding",
    "write-conversations": "app.runners.conversations:write_conversations",
    "vocabulary": "app.runners.vocabulary:vocabulary",
    "train-vae": "app.runners.training:train_vae",
    "train-clip": "app.runners.training:train_clip",
    "train-unet": "app.runners.training:train_unet",
    "train-control": "app.runners.training:train_control",
    "train-judge": "app.runners.training:train_judge",
    "train-flow": "app.runners.training:train_flow",
    "flow-tiles": "app.runners.flows:flow_tiles",
    "train-drafter": "app.runners.drafter_training:train_drafter",
    "evaluate-txt2img": "app.runners.evaluation:evaluate_txt2img",
    "train-moe": "app.runners.moe:train_moe",
    "evaluate-moe": "app.runners.moe_evaluation:evaluate_moe",
    "routing": "app.runners.routing:routing",
    "routing-steer": "app.runners.routing_steer:routing_steer",
    "routing-pair": "app.runners.routing_steer:routing_pair",
    "routing-specialisation": "app.runners.routing_specialisation:routing_specialisation",
    "routing-status": "app.runners.routing:routing_status",
    "attention": "app.runners.attention:attention",
    "attention-overview": "app.runners.attention:overview",
    "attention-map": "app.runners.attention:weight_map",
    "attention-profile": "app.runners.attention:profile",
    "attention-rollout": "app.runners.attention:rollout",
    "attention-edit": "app.runners.attention_edit:edit",
    "attention-lens": "app.runners.attention_edit:lens",
    "attention-export": "app.runners.attention:export",
    "attention-kinds": "app.runners.attention_lab:attention_kinds",
    "compare-attentions": "app.runners.attention_lab:compare_attentions",
    "attention-lengths": "app.runners.attention_lab:attention_lengths",
    "flash-tiles": "app.runners.attention_lab_tiles:flash_tiles",
    "attention-scale": "app.runners.attention_lab:attention_scale",
    "train-attentions": "app.runners.attention_lab_training:train_attentions",
    "train-rl": "app.runners.rl:train_rl",
    "rl-setup": "app.runners.rl_setup:rl_setup",
    "rl-runs": "app.runners.rl_look:rl_runs",
    "rl-history": "app.runners.rl_look:rl_history",
    "play-rl": "app.runners.rl_look:play_rl",
    "rl-plane": "app.runners.rl_look:rl_plane",
    "compare-rl": "app.runners.rl_look:compare_rl",
    "export-rl": "app.runners.rl_look:export_rl",
    "plane-methods": "app.runners.plane:plane_methods",
    "plane": "app.runners.plane:plane",
    "compare-plane": "app.runners.plane_compare:compare_plane",
    "quadratic": "app.runners.quadratic:quadratic",
    "gradient": "app.runners.derivatives:gradient",
    "export-plane": "app.runners.plane_export:export_plane",
}


def runner(name: str) -> Callable:
    """The generator function that runs jobs of that name."""
    if name not in RUNNERS:
        raise UserError(f"Nothing runs jobs named {name!r}.")
    module, function = RUNNERS[name].split(":")
    return getattr(importlib.import_module(module), function)
