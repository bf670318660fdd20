"""Jobs of the attention panel: what a model looked at, by layer, head and token.

Every job names its whole source, so that equal jobs give equal maps; the worker keeps the queries and keys of the last few sources
(`app/runners/captures.py`), so that only the first job of a source runs the model. What each gives back (`app/protocol/attention.py`):

    attention            for the command line: files "attention.npz" (weights (heads, T, S) fp32, tokens, column_tokens, layer, scale),
                         "attention.png": Image, "tokens": Tokens; facts layer, heads, tokens, columns, caption, number_format, seconds
    attention-overview   files "looked": Looked, "overview": OverviewMaps (not of a growing text); Records on the way: "looked", and
                         "overview" after each few layers, so that the grid fills up
    attention-map        files "map": WeightMap
    attention-profile    files "profile": TokenProfile
    attention-rollout    files "map": WeightMap (layer = the last one that was multiplied in)
    attention-sum        files "map": WeightMap (in the grid of `layer`)
    attention-edit       files "report": EditReport; facts sentence, before_text, after_text, before_loss, after_loss
    attention-lens       files "rows": tuple[LensRow, …] (`app/protocol/chat.py`); facts position, token, next
    attention-export     files "attention.npz" (every chosen head, each weight of the part), "attention.csv" (their mean, as the map shows
                         it but for the normalisation), "attention.png" (as the map shows it); facts caption. Of a rollout or a sum,
                         which have no heads, "attention.npz" holds one map, and no scale
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, Literal

from app.jobs.attention_lab import TrainAttentions
from app.protocol.attention import HeadEdit
from app.protocol.errors import UserError
from app.protocol.job import Job, field_types, knob
from app.protocol.payloads import Image

Source = Literal["text", "clip-text", "clip-picture", "clip-words", "unet-self", "unet-words", "small"]
SOURCES: dict[str, str] = {
    "text": "Language model: text onto itself",
    "clip-text": "CLIP: words onto words",
    "clip-picture": "CLIP: patches onto patches",
    "clip-words": "CLIP: words to patches (similarity)",
    "unet-self": "Diffusion UNet: cells onto cells",
    "unet-words": "Diffusion UNet: cells to prompt words",
    "small": "Small model trained in the lab",
}
"""clip-words is no attention of the model: cosine similarities of word states and patch states in the shared space, said so in the map."""
EXAMPLE = (
    "The quick brown fox jumps over the lazy dog. The quick brown fox jumps over the lazy dog, and the dog, whose name is Rex, "
    "does not mind at all."
)


SMALL_HINT = "Write softmax task=copy steps=200."


def small_training(words: str) -> TrainAttentions:
    """The training that a small model is named by: "softmax", "window:width=8 task=copy steps=200"."""
    mechanism, *settings = words.split() or [""]
    kinds, given = field_types(TrainAttentions), {}
    for setting in settings:
        name, _, value = setting.partition("=")
        if name not in kinds or name == "mechanisms" or not mechanism or not value:
            raise UserError(f"{setting[:60]!r} is no setting of a small model.", hint=SMALL_HINT)
        try:
            given[name] = kinds[name](value) if kinds[name] in (int, float) else value
        except ValueError:
            raise UserError(f"{name} of a small model is a number, not {value[:40]!r}.", hint=SMALL_HINT) from None
    if not mechanism:
        raise UserError("No small model is named.", hint=SMALL_HINT)
    return TrainAttentions(mechanisms=(mechanism,), **given)


def small_words(training: TrainAttentions, mechanism: str) -> str:
    """How `AttentionJob.training` names one model of a training; only what is not the default is written."""
    own = (item for item in fields(TrainAttentions) if item.name not in ("mechanisms", "device", "test_every"))
    changed = (f"{item.name}={getattr(training, item.name)}" for item in own if getattr(training, item.name) != item.default)
    return " ".join([mechanism, *changed])


@dataclass(frozen=True, kw_only=True)
class AttentionJob(Job):
    """What all share: whose attention, over what."""

    source: Source = knob("text", top=True, title="Source", help="Which model's attention, and what it looks at.")
    model: str = knob("smollm2", advanced=True, title="Model", help="Language model: name in the catalog, or language:PATH.")
    text: str = knob(EXAMPLE, multiline=True, top=True, title="Text", help="The text or prompt that the model reads.")
    ids: tuple[int, ...] = knob((), advanced=True, title="Token ids", help="Instead of a text: the exact tokens, as a chat had them.")
    picture: Image | None = knob(None, title="Picture", help="For CLIP: the picture; none takes the Playworld scene of the seed.")
    steps: int = knob(20, lo=1, hi=150, title="Steps", help="UNet: denoising steps of the run that is looked at.")
    step: int = knob(10, lo=1, hi=150, title="Step", help="UNet: the step whose attention is shown.")
    cfg_scale: float = knob(4.5, lo=1.0, hi=30.0, title="CFG scale", help="UNet: guidance; maps are those of the prompted half.")
    seed: int = knob(0, lo=0, hi=2**32 - 1, title="Seed", help="UNet: start noise. CLIP: the scene, if none is given. Small: which text.")
    training: str = knob(
        "softmax", advanced=True, title="Small model",
        help="Its attention and, behind blanks, fields of train-attentions: window:width=8 task=copy steps=200.",
    )  # fmt: skip
    family: str = knob("playworld", advanced=True, title="Picture models", help="Family of CLIP and UNet in the catalog.")


@dataclass(frozen=True, kw_only=True)
class Attention(AttentionJob):
    """The attention of one layer, all heads, as numbers and as a picture."""

    layer: int = knob(0, lo=0, hi=1000, top=True, title="Layer", help="Counted from 0.")


@dataclass(frozen=True, kw_only=True)
class AttentionOverview(AttentionJob):
    """All layers and heads, as small pictures and scores."""

    size: int = knob(48, lo=8, hi=128, title="Thumbnail", unit="px", help="Side of a thumbnail.")
    growing: bool = knob(
        False, advanced=True, title="Growing", help="More tokens will follow: no thumbnails yet, and what was read need not be read again."
    )
    up_to: int = knob(0, lo=0, hi=1000, advanced=True, title="Up to layer", help="Of a growing text: the last layer that is read.")


@dataclass(frozen=True, kw_only=True)
class AttentionView(AttentionJob):
    """A part of a map, as exact as fits."""

    layer: int = knob(0, lo=0, hi=1000, title="Layer", help="Counted from 0.")
    heads: tuple[int, ...] = knob((0,), title="Heads", help="One, or several whose mean is shown; empty: all.")
    rows: tuple[int, int] = knob((0, 0), title="Rows", help="First and end; 0, 0 takes all.")
    columns: tuple[int, int] = knob((0, 0), title="Columns", help="First and end; 0, 0 takes all.")
    most: int = knob(512, lo=16, hi=4096, title="Most values", help="Longest side of what comes back; more is averaged in blocks.")
    normalisation: Literal["as it is", "each row to 1", "absolute"] = knob("as it is", title="Normalisation", help="For the eye.")
    drop_first: bool = knob(False, title="Drop the first token", help="Leave the first key out, where sinks are, and rescale rows.")


@dataclass(frozen=True, kw_only=True)
class AttentionMap(AttentionView):
    """A part of one head's map."""


