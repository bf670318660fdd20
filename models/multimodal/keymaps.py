"""What transformers calls the parameters of CLIP, and what we call them (the form: `models/diffusion/keymaps.py`)."""

from models.diffusion.keymaps import SINGLE_FILE_EXTRAS

_BLOCK = {
    "layer_norm1": "norm1",
    "layer_norm2": "norm2",
    "self_attn.q_proj": "attention.q",
    "self_attn.k_proj": "attention.k",
    "self_attn.v_proj": "attention.v",
    "self_attn.out_proj": "attention.out",
    "mlp.fc1": "mlp.expand",
    "mlp.fc2": "mlp.contract",
}

_TEXT = {
    "embeddings.token_embedding": "tokens",
    "embeddings.position_embedding.weight": "positions",
    "embeddings.position_ids": None,  # 0, 1, 2 ...: old files carry it
    **{f"encoder.layers.{{i}}.{theirs}": f"blocks.{{i}}.{ours}" for theirs, ours in _BLOCK.items()},
    "final_layer_norm": "norm_out",
}

_VISION = {
    "embeddings.class_embedding": "class_token",
    "embeddings.patch_embedding": "patches",
    "embeddings.position_embedding.weight": "positions",
    "embeddings.position_ids": None,
    "pre_layrnorm": "norm_in",  # their spelling
    **{f"encoder.layers.{{i}}.{theirs}": f"blocks.{{i}}.{ours}" for theirs, ours in _BLOCK.items()},
    "post_layernorm": "norm_out",
}


def _inside(tower: dict[str, str | None], theirs: str, ours: str = "") -> dict[str, str | None]:
    return {theirs + name: None if to is None else ours + to for name, to in tower.items()}


# A tower's file names its parameters with or without the tower, depending on the version that wrote it.
CLIP_TEXT = {**_TEXT, **_inside(_TEXT, "text_model.")}
CLIP_VISION = {**_VISION, **_inside(_VISION, "vision_model.")}

# The text tower inside an original Stable Diffusion 1.x file; the file's other parts are dropped.
SINGLE_FILE_CLIP_TEXT = {
    **_inside(_TEXT, "cond_stage_model.transformer.text_model."),
    **SINGLE_FILE_EXTRAS, "model": None, "first_stage_model": None,
}

CLIP = {
    **_inside(_TEXT, "text_model.", "text."),
    **_inside(_VISION, "vision_model.", "vision."),
    "text_projection": "text_projection",
    "visual_projection": "vision_projection",
    "logit_scale": "logit_scale",
}
