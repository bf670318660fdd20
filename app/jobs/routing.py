"""Jobs of the routing panel: which experts a mixture of experts sends each token to, and what changing its gates does.

What each gives back (`app/protocol/routing.py`):
    routing                 see the head of `app/protocol/routing.py`; files "routing.json" (per layer and token: experts, weights,
                            affinities, bias), "balance.txt"; facts text, table, perplexity, tokens, and the mean balance numbers
    routing-steer           files "report": SteerReport; facts before, after (texts), perplexity_before, perplexity_after, table
    routing-pair            files "report": PairReport; facts table
    routing-specialisation  files "domains": SpecialistTable, "tokens": SpecialistTable; facts table
    routing-status          facts ready, title, sentence, hint, train (the command that makes the weights), checkpoints: [{folder, title}],
                            added: [{key, title}] (mixtures of experts among the models a person has added). Loads nothing
Steering is written as pairs: `--off 3:7` switches expert 7 of layer 3 off, `--force 3:7` sends every token there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from app.jobs.moe import MixtureText
from app.protocol.errors import UserError
from app.protocol.job import Job, knob

BUILT_IN = "builtin-moe"
TRAIN = "python main.py run train-moe --install"
EXAMPLE = (
    "User: What is a fox?\nAssistant: A fox is a small animal. It lives in the woods.\n"
    "def area(width, height):\n    return width * height\n12 + 30 = 42\n"
)
MAX_CHARACTERS = 200_000


@dataclass(frozen=True, kw_only=True)
class RoutingSource(Job):
    """What all share: whose experts."""

    model: str = knob(BUILT_IN, advanced=True, title="Model", help="Name in the catalog, or moe:PATH of a folder with safetensors.")
    checkpoint: str = knob(
        "", advanced=True, title="Checkpoint", help="Folder of a training's checkpoint to look at instead, with its averaged weights."
    )


@dataclass(frozen=True, kw_only=True)
class Steered(RoutingSource):
    """A job whose gates may be changed."""

    text: str = knob(EXAMPLE, multiline=True, top=True, title="Text", help="The text the model reads, token by token.")
    off: tuple[tuple[int, int], ...] = knob((), title="Switched off", help="Layer:expert pairs that no token may visit.")
    force: tuple[tuple[int, int], ...] = knob((), title="Forced", help="Layer:expert pairs that every token visits.")
    experts_a_token: int = knob(
        0, lo=0, hi=4096, title="Experts a token", help="How many experts a token visits; 0 takes the model's own number."
    )
    use_bias: bool = knob(True, title="Selection bias", help="Off: what the gates would choose without the balancing bias.")
    capacity_factor: float = knob(
        0.0, lo=0.0, hi=100.0, step=0.25, title="Capacity factor",
        help="Places of an expert over its fair share, for models with capacity (Switch); 0 takes the model's own.",
    )  # fmt: skip
    max_new_tokens: int = knob(48, lo=0, hi=4096, top=True, title="Max new tokens", help="What the model writes after the text.")
    temperature: float = knob(0.0, lo=0.0, hi=2.0, step=0.1, title="Temperature", help="0 always takes the likeliest token.")
    seed: int = knob(0, lo=0, hi=2**32 - 1, widget="seed", title="Seed", help="Start of all draws.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.text) > MAX_CHARACTERS:
            raise UserError(f"The text has {len(self.text):,} characters, more than {MAX_CHARACTERS:,}.", hint="Shorten it.")

    @classmethod
    def cli_field(cls, name: str, text: str) -> object:
        """One `--off layer:expert` of the command line."""
        if name not in ("off", "force"):
            return NotImplemented
        layer, colon, expert = text.partition(":")
        if not (colon and layer.strip().isdigit() and expert.strip().isdigit()):
            raise UserError(f"--{name} does not understand {text[:40]!r}.", hint="Write layer:expert, such as 3:7.")
        return ((int(layer), int(expert)),)

    @property
    def changes(self) -> bool:
        """Whether anything is changed at the gates."""
        return bool(self.off or self.force or self.experts_a_token or not self.use_bias or self.capacity_factor)


@dataclass(frozen=True, kw_only=True)
class Routing(Steered):
    """Read a text and write on, every decision of every gate visible."""

    draft_length: int = knob(
        0, lo=0, hi=16, advanced=True, title="Draft length",
        help="Tokens proposed by prompt lookup and checked in one pass; a check of several tokens touches more experts.",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class RoutingSteer(Steered):
    """The same text with the model as it is and as it is steered: texts, perplexity and balance before and after."""

    name: ClassVar[str] = "routing-steer"


@dataclass(frozen=True, kw_only=True)
class RoutingPair(RoutingSource):
    """Two texts through the same gates."""

    text: str = knob(EXAMPLE, multiline=True, top=True, title="Text", help="The first text.")
    other: str = knob("12 + 30 = 42\n7 * 8 = 56\n", multiline=True, top=True, title="Other text", help="The text it is compared with.")
    shuffles: int = knob(200, lo=20, hi=10_000, advanced=True, title="Shuffles", help="Random splits that say what chance shows.")
    seed: int = knob(0, lo=0, hi=2**32 - 1, advanced=True, widget="seed", title="Seed", help="Decides the shuffles.")


@dataclass(frozen=True, kw_only=True)
class RoutingSpecialisation(RoutingSource, MixtureText):
    """Who goes where on held-out text of every domain: by domain and by token, with sample sizes and intervals."""

    tokens: int = knob(8_000, lo=200, hi=10_000_000, top=True, title="Tokens", help="To read of every domain, at most.")
    window: int = knob(256, lo=8, hi=1024, title="Window", unit="tokens", help="Tokens a window; documents are cut into such.")
    batch_size: int = knob(8, lo=1, hi=1024, title="Windows at once", help="More is faster and takes more memory.")
    vocabulary: int = knob(24, lo=1, hi=1000, title="Frequent tokens", help="Rows of the table by token.")


@dataclass(frozen=True, kw_only=True)
class RoutingStatus(RoutingSource):
    """Whether the model is there, and how to make it; loads nothing."""
