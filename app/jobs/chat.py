"""Jobs of the chat panel: a reply by a language model, decoded speculatively, and looking closer at it afterwards.

What each gives back (payload classes stand in `app/protocol/chat.py`):
    chat             see the head of `app/protocol/chat.py`
    raw-template     files "prompt": Tokens, "raw.txt": str; facts tokens, dropped, sentence (what would be left out), context, notes
    chat-status      facts ready, title, sentence, hint, auto, auto_reason, measured, plain_tokens_per_s; files "drafters":
                     tuple[DrafterStatus, …]. Loads nothing: for the head of the panel
    load-language-model  facts model, number_format, candidates, context, seconds, fingerprint, has_template. Warms the model up before
                     the first question
    lossless-stamp   facts ok, checked, sentence, largest_gap, near_tie, mismatch_count,
                     mismatches: [{position (in the reply), id, text, best_id, best_text, gap}]
    measure-plain    facts tokens_per_s, seconds, tokens (the same prompt and the same reply, one token a pass)
    gamma-curve      files "report": GammaReport, "curve.csv": Curve (tokens a second over draft length); facts drafter, best, speedup, …
    logit-lens       files "rows": tuple[LensRow, …]; facts position, token, next
    choose-drafter   facts drafter, reason, table: [{drafter, tokens_per_s, speedup}], fresh; remembered, and used by drafter "auto".
                     The window runs it once when the model has been loaded, and sends its chats with measure=False
    benchmark-decoding, write-conversations, train-drafter: `app/jobs/drafters.py`

Words, ranges and defaults follow llama.cpp and vLLM where they have them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from app.protocol.chat import ChatMessage, whole_characters
from app.protocol.errors import UserError
from app.protocol.job import Job, knob

DrafterName = Literal["auto", "none", "lookup", "ngram", "early-exit", "draft", "medusa", "mtp", "eagle"]
ROLES = ("system", "user", "assistant")
RANDOM_SEED = -1
MAX_SEED = 2**32 - 1
MAX_PROMPT_CHARACTERS = 1_000_000
DRAFTER_TITLES: dict[str, str] = {
    "auto": "Fastest here (measured)",
    "none": "None: plain decoding",
    "lookup": "Prompt lookup (n-gram)",
    "ngram": "Prompt lookup, then n-grams counted before",
    "early-exit": "Early exit",
    "draft": "Draft model",
    "medusa": "Medusa heads (tree)",
    "mtp": "Multi-token prediction",
    "eagle": "EAGLE layer",
}


@dataclass(frozen=True, kw_only=True)
class LanguageJob(Job):
    """What all jobs with a language model share."""

    model: str = knob(
        "smollm2", advanced=True, title="Model", help="Name in the catalog, or language:PATH of a GGUF file or a safetensors folder."
    )


@dataclass(frozen=True, kw_only=True)
class Conversation(LanguageJob):
    """A job that begins with a conversation, as messages or, on the command line, as one prompt."""

    messages: tuple[ChatMessage, ...] = knob((), title="Messages", help="The conversation so far; the last one is answered.")
    prompt: str = knob("", multiline=True, top=True, title="Prompt", help="Short for one user message at the end of the messages.")

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "prompt", whole_characters(self.prompt))
        wrong = next((message.role for message in self.messages if message.role not in ROLES), None)
        if wrong is not None:
            raise UserError(f"A message cannot have the role {str(wrong)[:40]!r}.", hint=f"Roles are {', '.join(ROLES)}.")
        if (length := sum(len(message.text) for message in self.conversation)) > MAX_PROMPT_CHARACTERS:
            raise UserError(
                f"The conversation has {length:,} characters, more than {MAX_PROMPT_CHARACTERS:,}.", hint="Shorten it, or begin a new one."
            )

    @property
    def conversation(self) -> tuple[ChatMessage, ...]:
        """All messages, the prompt included."""
        return (*self.messages, ChatMessage(role="user", text=self.prompt)) if self.prompt else self.messages

    @classmethod
    def cli_field(cls, name: str, text: str) -> object:
        """One `--message role=text` of the command line."""
        if name != "messages":
            return NotImplemented
        role, equals, words = text.partition("=")
        if not equals or role not in ROLES:
            raise UserError(f"--message does not understand {text[:60]!r}.", hint="Write system=…, user=… or assistant=….")
        return ChatMessage(role=role, text=words)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Chat(Conversation):
    """One reply of a language model, every speculative round visible."""

    name: ClassVar[str] = "chat"

    drafter: DrafterName = knob("auto", top=True, title="Drafter", help="Who proposes tokens that the model then checks in one pass.")
    draft_length: int = knob(
        0, lo=0, hi=16, live=True, top=True, title="Draft length", help="Tokens proposed a round; 0 adapts it to what pays here."
    )
    temperature: float = knob(
        0.0, lo=0.0, hi=2.0, step=0.1, live=True, top=True, title="Temperature", help="0 always takes the likeliest token."
    )
    top_k: int = knob(0, lo=0, hi=100_000, title="Top-k", help="Draw from the k likeliest tokens only; 0: from all.")
    top_p: float = knob(1.0, lo=0.0, hi=1.0, step=0.05, title="Top-p", help="Draw from the fewest tokens that hold this much probability.")
    min_p: float = knob(0.0, lo=0.0, hi=1.0, step=0.01, title="Min-p", help="Leave out tokens below this share of the likeliest one.")
    repetition_penalty: float = knob(
        1.0, lo=1.0, hi=2.0, step=0.05, title="Repetition penalty", help="Makes tokens that were there before less likely; 1: not."
    )
    max_new_tokens: int = knob(256, lo=1, hi=100_000, top=True, title="Max new tokens", help="Where a reply ends at the latest.")
    seed: int = knob(0, lo=-1, hi=MAX_SEED, widget="seed", title="Seed", help="Start of all draws; -1 draws one.")
    top: int = knob(5, lo=1, hi=20, advanced=True, title="Alternatives", help="Likeliest tokens kept with every token.")
    typical: bool = knob(
        False, advanced=True, title="Typical acceptance", help="Medusa only: accept guesses that are likely enough. Faster, not lossless."
    )
    measure: bool = knob(
        True, advanced=True, title="Measure first", help="With drafter auto and nothing measured here yet: measure now, for some seconds."
    )
    continue_ids: tuple[int, ...] = knob(
        (), advanced=True, title="Forced beginning", help="Token ids the reply has to begin with: a branch from another reply."
    )


@dataclass(frozen=True, kw_only=True)
class RawTemplate(Conversation):
    """The conversation as the model gets it: control tokens, default system message and all."""

    max_new_tokens: int = knob(256, lo=1, hi=100_000, title="Max new tokens", help="Room kept for the reply.")


@dataclass(frozen=True, kw_only=True)
class ChatStatus(LanguageJob):
    """Which drafters can run, which is the fastest, and whether the model is there at all; loads nothing."""


@dataclass(frozen=True, kw_only=True)
class LoadLanguageModel(LanguageJob):
    """Load a language model and choose its number format, so that the first reply comes at once."""


@dataclass(frozen=True, kw_only=True)
class FinishedText(LanguageJob):
    """A job about a text that is there already, as token ids."""

    prompt_ids: tuple[int, ...] = knob((), title="Prompt", help="Token ids before the reply (facts of the chat run).")
    reply_ids: tuple[int, ...] = knob((), title="Reply", help="Token ids of the reply.")


@dataclass(frozen=True, kw_only=True)
class LosslessStamp(FinishedText):
    """Check a greedy reply: one pass over the finished text must choose every one of its tokens."""

    repetition_penalty: float = knob(1.0, lo=1.0, hi=2.0, title="Repetition penalty", help="The one the reply was made with.")


@dataclass(frozen=True, kw_only=True)
class MeasurePlain(FinishedText):
    """Measure how fast the same reply comes one token a pass."""

    temperature: float = knob(0.0, lo=0.0, hi=2.0, title="Temperature")
    top_k: int = knob(0, lo=0, hi=100_000, title="Top-k")
    top_p: float = knob(1.0, lo=0.0, hi=1.0, title="Top-p")
    min_p: float = knob(0.0, lo=0.0, hi=1.0, title="Min-p")
    repetition_penalty: float = knob(1.0, lo=1.0, hi=2.0, title="Repetition penalty")
    top: int = knob(5, lo=1, hi=20, title="Alternatives")


@dataclass(frozen=True, kw_only=True)
class GammaCurve(FinishedText):
    """What every draft length would have given on this reply, with the costs measured here."""

    drafter: DrafterName = knob("lookup", title="Drafter", help="Whose guesses are counted.")
    max_length: int = knob(8, lo=1, hi=16, title="Longest draft", help="Draft lengths from 1 to this.")
    temperature: float = knob(0.0, lo=0.0, hi=2.0, title="Temperature", help="The one the reply was made with.")
    other_s: float = knob(0.0, lo=0.0, hi=10.0, unit="s", title="Other", help="Seconds a round spends on neither drafting nor checking.")


@dataclass(frozen=True, kw_only=True)
class LogitLens(LanguageJob):
    """What every layer would say next at one place of a text."""

    ids: tuple[int, ...] = knob((), title="Text", help="Token ids, prompt and reply.")
    position: int = knob(-1, lo=-1, hi=10_000_000, title="Position", help="Place in the text, from 0; -1: its last token.")
    top: int = knob(5, lo=1, hi=20, title="Alternatives", help="Likeliest tokens a layer.")


@dataclass(frozen=True, kw_only=True)
class ChooseDrafter(LanguageJob):
    """Measure the drafters that can run here on a few short prompts, plain decoding included, and remember the fastest."""

    interactive: ClassVar[bool] = False

    tokens: int = knob(48, lo=8, hi=1024, title="Tokens", help="Tokens a prompt.")
    prompts: int = knob(5, lo=1, hi=20, title="Prompts", help="How many of the built-in prompts; the first five are of five kinds.")
    again: bool = knob(False, title="Measure again", help="Even if this machine was measured before.")
