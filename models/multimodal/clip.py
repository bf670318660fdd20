"""CLIP (Radford et al., arXiv 2103.00020): a text tower and an image tower trained so that true pairs agree.

The contrastive loss is the mean of two cross-entropies over the logits exp(s) I T^T, rows (which caption belongs
to this picture) and columns (which picture to this caption), with I and T of length 1. The text tower's last
hidden states, after the final layer norm, are also what steers Stable Diffusion's UNet. Matches transformers'
`CLIPModel`, `CLIPTextModel`, `CLIPVisionModel`. Read next: `models/diffusion/unet.py`.
"""

import math
from dataclasses import dataclass, replace

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from models.nn.attention import Attention
from models.nn.mlp import Mlp
from models.nn.probe import Note, Probe

LOGIT_SCALE_INIT = math.log(1 / 0.07)  # 2.6593, section 2.5 of the paper
LOGIT_SCALE_MAX = 100.0                # exp(s) is clamped here, section 2.5


@dataclass(frozen=True)
class ClipTextConfig:
    """Sizes of the text tower; the picture of a caption is read where the token `eos_id` first stands."""

    vocab_size: int
    max_len: int
    dim: int
    n_layers: int
    n_heads: int
    ffn_dim: int
    activation: str
    eos_id: int

    def __post_init__(self) -> None:
        if not 0 <= self.eos_id < self.vocab_size:
            raise ValueError(f"end token {self.eos_id} lies outside the vocabulary of {self.vocab_size}")


@dataclass(frozen=True)
class ClipVisionConfig:
    """Sizes of the image tower."""

    image_size: int
    patch_size: int
    dim: int
    n_layers: int
    n_heads: int
    ffn_dim: int
    activation: str

    def __post_init__(self) -> None:
        if self.image_size % self.patch_size:
            raise ValueError(f"image side {self.image_size} is not divisible by the patch side {self.patch_size}")

    @property
    def n_patches(self) -> int:
        return (self.image_size // self.patch_size) ** 2


@dataclass(frozen=True)
class ClipConfig:
    """Both towers and the width of the space in which they meet."""

    text: ClipTextConfig
    vision: ClipVisionConfig
    joint_dim: int

    def with_vocabulary(self, vocab_size: int) -> "ClipConfig":
        """The same towers for another vocabulary whose end token is its last id."""
        return replace(self, text=replace(self.text, vocab_size=vocab_size, eos_id=vocab_size - 1))


CLIP_CONFIGS = {
    "sd15": ClipConfig(
        text=ClipTextConfig(
            vocab_size=49408, max_len=77, dim=768, n_layers=12, n_heads=12, ffn_dim=3072,
            activation="quick_gelu", eos_id=49407,
        ),
        vision=ClipVisionConfig(
            image_size=224, patch_size=14, dim=1024, n_layers=24, n_heads=16, ffn_dim=4096, activation="quick_gelu",
        ),
        joint_dim=768,
    ),
    # The vocabulary is set by `with_vocabulary`, see `models.catalog`; 512 is only its room.
    "playworld": ClipConfig(
        text=ClipTextConfig(
            vocab_size=512, max_len=32, dim=192, n_layers=4, n_heads=6, ffn_dim=768,
            activation="quick_gelu", eos_id=511,
        ),
        vision=ClipVisionConfig(
            image_size=128, patch_size=16, dim=192, n_layers=6, n_heads=6, ffn_dim=768, activation="quick_gelu",
        ),
        joint_dim=128,
    ),
}


class Block(nn.Module):
    """A pre-norm transformer block: x += attention(norm x); x += mlp(norm x)."""

    def __init__(self, dim: int, n_heads: int, ffn_dim: int, activation: str) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attention = Attention(dim, n_heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, ffn_dim, activation)

    def forward(self, x: Tensor, causal: bool, note: Note | None = None) -> Tensor:
        x = x + self.attention(self.norm1(x), causal=causal, note=note)     # (B, T, dim)
        return x + self.mlp(self.norm2(x))                                  # (B, T, dim)

    def init_weights(self, n_layers: int) -> None:
        """OpenAI's start: residual branches shrink with depth, so that their sum keeps its size."""
        dim = self.attention.q.in_features
        for layer in (self.attention.q, self.attention.k, self.attention.v):
            nn.init.normal_(layer.weight, std=dim**-0.5)
            nn.init.zeros_(layer.bias)
        for layer in (self.attention.out, self.mlp.contract):
            nn.init.normal_(layer.weight, std=(2 * n_layers * dim) ** -0.5)
            nn.init.zeros_(layer.bias)
        nn.init.normal_(self.mlp.expand.weight, std=(2 * dim) ** -0.5)
        nn.init.zeros_(self.mlp.expand.bias)


class ClipText(nn.Module):
    """Token and position embeddings, causal transformer blocks, final layer norm."""

    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocab_size, config.dim)
        self.positions = nn.Parameter(torch.empty(config.max_len, config.dim))
        self.blocks = nn.ModuleList(
            Block(config.dim, config.n_heads, config.ffn_dim, config.activation) for _ in range(config.n_layers)
        )
        self.norm_out = nn.LayerNorm(config.dim)
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.01)
        for block in self.blocks:
            block.init_weights(config.n_layers)

    def forward(self, ids: Tensor, probe: Probe | None = None) -> Tensor:
        """Hidden states (B, T, dim) after the final norm, of token ids (B, T), T <= max_len."""
        if ids.shape[1] > self.config.max_len:
            raise ValueError(f"{ids.shape[1]} tokens do not fit a text tower of {self.config.max_len}")
        x = self.tokens(ids) + self.positions[: ids.shape[1]]               # (B, T, dim)
        for layer, block in enumerate(self.blocks):
            x = block(x, causal=True, note=None if probe is None else probe.at(layer))  # (B, T, dim)
        return self.norm_out(x)                                             # (B, T, dim)

    def pooled(self, hidden: Tensor, ids: Tensor) -> Tensor:
        """The hidden state (B, dim) at each row's first end token; it has seen the whole caption."""
        at = (ids == self.config.eos_id).int().argmax(dim=1)                # (B,)
        return hidden[torch.arange(len(ids), device=ids.device), at]        # (B, dim)


