"""Jobs of the attention lab: one head's q, k, v under many attentions, FlashAttention tile by tile, scales, and training side by side.

A mechanism is written as its name, with settings behind a colon: "window:width=64,sinks=4". What each job gives back
(`app/protocol/attention_lab.py`):

    attention-kinds      files "kinds": tuple[MechanismKind, …]; facts model_there (is SmolLM2 on this machine). Loads nothing
    compare-attentions   Records "head": LabHead, "mechanism": MechanismView, one each; facts table, head
    attention-lengths    Records "head", "length": LengthRow; facts table; files "lengths.json"
    flash-tiles          Records "head", "plan": TilePlan, "tile": TileView, one each; facts difference, moved_bytes, naive_bytes,
                         and of the row with the largest score without subtracting the maximum in fp16: fp16_row, fp16_top, fp16_keys,
                         fp16_lost (weights that are no numbers)
    attention-scale      Record "head"; files "report": ScaleReport
    train-attentions     Records "learners": tuple[Learner, …], "train": tuple[LearnerPoint, …] (at most every 200 ms), "test":
                         tuple[LearnerPoint, …]; facts table, scores
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from app.protocol.attention_lab import Settings, Value
from app.protocol.errors import UserError
from app.protocol.job import Job, knob

EXAMPLE = (
    "The quick brown fox jumps over the lazy dog. The quick brown fox jumps over the lazy dog, and the dog, whose name is Rex, does not "
    "mind at all. Rex has seen many foxes jump. When the fox has gone, Rex gets up, walks once around the house, and lies down again in "
    "the sun. In the evening the children come home from school and tell him what they have learned about foxes: that they live in the "
    "woods, that they eat mice and berries, and that the quick brown fox jumps over the lazy dog."
)
COMPARED = (
    "softmax", "fused", "flash", "window:width=16,sinks=1", "strided:stride=12", "fixed:stride=12", "block_sparse:block=16", "top_k", "lsh",
    "low_rank:rank=4,chunk=16", "performer", "linear", "gau", "gau_chunked",
)  # fmt: skip
TIMED = ("softmax", "fused", "window:width=64", "lsh:buckets=16", "performer", "linear")
TRAINED = ("softmax", "window:width=8", "linear")


@dataclass(frozen=True, kw_only=True)
class HeadJob(Job):
    """What all share that work on one head: whose q, k and v."""

    source: Literal["model", "random"] = knob(
        "model", top=True, title="q, k, v", help="Of a head of a language model that reads a text, or drawn at random from N(0, 1)."
    )
    text: str = knob(EXAMPLE, multiline=True, top=True, title="Text", help="What the model reads.")
    layer: int = knob(5, lo=0, hi=1000, top=True, title="Layer", help="Of the model, counted from 0.")
    head: int = knob(0, lo=0, hi=1000, top=True, title="Head", help="Of the layer, counted from 0.")
    tokens: int = knob(128, lo=2, hi=2048, title="Tokens", help="Random heads: length of the text.")
    width: int = knob(64, lo=2, hi=1024, title="Width", help="Random heads: d, the length of q, k and v of a token.")
    seed: int = knob(0, lo=0, hi=2**31 - 1, title="Seed", help="Random heads: which.")
    causal: bool = knob(True, title="Causal", help="A query sees no later keys, as in a language model.")
    model: str = knob("smollm2", title="Model", help="Language model: name in the catalog, or language:PATH.")


@dataclass(frozen=True, kw_only=True)
class AttentionKinds(Job):
    """The table of attentions with their knobs."""


@dataclass(frozen=True, kw_only=True)
class CompareAttentions(HeadJob):
    """One q, k, v, many attentions: map, error against softmax, cost and time of each."""

    mechanisms: tuple[str, ...] = knob(COMPARED, title="Mechanisms", help="Names with settings, such as window:width=64.")
    most: int = knob(192, lo=8, hi=2048, title="Most values", help="Longest side of a map; more is averaged in blocks.")
    repeats: int = knob(3, lo=1, hi=100, title="Repeats", help="Calls of which the shortest time counts.")


@dataclass(frozen=True, kw_only=True)
class AttentionLengths(HeadJob):
    """Cost, measured time and error over the length of the text."""

    mechanisms: tuple[str, ...] = knob(TIMED, title="Mechanisms", help="Names with settings, such as window:width=64.")
    longest: int = knob(16384, lo=64, hi=1_048_576, title="Longest", unit="tokens", help="Formulas are evaluated up to here.")
    measured: int = knob(2048, lo=16, hi=16384, title="Measured to", unit="tokens", help="Calls are timed up to here.")
    repeats: int = knob(2, lo=1, hi=100, title="Repeats", help="Calls of which the shortest time counts.")


@dataclass(frozen=True, kw_only=True)
class FlashTiles(HeadJob):
    """FlashAttention tile by tile, beside the naive way."""

    tile_q: int = knob(32, lo=1, hi=512, title="Queries a tile", help="Rows of a tile.")
    tile_k: int = knob(16, lo=1, hi=512, title="Keys a tile", help="Columns of a tile.")
    phase: Literal["forward", "backward"] = knob("forward", title="Pass", help="Outputs, or gradients from the weights computed again.")
    length: int = knob(96, lo=2, hi=512, title="Length", unit="tokens", help="How many tokens of the text are worked on.")


@dataclass(frozen=True, kw_only=True)
class AttentionScale(HeadJob):
    """Why scores are divided by sqrt(d): sharpness and gradient of a softmax under scale d^exponent."""

    exponent: float = knob(-0.5, lo=-1.5, hi=0.5, step=0.05, title="Exponent e", help="Scores are multiplied with d^e; -0.5 is 1/sqrt(d).")
    curves: bool = knob(True, title="Curves", help="Also the curves over widths (random heads) or scales (a model's head).")


@dataclass(frozen=True, kw_only=True)
class TrainAttentions(Job):
    """Small language models that differ in their attention alone, trained in turns on the same batches."""

    grad: ClassVar[bool] = True
    interactive: ClassVar[bool] = False

    task: Literal["recall", "copy", "captions"] = knob(
        "recall", top=True, title="Task",
        help="recall: a key's value; copy: a pattern again; captions: sentences about pictures.",
    )  # fmt: skip
    mechanisms: tuple[str, ...] = knob(TRAINED, title="Mechanisms", help="Names with settings, such as window:width=8.")
    steps: int = knob(400, lo=1, hi=50_000, top=True, title="Updates", help="Of each model.")
    length: int = knob(64, lo=8, hi=4096, top=True, title="Text length", unit="tokens", help="Tokens of a text.")
    batch_size: int = knob(32, lo=1, hi=1024, title="Batch", unit="texts", help="Texts an update sees.")
    lr: float = knob(3e-3, lo=1e-6, hi=1.0, title="Learning rate", help="Peak rate of AdamW, the same for all.")
    dim: int = knob(64, lo=8, hi=512, step=8, title="Width", help="Of the model; heads share it.")
    n_layers: int = knob(2, lo=1, hi=8, title="Layers", help="Blocks of a model.")
    n_heads: int = knob(2, lo=1, hi=16, title="Heads", help="Of each block.")
    seed: int = knob(0, lo=0, hi=2**31 - 1, title="Seed", help="First weights and batches, the same for all.")
    test_every: int = knob(50, lo=1, hi=100_000, title="Test every", unit="updates", help="How often each is tested on texts apart.")


# --- mechanisms as words ---


def written(name: str, settings: dict[str, Value] | Settings = ()) -> str:
    """A mechanism as jobs name it: "window:width=64,sinks=4"."""
    pairs = dict(settings).items()
    return f"{name}:{','.join(f'{knob}={value}' for knob, value in pairs)}" if pairs else name


def read(words: str) -> tuple[str, dict[str, str]]:
    """Name and settings of a written mechanism; values are still words."""
    name, _, rest = words.partition(":")
    settings: dict[str, str] = {}
    for part in filter(None, rest.split(",")):
        knob_, equals, value = part.partition("=")
        if not equals or not knob_.strip() or not value.strip():
            raise UserError(f"{words[:60]!r} is no mechanism.", hint="Write its name and settings such as window:width=64,sinks=4.")
        settings[knob_.strip()] = value.strip()
    return name.strip(), settings