@dataclass(frozen=True, kw_only=True)
class AttentionProfile(AttentionView):
    """What chosen tokens look at, and what looks at them."""

    tokens: tuple[int, ...] = knob((0,), title="Tokens", help="Places of the queries, counted from 0.")


@dataclass(frozen=True, kw_only=True)
class AttentionRollout(AttentionView):
    """How much of each token is left in each state after the layers up to `layer` (heads averaged)."""

    residual: float = knob(0.5, lo=0.0, hi=1.0, title="Residual share", help="How much the residual stream counts as looking at oneself.")


@dataclass(frozen=True, kw_only=True)
class AttentionSum(AttentionView):
    """Where the words of a prompt act in the picture, all heads and layers of the UNet together."""

    summed: Literal["step", "run"] = knob("step", title="Over", help="The layers of one step, or those of every step of the run.")


@dataclass(frozen=True, kw_only=True)
class AttentionEdit(AttentionJob):
    """Remove or scale heads of a language model, and read on."""

    edits: tuple[HeadEdit, ...] = knob((), title="Heads changed", help="On the command line layer,head,factor; 0 removes.")
    max_new_tokens: int = knob(24, lo=0, hi=512, title="Max new tokens", help="Length of both continuations.")

    @classmethod
    def cli_field(cls, name: str, text: str) -> object:
        """One `--edit LAYER,HEAD` or `--edit LAYER,HEAD,FACTOR` of the command line."""
        if name != "edits":
            return NotImplemented
        try:
            layer, head, factor = [*text.split(","), "0"][:3] if text.count(",") < 3 else ()
            return HeadEdit(layer=int(layer), head=int(head), factor=float(factor))
        except ValueError:
            raise UserError(f"--edit needs a layer, a head and perhaps a factor, not {text[:60]!r}.", hint="As --edit 3,5,0") from None


@dataclass(frozen=True, kw_only=True)
class AttentionLens(AttentionJob):
    """What each layer would say next at one token."""

    token: int = knob(0, lo=0, hi=1_000_000, title="Token", help="Place, counted from 0.")


@dataclass(frozen=True, kw_only=True)
class AttentionExport(AttentionView):
    """The shown map as files, in full."""

    interactive: ClassVar[bool] = True
    rollout: bool = knob(False, title="Rollout", help="Instead of weights the rollout of the layers up to this one.")
    summed: Literal["no", "step", "run"] = knob("no", title="Sum", help="Instead of weights the mean of all layers of a step, or of a run.")
    residual: float = knob(0.5, lo=0.0, hi=1.0, title="Residual share", help="Of a rollout: how much a token counts as looking at itself.")
