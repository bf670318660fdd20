"""Jobs around drafters: measure them, write text to train them on, train them.

    benchmark-decoding    files "table.txt", "table.json", "runs.json"; facts the table, the fastest drafter, and whether all texts agree
    write-conversations   writes conversations.npz into the work folder, more rows every time it is started again; facts rows, tokens, path
    train-drafter         one kind on such conversations; resumable like every training; `install` writes assets/weights. Kind ngram is
                          counted in seconds: steps, batches and rates mean nothing to it
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from app.jobs.chat import LanguageJob
from app.jobs.training import Training
from app.protocol.job import knob

TrainedKind = Literal["medusa", "eagle", "mtp", "draft", "ngram"]


@dataclass(frozen=True, kw_only=True)
class BenchmarkDecoding(LanguageJob):
    """Speed of plain decoding and of every drafter on prompts of several kinds, taken in turn, with losslessness."""

    interactive: ClassVar[bool] = False

    drafters: tuple[str, ...] = knob((), title="Drafters", help="Which to measure beside plain decoding; empty: all that can run.")
    draft_length: int = knob(0, lo=0, hi=16, title="Draft length", help="Tokens proposed a round; 0 adapts it.")
    prompts: int = knob(20, lo=1, hi=20, top=True, title="Prompts", help="How many of the built-in held-out prompts.")
    max_new_tokens: int = knob(128, lo=1, hi=4096, top=True, title="Max new tokens", help="Tokens a prompt.")
    repetitions: int = knob(3, lo=1, hi=100, top=True, title="Repetitions", help="Rounds over all drafters and prompts.")
    temperature: float = knob(0.0, lo=0.0, hi=2.0, title="Temperature", help="0 is greedy, and lets the texts be compared.")
    seed: int = knob(0, lo=0, hi=2**31, title="Seed", help="Start of all draws.")
    folder: str = knob("", title="Prompt folder", advanced=True, help="A text file a prompt, instead of the built-in ones.")


@dataclass(frozen=True, kw_only=True)
class WriteConversations(LanguageJob):
    """Let the model write conversations to train drafters on: user turns from a list and of its own, answers in batches."""

    interactive: ClassVar[bool] = False

    rows: int = knob(512, lo=1, hi=10_000_000, top=True, title="Rows", help="Rows in all; those written before count.")
    batch_size: int = knob(64, lo=1, hi=4096, title="Batch size", help="Rows written side by side.")
    length: int = knob(321, lo=16, hi=4096, title="Tokens a row")
    greedy: float = knob(0.6, lo=0.0, hi=1.0, title="Greedy share", help="Share of the rows whose answers are greedy.")
    temperature: float = knob(0.6, lo=0.05, hi=2.0, title="Temperature", help="Of the answers that are not greedy.")
    top_k: int = knob(32, lo=1, hi=1000, title="Top-k", help="Of everything that is drawn.")
    seed: int = knob(0, lo=0, hi=2**31, title="Seed", help="Decides prompts and draws.")
    folder: str = knob("", help="Where the file lies; empty: the user's own data folder.")


@dataclass(frozen=True, kw_only=True)
class TrainDrafter(Training):
    """Train a drafter for a language model on text that the model itself wrote."""

    kind: TrainedKind = knob(
        "eagle", top=True, help="Medusa heads, an EAGLE layer, multi-token heads, a small draft model, or n-grams, which are only counted."
    )
    model: str = knob("smollm2", advanced=True, title="Model", help="The model it drafts for.")
    conversations: str = knob("", help="An .npz of write-conversations; empty: the one in the work folder.")
    batch_size: int = knob(8, lo=1, hi=4096, help="Rows an update sees.")
    lr: float = knob(5e-4, lo=1e-7, hi=1.0, title="Learning rate", help="Peak rate of AdamW, after 100 steps of warm-up.")
    steps: int = knob(4000, lo=1, hi=10_000_000, top=True, help="Updates in all; a resumed run counts those it has made.")
    vocabulary: int = knob(
        8192, lo=0, hi=1_000_000, title="Vocabulary", help="How many of the commonest tokens the drafter may guess; 0: all. Not for draft."
    )
    heads: int = knob(3, lo=1, hi=16, title="Heads", help="Medusa and mtp: places ahead.")
    rank: int = knob(64, lo=0, hi=1024, title="Rank", help="Medusa: width of what each head changes in the output matrix.")
    places: int = knob(
        384, lo=0, hi=10_000_000, title="Places", help="Medusa: places of a batch that the heads guess, drawn anew each time; 0: all."
    )
    layers: int = knob(2, lo=1, hi=100, title="Layers", help="Draft: layers of the small model.")
    unroll: int = knob(2, lo=1, hi=8, title="Unroll", help="Eagle: steps of its own drafts that it learns from.")
    rows: int = knob(
        0, lo=0, hi=10_000_000, title="Rows", help="How many rows to learn from, the first ones; 0: all. The model reads each once."
    )
    least: int = knob(3, lo=1, hi=1_000_000, title="Seen", help="Ngram: how often an n-gram has to occur to be kept.")
    share: float = knob(
        0.5, lo=0.0, hi=1.0, title="Least share", help="Ngram: share of its occurrences that the commonest continuation has to have."
    )
    validation: float = knob(0.02, lo=0.0, hi=0.5, title="Validation share", help="Share of the rows that is never trained on.")
    keep_states: float = knob(
        8.0, lo=0.0, hi=1000.0, unit="GiB", title="Kept states", help="Room on disk for the model's hidden states."
    )