class ClipVision(nn.Module):
    """A vision transformer: patches and a class token, transformer blocks, no mask."""

    def __init__(self, config: ClipVisionConfig) -> None:
        super().__init__()
        self.config = config
        self.patches = nn.Conv2d(3, config.dim, config.patch_size, stride=config.patch_size, bias=False)
        self.class_token = nn.Parameter(torch.empty(config.dim))
        self.positions = nn.Parameter(torch.empty(1 + config.n_patches, config.dim))
        self.norm_in = nn.LayerNorm(config.dim)
        self.blocks = nn.ModuleList(
            Block(config.dim, config.n_heads, config.ffn_dim, config.activation) for _ in range(config.n_layers)
        )
        self.norm_out = nn.LayerNorm(config.dim)  # of the class token only
        nn.init.normal_(self.class_token, std=config.dim**-0.5)
        nn.init.normal_(self.positions, std=config.dim**-0.5)
        for block in self.blocks:
            block.init_weights(config.n_layers)

    def forward(self, x: Tensor, probe: Probe | None = None) -> Tensor:
        """Hidden states (B, 1 + P, dim), class token first, of pictures (B, 3, image_size, image_size)."""
        x = self._begin(x)                                                  # (B, 1 + P, dim)
        for layer, block in enumerate(self.blocks):
            x = block(x, causal=False, note=None if probe is None else probe.at(layer))  # (B, 1 + P, dim)
        return x

    def patch_values(self, x: Tensor) -> Tensor:
        """What each patch itself gives to the last layer's attention, normed (B, P, dim), to be compared with texts patch by patch.

        The last layer gathers the picture into the class token, and mixes the patches meanwhile; left out is its mixing
        (MaskCLIP, arXiv 2112.01071, section 3.1).
        """
        x, last = self._begin(x), self.blocks[-1]
        for block in self.blocks[:-1]:
            x = block(x, causal=False)                                      # (B, 1 + P, dim)
        return self.norm_out(last.attention.out(last.attention.v(last.norm1(x[:, 1:]))))  # (B, P, dim)

    def _begin(self, x: Tensor) -> Tensor:
        """Patches with their positions behind the class token, (B, 1 + P, dim)."""
        side = self.config.image_size
        if x.shape[-2:] != (side, side):
            raise ValueError(f"the image tower takes {side} x {side} pixels, not {x.shape[-1]} x {x.shape[-2]}")
        x = rearrange(self.patches(x), "b c h w -> b (h w) c")              # (B, P, dim)
        first = self.class_token.to(x.dtype).expand(len(x), 1, -1)          # (B, 1, dim)
        return self.norm_in(torch.cat([first, x], dim=1) + self.positions)  # (B, 1 + P, dim)

    def pooled(self, hidden: Tensor) -> Tensor:
        """The normed class token, (B, dim)."""
        return self.norm_out(hidden[:, 0])                                  # (B, dim)


class Clip(nn.Module):
    """Both towers, their projections into the joint space and the learned log temperature."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.config = config
        self.text = ClipText(config.text)
        self.vision = ClipVision(config.vision)
        self.text_projection = nn.Linear(config.text.dim, config.joint_dim, bias=False)
        self.vision_projection = nn.Linear(config.vision.dim, config.joint_dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(LOGIT_SCALE_INIT))
        nn.init.normal_(self.text_projection.weight, std=config.text.dim**-0.5)
        nn.init.normal_(self.vision_projection.weight, std=config.vision.dim**-0.5)

    def encode_text(self, ids: Tensor) -> Tensor:
        """Features (B, joint_dim) of length 1, of token ids (B, T)."""
        pooled = self.text.pooled(self.text(ids), ids)                      # (B, dim)
        return normalize(self.text_projection(pooled).float(), dim=-1)      # (B, joint)

    def encode_image(self, x: Tensor) -> Tensor:
        """Features (B, joint_dim) of length 1, of pictures (B, 3, S, S)."""
        pooled = self.vision.pooled(self.vision(x))                         # (B, dim)
        return normalize(self.vision_projection(pooled).float(), dim=-1)    # (B, joint)

    def forward(self, x: Tensor, ids: Tensor) -> Tensor:
        """Similarity logits (pictures, captions)."""
        return similarity(self.encode_image(x), self.encode_text(ids), self.logit_scale)

    def loss(self, x: Tensor, ids: Tensor) -> Tensor:
        """Contrastive loss of a batch in which picture i belongs to caption i."""
        return contrastive_loss(self(x, ids))


def similarity(image_features: Tensor, text_features: Tensor, logit_scale: Tensor) -> Tensor:
    """min(exp(s), 100) I T^T: (pictures, captions) from features (B, joint) of length 1."""
    return logit_scale.exp().clamp(max=LOGIT_SCALE_MAX) * image_features @ text_features.T


def contrastive_loss(logits: Tensor) -> Tensor:
    """(cross-entropy of rows + cross-entropy of columns) / 2 with the true pairs on the diagonal; logits (B, B)."""
    pair = torch.arange(len(logits), device=logits.device)                  # (B,)
    return 0.5 * (cross_entropy(logits, pair) + cross_entropy(logits.T, pair))
