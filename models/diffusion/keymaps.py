"""What diffusers calls the parameters of the SD 1.x networks, and what we call them.

A table is `{their template: our template}`; `{i}` stands for a number, a template names a parameter or a whole
module (what follows it is carried over), `(our template, function)` transforms the tensor, `None` drops it on
purpose. `models.checkpoint` applies the tables strictly.
"""

from torch import Tensor

from models.diffusion.unet import UNetConfig
from models.diffusion.vae import VaeConfig


def linear_from_conv1x1(weight: Tensor) -> Tensor:
    """A 1x1 convolution over cells is a linear layer over tokens: (out, in, 1, 1) to (out, in)."""
    return weight.reshape(weight.shape[:2])


def _within(places: dict[str, str], parts: dict) -> dict:
    """Every part inside every place: `place.part` to `our place.our part`."""
    table = {}
    for their_place, our_place in places.items():
        for their_part, ours in parts.items():
            name, *transform = ours if isinstance(ours, tuple) else (ours,)
            our_name = f"{our_place}.{name}"
            table[f"{their_place}.{their_part}"] = (our_name, *transform) if transform else our_name
    return table


# --- AutoencoderKL ---

_VAE_RES = {"norm1": "norm1", "conv1": "conv1", "norm2": "norm2", "conv2": "conv2", "conv_shortcut": "shortcut"}

# The second set of names is that of files written before diffusers 0.15, where the projections were 1x1 convs.
_VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "out",
    "query.bias": "q.bias", "key.bias": "k.bias", "value.bias": "v.bias", "proj_attn.bias": "out.bias",
    "query.weight": ("q.weight", linear_from_conv1x1),
    "key.weight": ("k.weight", linear_from_conv1x1),
    "value.weight": ("v.weight", linear_from_conv1x1),
    "proj_attn.weight": ("out.weight", linear_from_conv1x1),
}

_HALVES = ("encoder", "decoder")

AUTOENCODER_KL = {
    **{f"{half}.{name}": f"{half}.{name}" for half in _HALVES for name in ("conv_in", "conv_out")},
    **{f"{half}.conv_norm_out": f"{half}.norm_out" for half in _HALVES},
    **_within({"encoder.down_blocks.{i}.resnets.{j}": "encoder.levels.{i}.blocks.{j}"}, _VAE_RES),
    **_within({"decoder.up_blocks.{i}.resnets.{j}": "decoder.levels.{i}.blocks.{j}"}, _VAE_RES),
    **_within({f"{half}.mid_block.resnets.0": f"{half}.middle.res1" for half in _HALVES}, _VAE_RES),
    **_within({f"{half}.mid_block.resnets.1": f"{half}.middle.res2" for half in _HALVES}, _VAE_RES),
    **_within({f"{half}.mid_block.attentions.0": f"{half}.middle.attention" for half in _HALVES}, _VAE_ATTENTION),
    "encoder.down_blocks.{i}.downsamplers.0.conv": "encoder.levels.{i}.resize.conv",
    "decoder.up_blocks.{i}.upsamplers.0.conv": "decoder.levels.{i}.resize.conv",
    "quant_conv": "to_moments",
    "post_quant_conv": "from_latent",
}

# --- UNet2DConditionModel and ControlNetModel ---

_RES = {**_VAE_RES, "time_emb_proj": "time"}

