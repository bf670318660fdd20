"""Rotary position embedding (Su et al., arXiv 2104.09864, eq. 34) and the ways in which it is stretched.

Each pair of neighbouring features is a complex number that is turned by the angle p f_i at position p, with
f_i = theta^(-2i / head_dim). A score q k^T then depends on the two positions through their difference only. The
pairs are neighbours here, as in the paper; files in the half-split layout (feature i with i + head_dim/2) are
reordered when they are loaded, see `models/language/keymaps.py`.

Models trained on short texts are stretched to long ones by changing the frequencies: all alike ("linear", Chen et
al., arXiv 2306.15595), through the base ("dynamic" NTK), by wavelength ("llama3"; "yarn", Peng et al., arXiv
2309.00071), or by factors listed in the file ("factors", as GGUF has it). Equal to transformers' for each kind. With
"dynamic" a cached key keeps the base it was turned with, there as here, so a text that outgrows its original context
is not exactly what one pass over all of it gives.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

FIRST_TABLE = 1024  # positions in the first table of rotations; 256 KB for heads of 64
SCALINGS = ("linear", "dynamic", "llama3", "yarn", "factors")


@dataclass(frozen=True)
class RopeScaling:
    """How the frequencies are stretched; `original_len` is the context the model was trained on at first."""

    kind: str
    factor: float
    original_len: int
    low_freq_factor: float = 1.0   # llama3
    high_freq_factor: float = 4.0  # llama3
    beta_fast: float = 32.0        # yarn: turns within original_len above which a frequency stays
    beta_slow: float = 1.0         # yarn: turns below which it is divided by the factor
    truncate: bool = True          # yarn: round the border to whole features
    attention_factor: float | None = None  # yarn: scale of queries and keys; None = 0.1 ln(factor) + 1
    factors: tuple[float, ...] = ()        # factors: divisor of each frequency

    def __post_init__(self) -> None:
        if self.kind not in SCALINGS:
            raise ValueError(f"rope scaling {self.kind!r} is not one of {', '.join(SCALINGS)}")
        if not (math.isfinite(self.factor) and self.factor > 0 and self.original_len > 0):
            raise ValueError(f"rope scaling by {self.factor} from {self.original_len} positions makes no sense")


def frequencies(head_dim: int, theta: float, scaling: RopeScaling | None = None, length: int = 0) -> Tensor:
    """Angles per position, (head_dim/2,) in fp32; `length` is how long the text is, which only "dynamic" asks."""
    if scaling is not None and scaling.kind == "dynamic":
        stretch = scaling.factor * max(length, scaling.original_len) / scaling.original_len - (scaling.factor - 1)
        theta = theta * stretch ** (head_dim / (head_dim - 2))
    i = torch.arange(0, head_dim, 2, dtype=torch.float32)                   # (head_dim/2,)
    plain = 1.0 / theta ** (i / head_dim)                                   # (head_dim/2,)
    if scaling is None or scaling.kind == "dynamic":
        return plain
    if scaling.kind == "linear":
        return plain / scaling.factor
    if scaling.kind == "factors":
        return plain / torch.tensor(scaling.factors, dtype=torch.float32)
    return _llama3(plain, scaling) if scaling.kind == "llama3" else _yarn(plain, theta, scaling)


def _llama3(plain: Tensor, scaling: RopeScaling) -> Tensor:
    """Waves that fit `high_freq_factor` times into the original context stay, long ones are divided, smooth between."""
    turns = scaling.original_len * plain / (2 * math.pi)                    # (head_dim/2,)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    share = ((turns - low) / (high - low)).clamp(0, 1)                      # 1 = stays as it is
    return plain * share + plain / scaling.factor * (1 - share)


def _yarn(plain: Tensor, theta: float, scaling: RopeScaling) -> Tensor:
    """NTK by parts, eq. 17 to 19: a linear ramp over the features between beta_fast and beta_slow turns."""
    head_dim = 2 * len(plain)

    def feature(turns: float) -> float:
        return head_dim * math.log(scaling.original_len / (turns * 2 * math.pi)) / (2 * math.log(theta))

    low, high = feature(scaling.beta_fast), feature(scaling.beta_slow)
    if scaling.truncate:
        low, high = math.floor(low), math.ceil(high)
    low, high = max(low, 0), min(high, head_dim - 1)
    span = (high - low) or 0.001  # one feature wide: a step
    share = 1 - ((torch.arange(len(plain), dtype=torch.float32) - low) / span).clamp(0, 1)
    return plain * share + plain / scaling.factor * (1 - share)


def magnitude(scaling: RopeScaling | None) -> float:
    """What rotated queries and keys are multiplied with: 1, but for yarn (eq. 22), which sharpens attention."""
    if scaling is None or scaling.kind != "yarn":
        return 1.0
    if scaling.attention_factor is not None:
        return scaling.attention_factor
    return 0.1 * math.log(scaling.factor) + 1.0 if scaling.factor > 1 else 1.0


def rotations(positions: Tensor, head_dim: int, theta: float, scaling: RopeScaling | None = None, length: int = 0) -> Tensor:
    """The numbers exp(i p f) that pairs are multiplied with: positions (...) to complex64 (..., head_dim/2)."""
    f = frequencies(head_dim, theta, scaling, length).to(positions.device)  # (head_dim/2,)
    angles = positions.float()[..., None] * f                               # (..., head_dim/2)
    return torch.polar(torch.full_like(angles, magnitude(scaling)), angles)


class RotationTable:
    """`rotations` of the positions 0, 1, 2 ... kept from call to call: a table made from the config, not a weight."""

    def __init__(self, head_dim: int, theta: float, scaling: RopeScaling | None) -> None:
        self.head_dim, self.theta, self.scaling = head_dim, theta, scaling
        self._rows = torch.empty(0, 1, head_dim // 2, dtype=torch.complex64)
        self._length = 0

    def rows(self, start: int, end: int, device: torch.device) -> Tensor:
        """(end - start, 1, head_dim/2) for the positions start to end - 1 of a text of `end` tokens."""
        self._prepare(end, device)
        return self._rows[start:end]

    def at(self, positions: Tensor) -> Tensor:
        """(T, 1, head_dim/2) or (B, T, 1, head_dim/2) for any positions (T,) or (B, T)."""
        self._prepare(int(positions.max()) + 1, positions.device)
        return self._rows[positions]

    def _prepare(self, end: int, device: torch.device) -> None:
        dynamic = self.scaling is not None and self.scaling.kind == "dynamic" and end > self.scaling.original_len
        length = end if dynamic else 0  # beyond the original context "dynamic" turns everything by another base
        if end <= len(self._rows) and length == self._length and self._rows.device == device:
            return
        room = max(end, FIRST_TABLE) if dynamic else 1 << max(end - 1, FIRST_TABLE - 1).bit_length()
        positions = torch.arange(room, device=device)
        self._rows = rotations(positions, self.head_dim, self.theta, self.scaling, length)[:, None]
        self._length = length


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Turn the neighbouring pairs of x (B, T, H, D) by `turn` (T or B T, 1, D/2): a complex product, in fp32, in place."""
    pairs = x.view(*x.shape[:-1], -1, 2)                                    # (B, T, H, D/2, 2)
    if x.dtype is torch.float32:
        torch.view_as_complex(pairs).mul_(turn)                             # (B, T, H, D/2)
    else:
        pairs.copy_(torch.view_as_real(torch.view_as_complex(pairs.float()) * turn))
    return x


def half_split_to_pairs(weight: Tensor, n_heads: int) -> Tensor:
    """Reorder the rows of a query or key matrix (H D, in) from the half-split layout to neighbouring pairs."""
    rows, *rest = weight.shape
    return weight.reshape(n_heads, 2, rows // n_heads // 2, *rest).transpose(1, 2).reshape(rows, *rest)


def pairs_to_half_split(weight: Tensor, n_heads: int) -> Tensor:
    """The inverse of `half_split_to_pairs`."""
    rows, *rest = weight.shape
    return weight.reshape(n_heads, rows // n_heads // 2, 2, *rest).transpose(1, 2).reshape(rows, *rest)
