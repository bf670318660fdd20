"""Jobs around mixtures of experts: train them on four domains of text, measure them.

    train-moe       channels: "train" (losses of every domain and of the prediction module, max_vio, dropped),
                    "routing" (`step`, `layers`, Matrix `load` layers x experts in fair shares, Matrix `bias` or None, `max_vio`, `chance`)
    evaluate-moe    files "table.txt", "balance.json", "specialisation.json"; facts the table, and every figure by domain
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from app.jobs.training import Training
from app.protocol.job import Job, knob


@dataclass(frozen=True, kw_only=True)
class MixtureText(Job):
    """Where the text of the domains comes from; captions and arithmetic need no source."""

    conversations: str = knob(
        "", help="An .npz of write-conversations; empty: the one in the user's training folder, or else no domain of conversations."
    )
    tokenizer: str = knob("", advanced=True, help="GGUF file of the model that wrote them; empty: the fetched SmolLM2.")
    library: str = knob("", advanced=True, help="Folder of Python files; empty: the standard library of the running interpreter.")


@dataclass(frozen=True, kw_only=True)
class TrainMoe(Training, MixtureText):
    """Train the built-in mixture of experts, or a small Switch model, on text of clearly different domains."""

    model: Literal["deepseek", "switch"] = knob(
        "deepseek", top=True, title="Model", help="deepseek: the built-in one, 7.5 M weights; switch: softmax gate with capacity, 1.7 M."
    )
    balancing: Literal["auto", "loss-free", "aux-loss", "none"] = knob(
        "auto", top=True, title="Balancing", help="loss-free moves a selection bias; auto takes what the model is known for."
    )
    steps: int = knob(6000, lo=1, hi=10_000_000, top=True, help="Updates in all; a resumed run counts those it has made.")
    batch_size: int = knob(16, lo=4, hi=4096, help="Windows an update sees.")
    window: int = knob(256, lo=8, hi=1024, title="Window", unit="tokens", help="Length of a window.")
    lr: float = knob(2e-3, lo=1e-7, hi=1.0, title="Learning rate", help="Peak rate of AdamW, after 100 steps of warm-up.")
    bias_step: float = knob(
        1e-3, lo=0.0, hi=0.1, title="Bias step", live=True, help="How far a selection bias moves after each update (loss-free)."
    )
    sequence_weight: float = knob(
        1e-4, lo=0.0, hi=1.0, title="Sequence loss", live=True, help="Weight of the sequence-wise balance loss (loss-free)."
    )
    aux_weight: float = knob(0.01, lo=0.0, hi=10.0, title="Balance loss", live=True, help="Weight of the load-balance loss (aux-loss).")
    z_weight: float = knob(1e-3, lo=0.0, hi=10.0, title="z-loss", live=True, help="Weight of the loss that keeps logits small (aux-loss).")
    mtp_weight: float = knob(
        0.3, lo=0.0, hi=10.0, title="Prediction module", help="Weight of the loss of the token after next; 0 leaves the module untrained."
    )
    jitter: float = knob(0.0, lo=0.0, hi=0.5, title="Routing noise", live=True, help="Gates read inputs times 1 - noise to 1 + noise.")
    capacity_factor: float = knob(
        1.25, lo=0.1, hi=100.0, title="Capacity factor", live=True, help="Places of an expert over its fair share (switch only)."
    )
    top_k: int = knob(0, lo=0, hi=16, title="Experts a token", live=True, help="0 takes the model's own number.")
    documents: int = knob(
        20_000, lo=100, hi=10_000_000, advanced=True, help="Documents of arithmetic to make, and 3 of captions for each 10; for a new bank."
    )


@dataclass(frozen=True, kw_only=True)
class EvaluateMoe(MixtureText):
    """Measure a mixture of experts on held-out documents: perplexity and bits per byte by domain, balance, specialisation."""

    interactive: ClassVar[bool] = False

    model: str = knob("builtin-moe", title="Model", help="Which of the catalogue's models.")
    checkpoint: str = knob("", help="Folder of a training's checkpoint to measure instead, with its averaged weights.")
    tokens: int = knob(40_000, lo=100, hi=100_000_000, top=True, title="Tokens", help="To read of every domain, at most.")
    window: int = knob(256, lo=8, hi=1024, title="Window", unit="tokens", help="Tokens a window; documents are cut into such.")
    batch_size: int = knob(16, lo=1, hi=4096, help="Windows at once.")
    use_bias: bool = knob(True, title="Selection bias", help="Off: what the gates would choose without it.")
    top_k: int = knob(0, lo=0, hi=16, title="Experts a token", help="0 takes the model's own number.")