_ATTENTION = {"to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "out"}

_TRANSFORMER = {
    "norm": "norm",
    "proj_in.weight": ("proj_in.weight", linear_from_conv1x1),
    "proj_in.bias": "proj_in.bias",
    "proj_out.weight": ("proj_out.weight", linear_from_conv1x1),
    "proj_out.bias": "proj_out.bias",
    **{f"transformer_blocks.0.{norm}": f"block.{norm}" for norm in ("norm1", "norm2", "norm3")},
    **_within({"transformer_blocks.0.attn1": "block.self_attention"}, _ATTENTION),
    **_within({"transformer_blocks.0.attn2": "block.cross_attention"}, _ATTENTION),
    "transformer_blocks.0.ff.net.0.proj": "block.mlp.expand",
    "transformer_blocks.0.ff.net.2": "block.mlp.contract",
}

_ENCODER_AND_MIDDLE = {
    "time_embedding.linear_1": "time.linear1",
    "time_embedding.linear_2": "time.linear2",
    "conv_in": "encoder.conv_in",
    **_within({"down_blocks.{i}.resnets.{j}": "encoder.levels.{i}.stages.{j}.res"}, _RES),
    **_within({"down_blocks.{i}.attentions.{j}": "encoder.levels.{i}.stages.{j}.transformer"}, _TRANSFORMER),
    "down_blocks.{i}.downsamplers.0.conv": "encoder.levels.{i}.down.conv",
    **_within({"mid_block.resnets.0": "middle.res1", "mid_block.resnets.1": "middle.res2"}, _RES),
    **_within({"mid_block.attentions.0": "middle.transformer"}, _TRANSFORMER),
}

UNET_2D_CONDITION = {
    **_ENCODER_AND_MIDDLE,
    **_within({"up_blocks.{i}.resnets.{j}": "decoder.levels.{i}.stages.{j}.res"}, _RES),
    **_within({"up_blocks.{i}.attentions.{j}": "decoder.levels.{i}.stages.{j}.transformer"}, _TRANSFORMER),
    "up_blocks.{i}.upsamplers.0.conv": "decoder.levels.{i}.up.conv",
    "conv_norm_out": "decoder.norm_out",
    "conv_out": "decoder.conv_out",
}

CONTROLNET = {
    **_ENCODER_AND_MIDDLE,
    "controlnet_cond_embedding.conv_in": "hint.conv_in",
    "controlnet_cond_embedding.blocks.{i}": "hint.convs.{i}",
    "controlnet_cond_embedding.conv_out": "hint.conv_out",
    "controlnet_down_blocks.{i}": "zero_convs.{i}",
    "controlnet_mid_block": "zero_middle",
}

# --- the original single file: `model.diffusion_model`, `first_stage_model`, `cond_stage_model` in one ---

_COMPVIS_RES = {
    "in_layers.0": "norm1", "in_layers.2": "conv1", "emb_layers.1": "time",
    "out_layers.0": "norm2", "out_layers.3": "conv2", "skip_connection": "shortcut",
}

_COMPVIS_VAE_RES = {**{part: part for part in ("norm1", "conv1", "norm2", "conv2")}, "nin_shortcut": "shortcut"}

_COMPVIS_VAE_ATTENTION = {
    "norm": "norm",
    **{f"{part}.bias": f"{part}.bias" for part in "qkv"}, "proj_out.bias": "out.bias",
    **{f"{part}.weight": (f"{part}.weight", linear_from_conv1x1) for part in "qkv"},
    "proj_out.weight": ("out.weight", linear_from_conv1x1),
}

# The noise schedule as tables, and the moving averages of the weights: not read.
SINGLE_FILE_EXTRAS = dict.fromkeys(
    (
        "model_ema", "betas", "alphas_cumprod", "alphas_cumprod_prev", "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod", "log_one_minus_alphas_cumprod", "sqrt_recip_alphas_cumprod",
        "sqrt_recipm1_alphas_cumprod", "posterior_variance", "posterior_log_variance_clipped",
        "posterior_mean_coef1", "posterior_mean_coef2",
    )
)


def single_file_unet(config: UNetConfig) -> dict:
    """The UNet's part of a single file, whose blocks are numbered through all levels; the other parts are dropped."""
    table = {
        "time_embed.0": "time.linear1", "time_embed.2": "time.linear2", "input_blocks.0.0": "encoder.conv_in",
        **_within({"middle_block.0": "middle.res1", "middle_block.2": "middle.res2"}, _COMPVIS_RES),
        **_within({"middle_block.1": "middle.transformer"}, _TRANSFORMER),
        "out.0": "decoder.norm_out", "out.2": "decoder.conv_out",
    }
    levels, stages = len(config.block_out_channels), config.layers_per_block
    for i in range(levels):
        for j in range(stages):
            n, ours = 1 + i * (stages + 1) + j, f"encoder.levels.{i}.stages.{j}"
            table |= _within({f"input_blocks.{n}.0": f"{ours}.res"}, _COMPVIS_RES)
            table |= _within({f"input_blocks.{n}.1": f"{ours}.transformer"}, _TRANSFORMER)
        table[f"input_blocks.{(i + 1) * (stages + 1)}.0.op"] = f"encoder.levels.{i}.down.conv"
        for j in range(stages + 1):
            n, ours = i * (stages + 1) + j, f"decoder.levels.{i}.stages.{j}"
            table |= _within({f"output_blocks.{n}.0": f"{ours}.res"}, _COMPVIS_RES)
            table |= _within({f"output_blocks.{n}.1": f"{ours}.transformer"}, _TRANSFORMER)
        upsampler = 2 if config.attention[levels - 1 - i] else 1  # its place after the transformer, if there is one
        table[f"output_blocks.{(i + 1) * (stages + 1) - 1}.{upsampler}.conv"] = f"decoder.levels.{i}.up.conv"
    renamed = {f"model.diffusion_model.{theirs}": ours for theirs, ours in table.items()}
    return {**renamed, **SINGLE_FILE_EXTRAS, "first_stage_model": None, "cond_stage_model": None}


def single_file_vae(config: VaeConfig) -> dict:
    """The autoencoder's part of a single file, whose decoder levels are numbered backwards; the rest is dropped."""
    table = {"quant_conv": "to_moments", "post_quant_conv": "from_latent"}
    for half in _HALVES:
        table |= {f"{half}.{name}": f"{half}.{name}" for name in ("conv_in", "norm_out", "conv_out")}
        table |= _within({f"{half}.mid.block_{i}": f"{half}.middle.res{i}" for i in (1, 2)}, _COMPVIS_VAE_RES)
        table |= _within({f"{half}.mid.attn_1": f"{half}.middle.attention"}, _COMPVIS_VAE_ATTENTION)
    last = len(config.block_out_channels) - 1
    for i in range(last + 1):
        table |= _within({f"encoder.down.{i}.block.{{j}}": f"encoder.levels.{i}.blocks.{{j}}"}, _COMPVIS_VAE_RES)
        table |= _within({f"decoder.up.{last - i}.block.{{j}}": f"decoder.levels.{i}.blocks.{{j}}"}, _COMPVIS_VAE_RES)
        table[f"encoder.down.{i}.downsample.conv"] = f"encoder.levels.{i}.resize.conv"
        table[f"decoder.up.{last - i}.upsample.conv"] = f"decoder.levels.{i}.resize.conv"
    renamed = {f"first_stage_model.{theirs}": ours for theirs, ours in table.items()}
    return {**renamed, **SINGLE_FILE_EXTRAS, "model": None, "cond_stage_model": None}
